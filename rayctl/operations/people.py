# SPDX-License-Identifier: Apache-2.0
"""`ssh-config`: a cluster's hosts for a person's own ssh."""

from __future__ import annotations

from rayctl.errors import Refused
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts, Kind
from rayctl.state import paths
from rayctl.transport import masters, sshconfig

HEADING = "# The hosts of {name}, from `rayctl ssh-config`\n"


def ssh_blocks(session: Session) -> str:
    """Blocks for ~/.ssh/config: the head by the cluster's name, each host by the cluster's and its own. Raises `Refused`."""
    provider = session.provider
    if not isinstance(provider, DeclaresHosts):
        raise Refused(f"the nodes of {session.name} are not reached by ssh: they are this machine.")
    names = {}
    for host in provider.declared():
        connection = provider.connection(host)
        if host.kind is Kind.HEAD:
            names[session.name] = connection
        names[f"{session.name}-{host.name.removeprefix(f'{session.name}-')}"] = connection
    folder = paths.cluster_dir(session.root, session.name)
    return HEADING.format(name=session.name) + sshconfig.for_people(folder, names, masters.folder())
