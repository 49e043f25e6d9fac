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
from typing import Any, Callable, Dict, List, Optional

from . import processes
from .state import NodeError, make_private

LEAVING_S = 5.0  # so long a process that is seen no more may still hold its ports

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
# Runs in the login shell before a start command that calls `ray`, so that it sees the PATH that the command sees. A script
# whose interpreter has a long path is a shell script with that path in its second line.
CHECK = r"""
_ray=$(type -P ray) || { echo "rayctl: there is no ray command on this node's PATH: $PATH" >&2; exit 90; }
{ IFS= read -r _line; IFS= read -r _second; } < "$_ray"
case $_line/$_second in
    "#!"*python*/*) _python=(${_line#??}) ;;
    *"/'''exec' "*) _second=${_second#"'''exec' "}; _second=${_second%%' "$0"'*}; _python=("${_second//\"/}") ;;
    *) _python=(python3) ;;
esac
"${_python[@]}" "$RAYCTL_VERSIONS.py" "$RAYCTL_WANT_RAY" "$RAYCTL_WANT_PYTHON" "$RAYCTL_VERSIONS" || exit 91
unset _ray _line _second _python RAYCTL_VERSIONS RAYCTL_WANT_RAY RAYCTL_WANT_PYTHON
"""


def broken(known: Optional[Dict[str, Any]]) -> Optional[str]:
    """Why the Ray that was started here does not work any more; None while it does."""
    return why_broken(known, processes.boot_id(), processes.alive)


def why_broken(known: Optional[Dict[str, Any]], boot_id: str, alive: Callable[[int, int], bool]) -> Optional[str]:
    """The same for any machine of which the boot is known, and whether a pid with a start time lives."""
    if known is None:
        return "it was not started yet"
    if known["boot_id"] != boot_id:
        return "the machine was rebooted"
    for pid, started, name in known["processes"]:
        if not alive(pid, started):
            return "its %s is not running" % name
    return None


def incarnation(known: List[processes.Process]) -> Optional[str]:
    """What tells one life of the head's GCS from the next; None while there is none."""
    for process in known:
        if process.name == "gcs_server":
            return "%s-%d-%d" % (processes.boot_id()[:8], process.pid, process.started)
    return None


def temp_dir(usual: str) -> str:
    """The folder for Ray's sockets and logs: the usual one, unless it is another user's.

    Two users cannot share one: the second's `ray start` fails at the note of the first one's address, after it has turned
    the first one's `session_latest`. Ours is short, since a socket's path, some 64 characters longer, may have 107 bytes.
    """
    try:
        if os.stat(usual).st_uid == os.geteuid():
            return usual
    except FileNotFoundError:
        return usual
    own = "/tmp/rayctl-%d" % os.geteuid()  # noqa: S108
    make_private(own)
    return os.path.join(own, "ray")


def forget_address(folder: str, address: str, port: int) -> None:
    """Remove the note that a stopped head of ours left for `ray.init(address="auto")`, as `ray stop` does.

    Where raylets of other nodes run on this machine, `ray start --head` would take it for a head that still runs.
    """
    note = os.path.join(folder, "ray_current_cluster")
    try:
        with open(note) as f:
            ours = f.read().strip() == "%s:%d" % (address, port)
        if ours and not answers(address, port):
            os.unlink(note)
    except OSError:
        pass  # none, or another user's: Ray itself says what it thinks of it


def check_ports(ports: List[int]) -> None:
    """Refuse to start where somebody else listens already, and say who."""
    for port in ports:
        who = _holder(port)
        if who:
            raise NodeError("port %d is in use by %s. End that process, or give this node another port" % (port, who))


def _holder(port: int) -> str:
    """Who listens on this TCP port, in words; empty when nobody does.

    A process of many threads that is just ending, such as those of a Ray that was stopped, is seen no more while it still
    holds its ports. So a listener that we should see, and do not, gets a moment to go.
    """
    deadline = time.monotonic() + LEAVING_S
    while True:
        owner = _listener(port)
        if owner is None:
            return ""
        process = processes.who_listens(port)
        if process is not None:
            return "%s (pid %d of user %s)" % (process.name, process.pid, _user(owner))
        if os.geteuid() not in (0, owner) or time.monotonic() > deadline:
            return "another user's process (user %s)" % _user(owner)
        time.sleep(0.05)


def _listener(port: int) -> Optional[int]:
    """The uid of who listens on this TCP port; None when nobody does. Whose process it is, only root sees of all."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in _rows(table):
            if row[3] == processes.LISTENING and int(row[1].rpartition(":")[2], 16) == port:
                return int(row[7])
    return None


def _rows(table: str) -> List[List[str]]:
    try:
        with open(table) as f:
            return [line.split() for line in f][1:]
    except OSError:
        return []  # a machine without IPv6


def _user(uid: int) -> str:
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


def wait_until_reachable(address: str, port: int, check: Callable[[], None], patience_s: float) -> None:
    """Wait until the head's GCS answers from here, which it does unless the network is in the way. `check` may break it off."""
    end = time.monotonic() + patience_s
    while not answers(address, port, 2.0):
        check()
        if time.monotonic() > end:
            raise NodeError(
                "the head's GCS does not answer at %s:%d from this node, although the head is up: a firewall between them, "
                "or an address that only other machines can use" % (address, port)
            )
        time.sleep(0.1)
