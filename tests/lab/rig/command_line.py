# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.lab.rig VERB ...`: a lab by hand. A verb for one host is the method of that name."""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from . import lab as labs
from .able import cannot_prepare, must_run
from .box import LabError
from .host import Host
from .lab import Lab
from .places import locked
from .prepare import prepare

# verbs without further words
PLAIN = ("kill", "boot", "shutdown", "reboot", "power_cycle", "recreate", "rekey", "hide", "unplug", "heal")
# verbs that --undo takes back
UNDONE = ("pause", "fill_disk", "readonly_home", "noexec_tmp", "without")


def main(argv: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.action(arguments)
    except (LabError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.rig", description="Machines on this machine. See docs/lab.md.")
    parser.add_argument("--lab", default="default", help="which lab (default: %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_lab_verbs(verbs)
    _add_host_verbs(verbs)
    return parser


def _add_lab_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    def verb(name: str, action: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.set_defaults(action=action)
        return added

    verb("prepare", _prepare, "make what all labs share; what is there is left as it is")
    verb("up", _up, "make a lab in place of the one with its name").add_argument("size", type=int, help="number of hosts")
    verb("ls", _list, "hosts and what was done to them")
    clean = verb("clean", _clean, "remove labs")
    clean.add_argument("names", nargs="*", help="which (default: all)")
    clean.add_argument("--dead", action="store_true", help="only those whose maker was killed")
    verb("reset", lambda a: Lab.load(a.lab).reset(), "make all hosts anew")
    share = verb("share_home", lambda a: Lab.load(a.lab).share_home(*a.hosts), "give hosts one home")
    share.add_argument("hosts", nargs="+")


def _add_host_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    def verb(name: str, action: Callable[[Host, argparse.Namespace], object]) -> argparse.ArgumentParser:
        text = (getattr(Host, name).__doc__ or "").splitlines()[0]
        added = verbs.add_parser(name, help=text, description=text)
        added.add_argument("host")
        added.set_defaults(action=lambda a: action(Lab.load(a.lab)[a.host], a))
        return added

    for name in PLAIN:
        verb(name, lambda host, a: getattr(host, a.verb)())
    for name in UNDONE:
        undone = verb(name, lambda host, a: getattr(host, a.verb)(*getattr(a, "commands", ()), there=not a.undo))
        undone.add_argument("--undo", action="store_true")
        if name == "without":
            undone.add_argument("commands", nargs="+")
    verb("partition", lambda host, a: host.partition(*a.peers)).add_argument("peers", nargs="*", help="box, h2, ...")
    verb("sshd", lambda host, a: host.sshd(*a.options)).add_argument("options", nargs="*", metavar="Port=2222")
    verb("sudo", lambda host, a: host.sudo(a.mode)).add_argument("mode", choices=("nopasswd", "password", "none"))
    verb("add_user", lambda host, a: host.add_user(a.user)).add_argument("user")
    verb("exec", lambda host, a: print(host.exec(a.script).stdout, end="")).add_argument("script")
    slow = verb("slow", lambda host, a: host.slow(a.delay_ms, a.loss, a.rate))
    slow.add_argument("--delay-ms", type=float, default=0, help="of what it sends")
    slow.add_argument("--loss", type=float, default=0, help="share of packets, 0 to 1")
    slow.add_argument("--rate", default="", help="of sending, such as 1mbit")


def _prepare(_: argparse.Namespace) -> None:
    if reason := cannot_prepare():
        if must_run():
            raise LabError(f"CI must run the tests on real hosts, but {reason}")
        print(f"lab: tests on real hosts will be skipped: {reason}")
        return
    for name, seconds in prepare():
        print(f"lab: {name} ready in {seconds:.1f} s", flush=True)


def _up(arguments: argparse.Namespace) -> None:
    made = Lab.up(arguments.size, name=arguments.lab).keep()
    for host in made:
        print(f"{host.name}  ssh -F {made.ssh_config} {host.name}")


def _list(_: argparse.Namespace) -> None:
    for lab in labs.every_lab():
        for host in lab:
            power = "on" if host.running() else "off"
            print(f"{lab.name}  {host.name}  {host.ip}:{host.port}  {power}  {' '.join(host.faults)}")


def _clean(arguments: argparse.Namespace) -> None:
    if arguments.dead:
        labs.clean_dead()
        return
    with locked("labs"):
        labs.clean(*(arguments.names or [lab.name for lab in labs.every_lab()]))
