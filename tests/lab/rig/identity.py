# SPDX-License-Identifier: Apache-2.0
"""Who a host is and who may come in: names, host key, machine id, users, sudo, sshd."""

from __future__ import annotations

import os
from typing import Literal

from .box import run
from .machine import Machine

Sudo = Literal["nopasswd", "password", "none"]
SUDO_RULES: dict[Sudo, str] = {
    "nopasswd": "{user} ALL=(ALL) NOPASSWD:ALL\n",
    "password": "{user} ALL=(ALL) ALL\n",
    "none": "# nothing for {user}\n",
}
SSH_PORT = 22


class Identity(Machine):
    """A host as those see it who log in."""

    def seed(self) -> None:
        """Make an empty disk a host of its own, which knows its neighbours' addresses by their names."""
        etc = self.root / "etc"
        hosts = "".join(f"{address} {name}\n" for name, address in self.neighbours.items())
        (etc / "hostname").write_text(f"{self.name}\n")
        # sudo looks up the host's name at each call, and would wait 20 s for a name server that is not there
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        (etc / "resolv.conf").unlink(missing_ok=True)
        (etc / "resolv.conf").write_text("# no DNS in the lab\noptions timeout:1 attempts:1\n")
        (etc / "machine-id").write_text(f"{os.urandom(16).hex()}\n")
        self.rekey()
        self.sshd()
        self._let_in(self.user)
        self.sudo("nopasswd")

    @property
    def public_key(self) -> str:
        """Its host key: type and key, as they stand in a known_hosts file."""
        return " ".join((self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])

    def rekey(self) -> None:
        """Give it a new host key."""
        folder = self.root / "etc/ssh"
        for old in folder.glob("ssh_host_*"):
            old.unlink()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", folder / "ssh_host_ed25519_key")
        self._restart_sshd()

    @property
    def port(self) -> int:
        """Where its sshd listens."""
        note = self.folder / "port"
        return int(note.read_text()) if note.exists() else SSH_PORT

    def sshd(self, *options: str) -> None:
        """Give sshd these options (Port=2222, AllowTcpForwarding=no, ...) and no others; without any it is as Debian has it."""
        pairs = [option.split("=", 1) for option in options]
        config = self.root / "etc/ssh/sshd_config.d/00-rclab.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in pairs))
        # written all at once: others may ask for the port at any time
        unfinished = self.folder / "port.new"
        unfinished.write_text(next((value for name, value in pairs if name == "Port"), str(SSH_PORT)))
        unfinished.replace(self.folder / "port")
        self._write_ssh_config()
        self._restart_sshd()

    def add_user(self, user: str) -> None:
        """A further user who comes in with the lab's key and may do everything by sudo."""
        run("chroot", self.root, "useradd", "--create-home", "--shell", "/bin/bash", user)
        self._let_in(user)
        self.sudo("nopasswd", user=user)

    def sudo(self, mode: Sudo, user: str = "", password: str = "secret") -> None:
        """Let the user (else the lab's) use sudo without a password, with this one, or not at all."""
        user = user or self.user
        rule = self.root / "etc/sudoers.d" / f"rclab-{user}"
        rule.write_text(SUDO_RULES[mode].format(user=user))
        rule.chmod(0o440)
        if mode == "password":
            run("chroot", self.root, "chpasswd", text=f"{user}:{password}\n")

    def _let_in(self, user: str) -> None:
        """Put the lab's key into the user's authorized_keys."""
        home = self.root / "home" / user
        keys = home / ".ssh/authorized_keys"
        keys.parent.mkdir(mode=0o700)
        keys.write_text((self.lab_folder / "key.pub").read_text())
        for path in (keys.parent, keys):
            os.chown(path, home.stat().st_uid, home.stat().st_gid)

    def _write_ssh_config(self) -> None:
        lines = (f"Host {self.name} {self.ip}", f"HostName {self.ip}", f"User {self.user}", f"Port {self.port}")
        (self.folder / "ssh_config").write_text("\n  ".join(lines) + "\n")

    def _restart_sshd(self) -> None:
        if self.running():
            self.exec("sshd -t && systemctl restart ssh")
