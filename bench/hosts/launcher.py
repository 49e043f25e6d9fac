# SPDX-License-Identifier: Apache-2.0
"""Ray's own launcher, from the same venv, on the same hosts: a cluster that no earlier run left anything of.

It keeps what it knows of a `local` cluster in `cluster-NAME.state` below Ray's temporary folder, and its ssh masters in
/tmp/ray_ssh_*; so each cluster has a folder and a name of its own, and the masters are ended with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from bench.hosts.place import CPUS, OBJECT_STORE, PORT, Cluster
from bench.pairs import beside_python
from rayctl.transport import masters

_numbers = count(1)
OFFERS = f"--num-cpus={CPUS} --object-store-memory={OBJECT_STORE}"
START = "ulimit -n 65536; RAY_AUTH_MODE=disabled ray start"


@dataclass(frozen=True)
class Launched:
    """A cluster of the launcher's. `folder` is its HOME and takes what it stores on this machine."""

    name: str
    folder: Path

    @property
    def file(self) -> Path:
        """Its cluster file."""
        return self.folder / "cluster.yaml"

    def up(self, *flags: str) -> list[str]:
        """The command line of `ray up` with these flags."""
        return [*self._ray("up"), "-y", "--no-config-cache", "--disable-usage-stats", *flags, str(self.file)]

    def ray(self, name: str, *words: str) -> list[str]:
        """The command line of another of Ray's commands on the file."""
        return [*self._ray(name), str(self.file), *words]

    def _ray(self, name: str) -> list[str]:
        own = [f"{variable}={self.folder}" for variable in ("HOME", "RAY_TMPDIR", "TMPDIR")]
        return ["/usr/bin/env", *own, beside_python("ray"), name]

    def write(self, cluster: Cluster, **keys: Any) -> None:
        """The same hosts, and the start commands that Ray's documentation gives, or what else these keys say."""
        head, *workers = cluster.hosts
        self.file.write_text(yaml.safe_dump({
            "cluster_name": self.name,
            # one more than there are workers: with as many it seems to count the head among them
            "min_workers": len(workers) + 1, "max_workers": len(workers) + 1,
            "provider": {"type": "local", "head_ip": head.ip, "worker_ips": [worker.ip for worker in workers]},
            "auth": cluster.auth,
            "head_start_ray_commands": [
                "ray stop", f"{START} --head --port={PORT} {OFFERS} --autoscaling-config=~/ray_bootstrap_config.yaml",
            ],
            "worker_start_ray_commands": ["ray stop", f"{START} --address=$RAY_HEAD_IP:{PORT} {OFFERS}"],
            **keys,
        }))  # fmt: skip


@contextmanager
def launched(cluster: Cluster, **keys: Any) -> Iterator[Launched]:
    """A cluster of the launcher's over these hosts, yet to be brought up; what lies on this machine goes at the end."""
    made = Launched(f"bench-{os.getpid()}-{next(_numbers)}", Path(tempfile.mkdtemp(prefix="rcb-ray-")))
    made.write(cluster, **keys)
    try:
        yield made
    finally:
        _end_masters(made.name)
        shutil.rmtree(made.folder)


def _end_masters(name: str) -> None:
    """The launcher's own ones would linger for ten seconds, and find other hosts at their addresses."""
    for folder in Path("/tmp").glob(f"ray_ssh_*/{hashlib.sha256(name.encode()).hexdigest()[:10]}"):
        for socket in folder.iterdir():
            masters.tell("exit", socket)
        shutil.rmtree(folder)
