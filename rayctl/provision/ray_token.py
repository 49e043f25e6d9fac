# SPDX-License-Identifier: Apache-2.0
"""The cluster's Ray token on this controller, where another controller may have made it."""

from __future__ import annotations

import os
from pathlib import Path

from rayctl.provision.deployment import Deployment
from rayctl.state import paths, private, token
from rayctl.transport.ssh import SshTransport


def known(deployment: Deployment) -> str:
    """The token as this controller has it, else as the head has it, and kept here from then on.

    Empty where it was turned off or nobody made one yet. Raises `Unreachable` when the head does not answer.
    """
    if not deployment.config.auth.ray_token:
        return ""
    file = paths.token_file(paths.home(os.environ), deployment.config.cluster_name)
    return token.read(file) or _fetched(deployment, file)


def _fetched(deployment: Deployment, file: Path) -> str:
    head = deployment.head
    transport = deployment.transport(head) if head else None
    if not isinstance(transport, SshTransport):
        return ""
    found = str(transport.ask({"op": "token"})["token"])
    if found:
        private.create(file, found.encode())
    return found
