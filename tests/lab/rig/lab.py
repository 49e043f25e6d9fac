# SPDX-License-Identifier: Apache-2.0
"""A lab: a bridge and its hosts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import places
from .able import cannot_run
from .box import LabError, Process, mounts, remove_tree, run, unmount
from .host import Host

NETWORKS = [f"10.78.{number}" for number in range(1, 255)]
MOST_HOSTS = 200
RECORD = "lab.json"
SSH_CONFIG = """\
Include {folder}/h*/ssh_config
Host *
  IdentityFile {folder}/key
  IdentitiesOnly yes
  BatchMode yes
  ConnectTimeout 10
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
"""


@dataclass(frozen=True)
class Lab:
    """Hosts h1, h2, ... on one bridge. Whoever has its name can take it up; without its maker it is dead (None: it is kept)."""

    name: str
    network: str
    size: int
    disk_size: str
    maker: Process | None

    @classmethod
    def up(cls, size: int, name: str = "default", disk_size: str = "4g") -> Lab:
        """Make this many hosts and wait until one can log in to them; a lab of that name goes, and so do dead ones."""
        if reason := cannot_run():
            raise LabError(reason)
        if not re.fullmatch(r"[a-z][a-z0-9]{0,8}", name) or not 1 <= size <= MOST_HOSTS:
            raise LabError(f"a lab's name is 1 to 9 of a-z and 0-9, a letter first, and it has 1 to {MOST_HOSTS} hosts")
        with places.locked("labs"):
            clean(name)
            _clean_dead()
            lab = cls(name, _free_network(), size, disk_size, Process.find(os.getpid()))
            lab._write()
        lab._make_bridge()
        lab.on_all(Host.create)
        return lab

    @classmethod
    def load(cls, name: str) -> Lab:
        """The lab of that name."""
        try:
            record = json.loads((places.labs() / name / RECORD).read_text())
        except FileNotFoundError:
            raise LabError(f"there is no lab {name!r}: see `ls`") from None
        return cls(**{**record, "maker": record["maker"] and Process(**record["maker"])})

    def keep(self) -> Lab:
        """Let it outlive the process that made it."""
        kept = replace(self, maker=None)
        kept._write()
        return kept

    @property
    def folder(self) -> Path:
        """What the box keeps of it."""
        return places.labs() / self.name

    @property
    def hosts(self) -> list[Host]:
        """All its hosts."""
        return [Host(self.folder, self.network, number, self.size, self.disk_size) for number in range(1, self.size + 1)]

    def __getitem__(self, name: str) -> Host:
        """The host of that name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"there is no host {name!r} in the lab {self.name}; there are h1 to h{self.size}")

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts)

    @property
    def key(self) -> Path:
        """The private key that opens all hosts."""
        return self.folder / "key"

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`: every host by its name and its address."""
        return self.folder / "ssh_config"

    @property
    def dead(self) -> bool:
        """Whether the process that made it has ended."""
        return self.maker is not None and not self.maker.alive()

    def on_all(self, action: Callable[[Host], None]) -> None:
        """Do something to all hosts at once; the first error is raised when all have ended."""
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(action, host) for host in self.hosts]:
                done.result()

    def reset(self) -> None:
        """Make all hosts anew."""
        self.on_all(Host.recreate)

    def share_home(self, *hosts: str) -> None:
        """Give these hosts one home of the lab's user, that of the first, as over NFS. They are power-cycled for it."""
        chosen = [self[name] for name in hosts]
        home = self.folder / "home"
        remove_tree(home)
        run("cp", "--archive", chosen[0].root / "home" / chosen[0].user, home)
        for host in chosen:
            host.shared_home.unlink(missing_ok=True)
            host.shared_home.symlink_to(home)
        self.on_all(lambda host: host.power_cycle() if host.name in hosts else None)

    def destroy(self) -> None:
        """Remove it, also when it is half made or half removed."""
        self.on_all(Host.destroy)
        run(*_forwarding("-D", self.bridge), check=False)
        run("ip", "link", "del", self.bridge, check=False)
        remove_tree(self.folder)

    @property
    def bridge(self) -> str:
        """The switch between its hosts."""
        return self.hosts[0].bridge

    def _write(self) -> None:
        """Put the record where others find it, all at once; everything else that a lab leaves behind is found by it."""
        self.folder.mkdir(exist_ok=True)
        unfinished = self.folder / f"{RECORD}.new"
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.replace(self.folder / RECORD)

    def _make_bridge(self) -> None:
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"rclab-{self.name}", "-f", self.key)
        self.ssh_config.write_text(SSH_CONFIG.format(folder=self.folder))
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "addr", "add", f"{self.hosts[0].gateway}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        # a docker daemon on the box, now or later, forbids what it did not make itself
        run(*_forwarding("-I", self.bridge))


def _forwarding(action: str, bridge: str) -> list[str]:
    return ["iptables", action, "FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"]


def every_lab() -> list[Lab]:
    """All labs of this machine."""
    found = []
    for folder in sorted(places.labs().iterdir()):
        with suppress(LabError):  # its maker may be removing it at this moment
            found.append(Lab.load(folder.name))
    return found


def clean(*names: str) -> None:
    """Remove these labs, where they are."""
    for lab in every_lab():
        if lab.name in names:
            lab.destroy()


def clean_dead() -> None:
    """Remove the labs whose makers have ended, and folders that a killed removal left."""
    with places.locked("labs"):
        _clean_dead()


def _clean_dead() -> None:
    for lab in every_lab():
        if lab.dead:
            lab.destroy()
    for folder in places.labs().iterdir():
        if not (folder / RECORD).exists():
            for place in (place for place in mounts() if place.is_relative_to(folder)):
                unmount(place)  # of a lab that was removed while its tests made its hosts anew
            remove_tree(folder)


def _free_network() -> str:
    """A network that neither a lab nor anything else on this machine uses."""
    routes = run("ip", "-4", "route", "show", "table", "all").stdout
    taken = {lab.network for lab in every_lab()} | set(re.findall(r"10\.78\.\d+(?=\.)", routes))
    if free := next((network for network in NETWORKS if network not in taken), None):
        return free
    raise LabError("no free network in 10.78.0.0/16")
