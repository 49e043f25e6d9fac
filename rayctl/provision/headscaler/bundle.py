# SPDX-License-Identifier: Apache-2.0
"""What the scaler on the head works from: the resolved cluster file, host keys, and the contents of mounts, by digest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rayctl.config.digest import digest
from rayctl.providers.base import DeclaresHosts
from rayctl.provision.deployment import Deployment
from rayctl.provision.headscaler import known, resolved, service
from rayctl.provision.headscaler.facts import Facts, Met
from rayctl.provision.mounts import Mount
from rayctl.state import paths
from rayctl.transport import hostkeys
from rayctl.transport.connection import Connection

CLUSTER_FILE, KNOWN_HOSTS = "cluster.yaml", "known_hosts"


@dataclass(frozen=True)
class Bundle:
    """One cluster's. `said` is what the file says, `known_hosts` the lines of that file, `contents` the mounts by digest."""

    deployment: Deployment
    said: resolved.Data
    known_hosts: tuple[str, ...]
    contents: Mapping[str, Mount]

    @classmethod
    def of(cls, deployment: Deployment, mount_digests: Mapping[str, str], facts: Facts) -> Bundle:
        """As things are now; `mount_digests` are by target."""
        state_dir = connections(deployment)[0].state_dir
        digests = {mount.target: _hex(mount_digests[mount.target])[:32] for mount in deployment.mounts}
        places = {target: place(state_dir, content) for target, content in digests.items()}
        said = resolved.data(deployment.config, places, service.key(state_dir), facts, service.current(state_dir, KNOWN_HOSTS))
        contents = {digests[mount.target]: replace(mount, target=places[mount.target]) for mount in deployment.mounts}
        return cls(deployment, said, tuple(host_keys(deployment, facts)), contents)

    @property
    def digest(self) -> str:
        """In hex; equal for what is equal on the head."""
        return _hex(digest([self.said, list(self.known_hosts)]))[:16]

    def files(self) -> dict[str, str]:
        """Text files by name. Raises RayctlError for a cluster file that the head would misread."""
        text = resolved.text(self.said, self.deployment.config)
        return {CLUSTER_FILE: text, KNOWN_HOSTS: "".join(f"{line}\n" for line in self.known_hosts)}


def place(state_dir: str, content: str) -> str:
    """Where the content of a mount lies on the head."""
    return f"{service.folder(state_dir)}/mounts/{content}/content"


def connections(deployment: Deployment) -> list[Connection]:
    """How this machine reaches the declared hosts, the head first."""
    provider = deployment.provider
    assert isinstance(provider, DeclaresHosts)
    return [provider.connection(host) for host in provider.declared()]


def _hex(found: str) -> str:
    return found.partition(":")[2]


# ---- host keys
def host_keys(deployment: Deployment, facts: Facts) -> Iterator[str]:
    """Lines of a known_hosts file for the head: for each host what this machine believes of it.

    Nothing of a host whose key the cluster file gives: there the file speaks. A host that is in none of this machine's files
    is pinned by the head when it first meets it.
    """
    folder = paths.cluster_dir(paths.home(os.environ), deployment.config.cluster_name)
    ours = _lines([folder / hostkeys.PINNED, *(Path(name).expanduser() for name in hostkeys.USERS)])
    for connection in connections(deployment):
        if not connection.ssh.host_key:
            named = connection.ssh.known_hosts
            yield from _of(connection, _lines([Path(named)]) if named else ours, facts.get(connection.name, Met()))


def _of(connection: Connection, lines: list[str], met: Met) -> list[str]:
    port = connection.ssh.port or met.port
    there = hostkeys.host_name(replace(connection, ssh=replace(connection.ssh, port=port)))
    found = {line for name in (hostkeys.host_name(connection), there) for line in known.about(name, lines, there)}
    return sorted(found)


def _lines(files: Iterable[Path]) -> list[str]:
    found: list[str] = []
    for file in files:
        with suppress(OSError):
            found += file.read_text(errors="replace").splitlines()
    return found
