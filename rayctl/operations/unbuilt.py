# SPDX-License-Identifier: Apache-2.0
"""What a cluster file may ask for and this version does not do: refused before anything is touched."""

from __future__ import annotations

from rayctl.config.model import ClusterConfig
from rayctl.errors import Refused


def refuse(config: ClusterConfig) -> None:
    """Raise `Refused` for blocks of the file that this version does not act on."""
    if uses_docker(config):
        raise Refused(
            "the `docker` block is not built yet: this rayctl runs commands on the nodes themselves; nothing was touched.",
            hint="Remove the block, or leave its image empty.",
        )
    if config.provider.type == "simulated":
        raise Refused(
            "simulated machines take no commands: they are for listings and for trying out plans; nothing was touched."
        )
    if config.auth.become and config.provider.type == "embedded":
        raise Refused(
            "auth.become is not for embedded nodes: they are this machine, and steps run as you; nothing was touched.",
            hint="Remove auth.become, and use sudo in the commands that need it.",
        )


def uses_docker(config: ClusterConfig) -> bool:
    """Whether any node would run its commands in a container: a block without any image is none."""
    docker = config.docker
    return docker is not None and bool(docker.image or docker.head_image or docker.worker_image)
