# SPDX-License-Identifier: Apache-2.0
"""This node's own Ray: is it healthy, stop it, start it.

Ours is what carries `RAYCTL_NODE=<cluster_id>/<node>` in its environment and everything in the same sessions; nothing
else is ever signalled (`processes.py`). Ray is healthy when the processes that were seen after its start still live.
"""

from __future__ import annotations

import os
import pwd
import socket
import time
from typing import Any, Dict, List, Optional

from . import processes
from .state import NodeError

# Runs in the interpreter behind the `ray` command. argv: wanted Ray, wanted Python (both may be empty), file for the answer.
VERSIONS = """
import importlib.metadata as m, sys
want_ray, want_python, path = sys.argv[1:4]
try:
    ray = m.version("ray")
except m.PackageNotFoundError:
    sys.exit("rayctl: the interpreter of the ray command, %s, has no Ray installed" % sys.executable)
python = "%d.%d" % sys.version_info[:2]
with open(path, "w") as f:
    f.write(ray + " " + python)
if want_ray and ray != want_ray or want_python and python != want_python:
    wanted = "Ray " + want_ray + (" on Python " + want_python if want_python else "")
    sys.exit("rayctl: this node has Ray %s on Python %s, but the cluster needs %s; all nodes must be alike. Install "
             "ray==%s here, or let rayctl do it: `ray_version: {version: %s, install: true}`"
             % (ray, python, wanted, want_ray, want_ray))
"""
# Sourced in the login shell before a start command that calls `ray`, so that it sees the PATH that the command sees.
CHECK = """
_ray=$(command -v ray) || { echo "rayctl: there is no ray command on this node's PATH: $PATH" >&2; exit 90; }
IFS= read -r _line < "$_ray" || :
case $_line in "#!"*python*) _line=${_line#??} ;; *) _line=python3 ;; esac
$_line "$RAYCTL_VERSIONS.py" "$RAYCTL_WANT_RAY" "$RAYCTL_WANT_PYTHON" "$RAYCTL_VERSIONS" || exit 91
unset _ray _line RAYCTL_VERSIONS RAYCTL_WANT_RAY RAYCTL_WANT_PYTHON
"""


def broken(known: Optional[Dict[str, Any]]) -> Optional[str]:
    """Why the Ray that was started here does not work any more; None while it does."""
    if known is None:
        return "it was not started yet"
    if known["boot_id"] != processes.boot_id():
        return "the machine was rebooted"
    for pid, started, name in known["processes"]:
        if not processes.alive(pid, started):
            return "its %s is not running" % name
    return None


def incarnation(known: List[processes.Process]) -> Optional[str]:
    """What tells one life of the head's GCS from the next; None while there is none."""
    for process in known:
        if process.name == "gcs_server":
            return "%s-%d-%d" % (processes.boot_id()[:8], process.pid, process.started)
    return None


def forget_address(wanted: Dict[str, Any]) -> None:
    """Remove the note that a stopped head of ours left for `ray.init(address="auto")`, as `ray stop` does.

    Where raylets of other nodes run on this machine, `ray start --head` would take it for a head that still runs.
    """
    note = os.path.join(wanted["temp_dir"], "ray_current_cluster")
    try:
        with open(note) as f:
            ours = f.read().strip() == "%s:%d" % (wanted["address"], wanted["port"])
        if ours and not answers(wanted["address"], wanted["port"]):
            os.unlink(note)
    except OSError:
        pass  # none, or another user's: Ray itself says what it thinks of it


def check_ports(ports: List[int]) -> None:
    """Refuse to start where somebody else listens already, and say who."""
    for port in ports:
        holder = processes.who_listens(port)
        if holder is not None:
            raise NodeError(
                "port %d is in use by %s (pid %d of user %s). End that process, or give this node another port"
                % (port, holder.name, holder.pid, _owner(holder.pid))
            )


def _owner(pid: int) -> str:
    try:
        uid = os.stat("/proc/%d" % pid).st_uid
    except OSError:
        return "?"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def answers(address: str, port: int, timeout_s: float = 0.5) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((address, port), timeout_s).close()
    except OSError:
        return False
    return True


def wait_until_reachable(address: str, port: int, cancelled: Any, patience_s: float) -> None:
    """Wait until the head's GCS answers from here, which it does unless the network is in the way."""
    end = time.monotonic() + patience_s
    while not answers(address, port, 2.0):
        if cancelled():
            return
        if time.monotonic() > end:
            raise NodeError(
                "the head's GCS does not answer at %s:%d from this node, although the head is up: a firewall between them, "
                "or an address that only other machines can use" % (address, port)
            )
        time.sleep(0.1)
