# SPDX-License-Identifier: Apache-2.0
"""A host's power: on, off, reset, and stopped in its tracks."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from pathlib import Path

from . import rayenv
from .box import LabError, Process, spawn, wait_for
from .disk import Disk
from .groups import Group
from .identity import Identity
from .network import Network

SYSTEMD_POWEROFF, SYSTEMD_REBOOT = signal.SIGRTMIN + 4, signal.SIGRTMIN + 5
# With --keep-unit nspawn does not start a guest again that rebooted itself, it ends with 133.
FOLLOW_REBOOTS = 'for group in $0; do echo $$ >"$group/cgroup.procs"; done; while :; do "$@"; [ $? = 133 ] || exit; done'
NO_ROOM = b"inotify object: Too many open files"  # each host's systemd takes four of the box's root
LOST_AT_BOOT = ("home-readonly", "tmp-noexec")


class Power(Network, Disk, Identity):
    """A host that can be switched on and off."""

    def boot(self) -> None:
        """Switch it on, and wait until one can log in."""
        if not self.running():
            self.plug("unplugged" not in self.faults)
            self._start()
        if not {"unplugged", "partitioned"} & set(self.faults):
            self.wait_for_login()

    def _start(self) -> None:
        for fault in LOST_AT_BOOT:
            self.note_fault(fault, False)
        follow = ("sh", "-c", FOLLOW_REBOOTS, Group(self.machine).make())
        spawn(self.folder / "console.log", *follow, *self._nspawn())

    def _nspawn(self) -> list[str]:
        """The guest's command line. --keep-unit also where systemd runs the box: the guest has groups of its own already."""
        binds = [f"--bind={self.shared_home}:/home/{self.user}"] if self.shared_home.exists() else []
        venv = rayenv.folder()
        if venv is not None and venv.exists():
            binds.append(f"--bind-ro={venv}:{rayenv.INSIDE}")
        return [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "-D", str(self.root),
            f"--machine={self.machine}", f"--hostname={self.name}", f"--network-namespace-path=/run/netns/{self.machine}",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", *binds,
        ]  # fmt: skip

    @property
    def shared_home(self) -> Path:
        """A link to the home that it shares with other hosts, where it does."""
        return self.folder / "shared-home"

    def wait_for_login(self, seconds: float = 60) -> None:
        """Wait for sshd, and for the end of the time in which a booting machine lets nobody in."""
        wait_for(self._lets_in, seconds, f"{self.name} ({self.ip}:{self.port}) lets one log in")

    def _lets_in(self) -> bool:
        if NO_ROOM in self._console():
            raise LabError(f"{self.name} cannot boot: there are more hosts than fs.inotify.max_user_instances has room for")
        return bool(self.banner()) and not self._nologin()

    def _console(self) -> bytes:
        with suppress(OSError):
            return (self.folder / "console.log").read_bytes()
        return b""

    def _nologin(self) -> bool:
        leader = self.leader()
        return leader is None or Path(f"/proc/{leader.pid}/root/run/nologin").exists()

    def banner(self) -> str:
        """The first line that its ssh port says, or nothing when it says none within a second."""
        with suppress(OSError), socket.create_connection((self.ip, self.port), 1) as connection:
            return connection.recv(80).decode("ascii", "replace").strip()
        return ""

    def kill(self) -> None:
        """Cut the power: all its processes are gone at once, the disk stays, and nothing answers at its address."""
        self.plug(False)
        self.pause(False)
        wait_for(self._nothing_left_to_kill, 20, f"{self.name} is dead")

    def _nothing_left_to_kill(self) -> bool:
        """Kill what starts it, so that nothing starts it again, and then its PID 1, which would live on without nspawn."""
        processes = [*Process.with_argument(f"--machine={self.machine}"), *self.leaders()]
        for process in processes:
            process.kill()
        return not processes

    def shutdown(self) -> None:
        """Let it power itself off in good order."""
        if leader := self.leader():
            leader.kill(SYSTEMD_POWEROFF)
            wait_for(lambda: not leader.alive(), 60, f"{self.name} powers off")
        self.kill()

    def power_cycle(self) -> None:
        """Power off and on: disk kept, /run, /tmp and /dev/shm lost, another boot id."""
        self.kill()
        self.boot()

    def reboot(self) -> None:
        """Let it reboot itself in good order."""
        leader = self.leader()
        if leader is not None:
            leader.kill(SYSTEMD_REBOOT)
            wait_for(lambda: not leader.alive(), 60, f"{self.name} goes down")
            wait_for(self.running, 60, f"{self.name} comes up again")
        self.boot()

    def pause(self, there: bool = True) -> None:
        """Stop all its processes where they are: its kernel still answers a connection, nobody speaks on it."""
        Group(self.machine).freeze(there)
        self.note_fault("paused", there)
