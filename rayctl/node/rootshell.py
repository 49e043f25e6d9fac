# SPDX-License-Identifier: Apache-2.0
"""The runner's side of a step that runs as root.

`sudo` starts a small supervisor of ours (`supervisor.py`), which comes back to us over a socket and is given all else
there: its source, the command with its environment, and the log as an open file. So nothing of a step is in argv or in
sudo's own records, nothing depends on what root may read in a user's home, and stdin is free for the password. Each end
asks the kernel who is at the other.

Such a step is as any other, but for its user: a login shell of root's, with root's home and the variables that `sudo -H`
gives, then the plan's and its own. It begins in the folder where the user's login began, as with Ansible's `become`.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from typing import List, Optional

from . import ending, noise, processes, sources, state, steps, supervisor
from .processes import Process
from .sudo import NO_SUDO, Sudo, last_line, meaning
from .supervisor import Outcome

ROOT = 0
SEND_S = 10.0
ANSWER_S = ending.GRACE_S + ending.KILL_S + 5.0  # what a supervisor may need to end a step
LEAVE_S = 2.0  # what sudo may need to leave after it, or when it is asked to end
PACKAGE = (processes, noise, state, ending, steps, supervisor)  # in the order in which they import each other
# argv: this text, and the step's mark. What the listener sends is run as root: it must be the user who called sudo.
BOOT = """import json,os,socket,struct,sys,types
s=socket.socket(socket.AF_UNIX)
s.connect('\\0'+sys.argv[1])
if struct.unpack('3i',s.getsockopt(socket.SOL_SOCKET,socket.SO_PEERCRED,12))[1]!=int(os.environ['SUDO_UID']):
 sys.exit('rayctl: another user listens in place of the runner')
o=struct.unpack('i',s.recvmsg(1,socket.CMSG_SPACE(4))[1][0][2])[0]
b=s.makefile('rb')
p=types.ModuleType('rayctl_root');p.__path__=[];sys.modules['rayctl_root']=p
for n,t in json.loads(b.readline().decode()):
 m=types.ModuleType('rayctl_root.'+n);m.__package__='rayctl_root';sys.modules[m.__name__]=m
 exec(compile(t,'rayctl_root/'+n+'.py','exec'),m.__dict__);setattr(p,n,m)
p.supervisor.main(s,b,o)
"""
LOST = "what ran this step as root ended before it (%s); processes of the step may be left on the host"


class RootShell:
    """A command that runs as root; see `steps.Shell`."""

    def __init__(self, command: steps.Command, sudo: Sudo) -> None:
        # sudo itself is called in the C locale
        locale = {name: value for name, value in os.environ.items() if name == "LC_ALL"}
        self.command = command._replace(env=dict(locale, **command.env))
        self._sudo = sudo
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._line: Optional[socket.socket] = None
        self._heard = b""
        self._outcome: Optional[Outcome] = None

    def start(self, out: int) -> None:
        """See `steps.Shell`."""
        self._out = os.dup(out)
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind("\0" + self.command.mark)  # no file: root may not reach the user's folders
        self._door.listen()
        self._door.setblocking(False)
        self._call()

    def poll(self) -> Optional[int]:
        """See `steps.Shell`."""
        if self._outcome is None:
            self._look()
        return self._outcome.rc if self._outcome else None

    def signs(self) -> List[int]:
        """See `steps.Shell`. That sudo ends nothing tells of."""
        return [] if self._outcome else [(self._line or self._door).fileno()]

    def excuse(self) -> str:
        """See `steps.Shell`."""
        return self._outcome.excuse if self._outcome else ""

    def end(self) -> List[Process]:
        """See `steps.Shell`. A sudo that does not end when asked finds nobody afterwards, and so starts nothing."""
        self._door.close()
        if self._line is not None:
            self._end_the_step(self._line)
        elif self._child is not None:
            self._end_sudo(self._child)
        if self._outcome is None:
            left = processes.find(self._child.pid) if self._child and self._child.poll() is None else None
            self._outcome = Outcome(supervisor.KILLED, "", [left] if left else [])
        return self._outcome.left

    def close(self) -> None:
        """See `steps.Shell`."""
        self._door.close()
        os.close(self._out)
        if self._line is not None:
            self._line.close()
        self._part_with_sudo()

    def _look(self) -> None:
        if self._line is None:
            self._let_in()
        if self._line is not None:
            self._listen(self._line, 0.0)
        elif self._child is not None and self._child.poll() is not None:
            self._heed_sudo(self._child.poll() or 0)

    # ---- sudo
    def _call(self) -> None:
        try:
            self._child = self._sudo.call(sys.executable, "-I", "-S", "-c", BOOT, self.command.mark)
        except FileNotFoundError:
            self._outcome = Outcome(127, "rayctl: " + NO_SUDO, [])

    def _heed_sudo(self, rc: int) -> None:
        """Sudo ended before its time: call it again with the password, or know why."""
        said = self._part_with_sudo()
        if self._sudo.learned(said):
            self._call()
        else:
            self._outcome = Outcome(rc if rc > 0 else 128 - rc, "rayctl: " + meaning(said, rc), [])

    @staticmethod
    def _end_sudo(child: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(PermissionError):
            child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(LEAVE_S)

    def _part_with_sudo(self) -> str:
        """Let it leave; what it said."""
        child, self._child = self._child, None
        if child is None or child.stderr is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(LEAVE_S)
        with child.stderr:
            os.set_blocking(child.stderr.fileno(), False)
            return (child.stderr.read() or b"").decode("utf-8", "replace")

    # ---- the supervisor
    def _let_in(self) -> None:
        try:
            line = self._door.accept()[0]
        except BlockingIOError:
            return
        if _user_at(line) != ROOT:
            line.close()
            return
        self._line = line
        self._door.close()
        line.settimeout(SEND_S)
        package = sources.package(PACKAGE)
        with contextlib.suppress(OSError):  # it is gone: the end of its line tells
            line.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self._out]))])
            line.sendall(("%s\n%s\n" % (json.dumps(package), json.dumps(self.command))).encode("ascii"))

    def _listen(self, line: socket.socket, patience_s: float) -> None:
        """Take what the supervisor says: its outcome, in one line."""
        line.settimeout(patience_s)
        try:
            said = line.recv(65536)
        except (BlockingIOError, socket.timeout):
            return
        except OSError:
            said = b""
        self._heard += said
        if self._heard.endswith(b"\n"):
            self._outcome = supervisor.decode(self._heard)
        elif not said:
            self._outcome = Outcome(supervisor.KILLED, "rayctl: " + LOST % last_line(self._part_with_sudo()), [])

    def _end_the_step(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + ANSWER_S
        while self._outcome is None and time.monotonic() < deadline:
            self._listen(line, 0.1)


def _user_at(line: socket.socket) -> int:
    """The user id of the process at the other end."""
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])
