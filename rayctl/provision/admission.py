# SPDX-License-Identifier: Apache-2.0
"""Before a person's own play works on a declared host: is the host a node of the cluster?

The inventory names hosts without asking them. `rayctl up` knows which of them are claimed, a play learns it here, over the
connection that Ansible was told to use.
"""

from __future__ import annotations

import subprocess
from dataclasses import asdict

from rayctl.errors import RayctlError
from rayctl.providers.local import claims
from rayctl.provision.conversation import Line
from rayctl.transport import failures, glance
from rayctl.transport.connection import Connection
from rayctl.transport.remote import remote


def cluster_id(line: Line, connection: Connection, cluster: str) -> str | None:
    """The identity of the cluster of this name whose node the host is; None for a host that is free.

    Raises `Unreachable`, and `RayctlError` naming the owner of a host that somebody else has.
    """
    seen = _look(line, connection)
    mine = claims.ours(seen, cluster)
    if mine is not None:
        return mine.cluster_id
    if held := next((claim for claim in seen.claims if claim.holds), None):
        raise RayctlError(claims.taken(connection.name, asdict(held)), hint=claims.release_hint(asdict(held)))
    return None


def _look(line: Line, connection: Connection) -> glance.Glance:
    words = [*line.remote, remote(glance.command(connection.state_dir))]
    done = subprocess.run(words, env=line.env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise failures.unreachable(connection, done.stderr.decode(errors="replace"))
    return glance.parse(done.stdout)
