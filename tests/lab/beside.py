# SPDX-License-Identifier: Apache-2.0
"""`ray` and `rayctl` with the same file on the same hosts, one after the other, written down as a person would see it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import golden
import yaml

from .clusters import Cluster, note

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+\t\w+ [\w.]+:\d+ -- ")
ODD_PLACES = (
    (r"^( *File \").*/(?=ray/)", r"\1.../"),
    (r"\"(\.\.\./ray/\S+)\", line \d+", r'"\1"'),
    (r"(?<=ssh )-[^@]*(?=ray@)", "... "),
    (r"/lab/[0-9a-f]{16}/", "/lab/NODE/"),
)


class Beside:
    """A cluster of h1 (the head), h2 and h3 from a file as `ray up` has it, which both tools are given."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.folder = cluster, cluster.folder
        self.lab, self.file = cluster.lab, cluster.file
        self.text = ""
        self.ray_env = {name: str(self._made("ray-home")) for name in ("HOME", "TMPDIR", "RAY_TMPDIR")}
        self.write()

    def _made(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def write(self, *setup: str, **keys: Any) -> None:
        """The file: these set-up commands, start commands that only leave a note, and what else is given."""
        head, *workers = (self.lab[name].ip for name in ("h1", "h2", "h3"))
        self.write_keys({
            "cluster_name": "lab", "min_workers": 2, "max_workers": 2,
            "provider": {"type": "local", "head_ip": head, "worker_ips": workers},
            "auth": self.cluster.auth, "setup_commands": list(setup),
            "head_start_ray_commands": [note("starts")], "worker_start_ray_commands": [note("starts")], **keys,
        })  # fmt: skip

    def write_keys(self, keys: dict[str, Any]) -> None:
        """A file of these keys."""
        self.file.write_text(yaml.safe_dump(keys, sort_keys=False))

    def meet(self) -> None:
        """See the hosts for the first time, which shows their keys, other ones in each run."""
        self.unseen("rayctl", "status", "--probe", "cluster.yaml")

    def anew(self) -> None:
        """Other hosts in their place, of which nobody knows anything yet."""
        self.lab.reset()
        shutil.rmtree(self.cluster.home)
        self.meet()

    def ray(self, *words: str, telling: str, coded: bool = True) -> None:
        """Run one of Ray's commands; keep the lines in which `telling` is found, and its exit code where that is certain."""
        env = {"RAY_USAGE_STATS_ENABLED": "0", **self.ray_env}
        done = self._run(["ray", *words], env)
        kept: list[str] = []
        for line in (done.stdout + done.stderr).splitlines():
            clean = STAMP.sub("", ESCAPE.sub("", line)).rstrip()
            kept += [clean] if re.search(telling, clean) else ["..."] if kept[-1:] != ["..."] else []
        self._note_down(["ray", *words], "\n".join(kept), str(done.returncode) if coded else "...")

    def rayctl(self, *words: str) -> None:
        """Run ours; all that it prints is kept."""
        done = self._run(["rayctl", *words])
        self._note_down(["rayctl", *words], golden.at_work_sorted(done.stderr, r"10\.78\.") + done.stdout, str(done.returncode))

    def unseen(self, *words: str) -> None:
        """A command that only prepares the scene. Raises `CalledProcessError`."""
        self._run(list(words), self.ray_env if words[0] == "ray" else {}).check_returncode()

    def tell(self, text: str) -> None:
        """A line of the transcript that says what the commands before it have left behind."""
        self.text += f"# {text}\n"

    def ends(self, name: str) -> None:
        """Compare with what is kept."""
        addresses = [(re.escape(self.lab[host].ip), host.upper()) for host in ("h1", "h2", "h3")]
        places = [(re.escape(str(self.folder)), "DIR"), (re.escape(str(self.lab.key)), "KEY"), *addresses, *ODD_PLACES]
        golden.compare(f"defects/{name}", golden.levelled(self.text, places))

    def _run(self, words: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env={**self.cluster.env, **(env or {})}, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", check=False, timeout=120,
        )  # fmt: skip

    def _note_down(self, words: list[str], said: str, code: str) -> None:
        self.text += f"$ {shlex.join(words)}\n{said}".rstrip("\n") + f"\n[{code}]\n"
