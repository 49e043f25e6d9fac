# SPDX-License-Identifier: Apache-2.0
"""A host's cable and what can be wrong with it. All of it is in the host's network namespace, so it outlives reboots."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .box import LabError, Process, run, spawn, wait_for
from .machine import Machine

ADDRESS = """\
addr add {ip}/24 dev eth0
link set eth0 up
link set lo up
route add default via {gateway}
"""
CHAINS = ("RCLAB-IN", "RCLAB-OUT")
DELAYER = Path(__file__).with_name("delayer.py")
QUEUES = "/proc/self/net/netfilter/nfnetlink_queue"  # a line for each that somebody listens to


class Network(Machine):
    """A host as others see it over the network."""

    @property
    def link(self) -> str:
        """The switch's end of its cable."""
        return f"rclab{self.network.rpartition('.')[2]}{self.name}"

    @property
    def bridge(self) -> str:
        """The switch of its lab."""
        return f"rclab{self.network.rpartition('.')[2]}"

    def make_network(self) -> None:
        """Namespace, cable and address."""
        # with another MAC at the same address a recreated host is unreachable for 10 to 30 s, until caches forget the old one
        mac = "52:54:" + ":".join(f"{int(byte):02x}" for byte in self.ip.split("."))
        run("ip", "netns", "add", self.machine)
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "address", mac, "netns", self.machine)
        run("ip", "link", "set", self.link, "master", self.bridge, "up")
        run("ip", "-n", self.machine, "-batch", "-", text=ADDRESS.format(ip=self.ip, gateway=self.gateway))
        chains = "".join(f":{chain} - [0:0]\n" for chain in CHAINS)
        rules = f"*filter\n{chains}-A INPUT -j {CHAINS[0]}\n-A OUTPUT -j {CHAINS[1]}\nCOMMIT\n"
        self._inside("iptables-restore", "--noflush", text=rules)

    def remove_network(self) -> None:
        """Take it all away, also what is half made."""
        self._end_delayer()
        run("ip", "netns", "del", self.machine, check=False)
        run("ip", "link", "del", self.link, check=False)

    def plug(self, there: bool) -> None:
        """Power the switch's port up or down. The namespace lives on without the host, and would answer 'refused' for it."""
        run("ip", "link", "set", self.link, "up" if there else "down", check=there)

    def unplug(self) -> None:
        """Pull the cable out; it stays out over reboots."""
        self.plug(False)
        self.note_fault("unplugged", True)

    def partition(self, *peers: str) -> None:
        """Drop every packet from and to these hosts (`box` is this machine), or from and to everyone."""
        for peer in peers:
            self._rule("PEER", self.address_of(peer), "-j", "DROP")
        if not peers:
            self._rule("!", "PEER", "127.0.0.0/8", "-j", "DROP")
        self.note_fault("partitioned", True)

    def hide(self) -> None:
        """Out of reach for the box, in reach of the other hosts: behind a bastion."""
        self.partition("box")

    def slow(self, delay_ms: float = 0, loss: float = 0, rate: str = "") -> None:
        """A bad link: a delay of what it sends, a share of packets lost both ways (0 to 1), a rate of sending such as 1mbit."""
        if delay_ms and rate:
            raise LabError("a link can have a delay or a rate, not both: each is the one queue of the link")
        if loss:
            self._rule("-m", "statistic", "--mode", "random", "--probability", str(loss), "-j", "DROP")
        if rate:
            self._queue("tbf", "burst", "32kbit", "latency", "400ms", "rate", rate)
        if delay_ms:
            self._delay(delay_ms)
        self.note_fault("slow", True)

    def heal(self) -> None:
        """Undo all of that."""
        for chain in CHAINS:
            self._inside("iptables", "--flush", chain)
        self._inside("tc", "qdisc", "del", "dev", "eth0", "root", check=False)
        self._end_delayer()
        self.plug(True)
        for fault in ("unplugged", "partitioned", "slow"):
            self.note_fault(fault, False)

    def _inside(self, *argv: object, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        # not `ip netns exec`: it makes a mount namespace too, and so would hold the disks of other hosts
        return run("nsenter", f"--net=/run/netns/{self.machine}", *argv, text=text, check=check)

    def _rule(self, *match: str) -> None:
        """The same rule both ways; PEER stands for the source of what comes in and the destination of what goes out."""
        for chain, peer in zip(CHAINS, ("-s", "-d"), strict=True):
            self._inside("iptables", "-A", chain, *(peer if word == "PEER" else word for word in match))

    def _delay(self, milliseconds: float) -> None:
        """By the kernel's netem, or where it has none by a process of ours."""
        if self._queue("netem", "delay", f"{milliseconds}ms", check=False).returncode == 0:
            return
        program = (sys.executable, DELAYER, milliseconds, self._delayer)
        spawn(self.folder / "delayer.log", "nsenter", f"--net=/run/netns/{self.machine}", *program)
        self._inside("iptables", "-A", CHAINS[1], "-o", "eth0", "-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass")
        wait_for(lambda: self._inside("cat", QUEUES, check=False).stdout, 15, f"what {self.name} sends is held")

    def _queue(self, *discipline: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """How packets wait before they are sent."""
        return self._inside("tc", "qdisc", "replace", "dev", "eth0", "root", *discipline, check=check)

    @property
    def _delayer(self) -> str:
        """The word by which its delaying process is found again."""
        return f"--of={self.machine}"

    def _end_delayer(self) -> None:
        for process in Process.with_argument(self._delayer):
            process.kill()
