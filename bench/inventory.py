# SPDX-License-Identifier: Apache-2.0
"""A cluster of 10,000 nodes as an Ansible inventory, against a static file of the same hosts and groups."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.pairs import Runs, Side, beside_python, command, in_pairs
from bench.report import comparison

WORKERS = 9999
ROOT = Path(__file__).resolve().parent.parent
CLUSTER = f"cluster_name: wide\nprovider: {{type: simulated, nodes: {{head: 1, worker: {WORKERS}}}}}\n"
ENABLED = {"ANSIBLE_INVENTORY_ENABLED": "rayctl.ray.rayctl,ini", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")}


def inventory(rounds: int) -> str:
    """`ansible-inventory --graph` of both."""
    with tempfile.TemporaryDirectory() as folder:
        cluster, static = Path(folder) / "wide.yaml", Path(folder) / "wide.ini"
        cluster.write_text(CLUSTER)
        static.write_text(_static())
        ours = _graph(f"the cluster file, {WORKERS + 1:,} nodes", cluster)
        theirs = _graph("a static file of the same hosts and groups", static)
        listed, plain = in_pairs(ours, theirs, rounds)
    return f"{comparison(listed, plain)}\n\nPeak memory: **{_peak(listed):.0f} MB** against {_peak(plain):.0f} MB."


def _peak(runs: Runs) -> float:
    return runs.middle(lambda sample: sample.peak_mb)


def _graph(name: str, source: Path) -> Side:
    setting = [f"{key}={value}" for key, value in ENABLED.items()]
    return command(name, ["/usr/bin/env", *setting, beside_python("ansible-inventory"), "-i", str(source), "--graph"])


def _static() -> str:
    workers = "".join(f"wide-worker-{n}\n" for n in range(WORKERS))
    heads, everyone = "wide-head-0\n", f"wide-head-0\n{workers}"
    groups = {
        "ray_head": heads, "ray_worker": workers, "ray_type_head": heads, "ray_type_worker": workers,
        "ray_status_running": everyone,
    }  # fmt: skip
    return "\n".join(f"[{group}]\n{hosts}" for group, hosts in groups.items())
