# SPDX-License-Identifier: Apache-2.0
"""`monitor`: the logs of the monitor that Ray keeps beside its head."""

from __future__ import annotations

from rayctl.errors import RayctlError
from rayctl.operations import exec as running
from rayctl.operations.machines import the_head
from rayctl.operations.options import RunOptions
from rayctl.operations.session import Session

# where a run of Ray keeps its logs, its processes are told on their command lines
FOLLOW = r"""logs=$(tr '\0' '\n' < /proc/{pid}/cmdline | sed -n 's/^--log[-_]dir=//p')
cd "$logs" && set -- monitor*
[ -e "$1" ] || {{ echo "rayctl: there are no logs of a monitor in $PWD" >&2; exit 1; }}
exec tail -n {lines} -F "$@" """


def monitor(session: Session, lines: int) -> int:
    """Show the last lines and what follows, until Ctrl-C; the exit code of `tail`."""
    head = the_head(session)
    known = session.transport(head).probe(session.mark(head))["ray"]
    pids = [pid for pid, _, name in known["processes"] if name == "gcs_server"] if known else []
    if not pids:
        raise RayctlError(f"no Ray that rayctl started runs on the head {head.name}", hint=f"Start it: {session.command('up')}")
    return running.run(session, FOLLOW.format(pid=pids[0], lines=lines), RunOptions())
