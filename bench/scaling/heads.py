# SPDX-License-Identifier: Apache-2.0
"""Ray heads without rayctl, one for the length of a block: on ports and in a folder of their own, ended by a marker."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

from bench.pairs import TAIL, RunFailed, beside_python
from rayctl.node import processes

ADDRESS = "127.0.0.250"  # Ray replaces 127.0.0.1 by the machine's own
STORE = 80_000_000
START_S = 120.0
MARK = "RAYCTL_BENCH"
AGENTS = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "metrics-export-port", "runtime-env-agent-port")


@dataclass(frozen=True)
class Head:
    """A head that runs: where its GCS listens, and the environment of those who have to do with it."""

    address: str
    environment: Mapping[str, str]
    mark: str

    def processes(self) -> list[processes.Process]:
        """All that belongs to it."""
        return processes.marked(self.mark, variables=(MARK,))


def free_ports(count: int) -> list[int]:
    """Ports in which nothing listens now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextmanager
def ray_head(
    *, modern: bool, address: str = ADDRESS, port: int = 0, flags: Sequence[str] = (), **variables: str
) -> Iterator[Head]:
    """`ray start --head`; a `modern` one has the second version of Ray's autoscaler. Raises `RunFailed`."""
    folder, mark = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp")), uuid.uuid4().hex  # short: socket paths end at 107 bytes
    free, client, metrics, *agents = free_ports(3 + len(AGENTS))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "HOME": str(folder), "RAY_enable_autoscaler_v2": "1" if modern else "0", "RAY_AUTH_MODE": "disabled",
        "RAY_CLOUD_INSTANCE_ID": "i-head", "RAY_NODE_TYPE_NAME": "head", "AUTOSCALER_METRIC_PORT": str(metrics), MARK: mark,
        **variables,
    }  # fmt: skip
    command = [
        beside_python("ray"), "start", "--head", "--disable-usage-stats", f"--port={port or free}",
        f"--temp-dir={folder / 'ray'}",
        f"--ray-client-server-port={client}", "--min-worker-port=0", "--max-worker-port=0", f"--node-ip-address={address}",
        "--num-cpus=1", f"--object-store-memory={STORE}", "--include-dashboard=false",
        *(f"--{name}={number}" for name, number in zip(AGENTS, agents, strict=True)), *flags,
    ]  # fmt: skip
    start = subprocess.Popen(
        command, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, start_new_session=True
    )
    try:
        said, _ = start.communicate(timeout=START_S)
        if start.returncode:
            raise RunFailed(f"ray start --head ended with exit code {start.returncode}:\n{said[-TAIL:]}")
        yield Head(f"{address}:{port or free}", environment, mark)
    finally:
        processes.stop(mark, variables=(MARK,))
        shutil.rmtree(folder, ignore_errors=True)
