# SPDX-License-Identifier: Apache-2.0
"""What one controller spends on each of many hosts: `up` of 100 and of 500 declared hosts, less what the hosts themselves do.

The hosts are folders of this machine. A stand-in for `ssh`, first on PATH, runs what it is told in such a folder as its home,
with a /var/tmp of its own; everything on the controller's side of ssh is the real thing. Needs root.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.pairs import Child, Sample, beside_python
from bench.report import table

SIZES = (100, 500)
LOOK_S, QUIET_S = 1.0, 30.0
HOST = "rayctl-bench-host"  # the first argument of what runs as a host
# Sshd gives the command to the user's shell in a small environment. What runs as a host is nobody's child, so that its use of
# the machine counts as no one's; its exit code comes through a pipe.
SSH = f"""#!/bin/bash
while [ $# -gt 0 ]; do
    case $1 in
        -V) echo OpenSSH_9.2p1 >&2; exit ;;
        -O) exit 255 ;;
        -[FoSLW]) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
home={{root}}/$1
mkdir -p "$home/tmp"
exec 3>&1 4<&0
host() {{{{
    env -i HOME="$home" USER=bench LOGNAME=bench SHELL=/bin/bash PATH=/usr/local/bin:/usr/bin:/bin unshare --mount \\
        /bin/bash -c 'mount --bind "$HOME/tmp" /var/tmp && cd && exec /bin/bash -c "$1"' {HOST} "$1" <&4 >&3 3>&- 4<&-
    echo $?
}}}}
exit "$( (host "$2" &) )"
"""
STEPS = ["true"] * 3


@dataclass(frozen=True)
class Spent:
    """What a command cost the controller. `memory_mb` is its processes' together at their peak, shared pages counted once."""

    seconds: float
    cpu_s: float
    memory_mb: float


def fanout(_: int) -> str:
    """A first `up`, one that changes nothing, and `down`; each size once, since a difference of 400 hosts is no noise."""
    measured = {size: _measure(size) for size in SIZES}
    rows = [_row(size, command, spent) for size, found in measured.items() for command, spent in found.items()]
    head = ["", "wall", "controller CPU", "CPU per host", "controller memory"]
    return f"{table(head, rows)}\n\n{_growth(measured)}"


def _row(size: int, command: str, spent: Spent) -> list[str]:
    per_host = f"{spent.cpu_s / size * 1000:.0f} ms"
    return [f"{command}, {size} hosts", f"{spent.seconds:.1f} s", f"{spent.cpu_s:.1f} s", per_host, f"{spent.memory_mb:.0f} MB"]


def _growth(measured: dict[int, dict[str, Spent]]) -> str:
    few, many = SIZES
    rows = []
    for command, spent in measured[many].items():
        less, hosts = measured[few][command], many - few
        cpu, memory = (spent.cpu_s - less.cpu_s) / hosts, (spent.memory_mb - less.memory_mb) / hosts
        rows.append([command, f"{cpu * 1000:.0f} ms", f"{memory:.2f} MB"])
    return table([f"each host more, from {few} to {many}", "controller CPU", "controller memory"], rows)


def _measure(size: int) -> dict[str, Spent]:
    with _hosts(size) as folder:
        commands = {"first `up`": "up", "`up`, nothing changed": "up", "`down`": "down"}
        return {name: _run(folder, verb) for name, verb in commands.items()}


@contextmanager
def _hosts(size: int) -> Iterator[Path]:
    """A cluster file of so many hosts, and the `ssh` that leads to them."""
    folder = Path(tempfile.mkdtemp(prefix="rf-"))
    hosts = [{"name": f"h{n}", "address": f"10.99.{n // 250}.{n % 250 + 1}"} for n in range(size)]
    (folder / "fan.yaml").write_text(yaml.safe_dump({
        "cluster_name": "fan", "provider": {"type": "local", "hosts": hosts}, "auth": {"ssh_user": "bench"},
        "setup_commands": STEPS, "head_start_ray_commands": ["true"], "worker_start_ray_commands": ["true"],
    }))  # fmt: skip
    ssh = folder / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.format(root=folder))
    ssh.chmod(0o755)
    before = {name: os.environ.get(name) for name in ("PATH", "RAYCTL_HOME")}
    os.environ.update(PATH=f"{ssh.parent}{os.pathsep}{os.environ['PATH']}", RAYCTL_HOME=str(folder / "home"))
    try:
        yield folder
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        shutil.rmtree(folder)


def _run(folder: Path, verb: str) -> Spent:
    with Child([beside_python("rayctl"), verb, "-y", str(folder / "fan.yaml")]) as child, _Memory() as memory:
        sample: Sample = child.finish()
    _wait_for_hosts()
    return Spent(sample.seconds, sample.cpu_s, memory.peak_mb)


def _wait_for_hosts() -> None:
    """Until what runs on hosts has ended. Raises `TimeoutError`."""
    end = time.monotonic() + QUIET_S
    while any(HOST.encode() in _content(process / "cmdline") for process in Path("/proc").glob("[0-9]*")):
        if time.monotonic() > end:
            raise TimeoutError(f"something still runs on hosts {QUIET_S:g} s after the command ended")
        time.sleep(LOOK_S)


def _content(file: Path) -> bytes:
    with suppress(OSError):
        return file.read_bytes()
    return b""


class _Memory:
    """Watches this process's descendants while its block runs, less the stand-ins for ssh."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            self.peak_mb = max(self.peak_mb, sum(map(_megabytes, _descendants(os.getpid()))))


def _descendants(pid: int) -> Iterator[int]:
    with suppress(OSError):
        children = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
        for child in map(int, children):
            if b"/bin/ssh\0" not in _content(Path(f"/proc/{child}/cmdline")):
                yield child
                yield from _descendants(child)


def _megabytes(pid: int) -> float:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return 0.0
