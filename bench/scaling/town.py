# SPDX-License-Identifier: Apache-2.0
"""A big cluster as its provider and Ray's head tell it, in files: `python -m bench.scaling.town FOLDER NODES SEED`.

    cluster.yaml       the cluster file
    listing.jsonl      the provider's reply: pages of at most 1,000 machines, as clouds give them, a line of JSON each
    state.bin          the head's reply to GetClusterResourceState
    journal.json       what a scaler that was killed left

Nearly all machines are up and a fifth of them has room. One in a hundred is about to be launched, boots, waits for its set-up,
drains, or has been idle for too long and of no use to what waits; of each there is one at least. A hundred thousand requests
in ten shapes and twenty placement groups wait at ten thousand nodes, fewer at fewer.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from bench.planning.scenario import GIB, NODE_TYPES, PRESENT, SHAPES, STRATEGIES, Amounts
from rayctl.config.digest import launch_digest
from rayctl.config.load import load
from rayctl.config.model import ClusterConfig
from rayctl.gcs.messages import MESSAGES
from rayctl.providers.base import Kind, launch_token
from rayctl.reconcile import journal as journals
from rayctl.reconcile.journal import Asked, Drain, Journal, Trouble
from rayctl.reconcile.requests import request_for, slot_of

CLUSTER, CLUSTER_ID, SESSION = "town", "5f1c1c7e-3f86-4a52-9d0c-6b6f4a1f7d11", "session_2026-01-01_00-00-00_000000_1"
PAGE = 1000
IDLE_TIMEOUT_S, BATCH = 300, 20
PER_NODE = 10  # requests
STAGES = ("booting", "waiting", "draining", "idle")  # one in a hundred each
RUNNING, IDLE, DRAINING = 1, 3, 4  # as Ray numbers a node's states
USELESS = "old"  # a type that nothing waits for
RESOURCES: dict[str, Amounts] = {USELESS: {"old": 1.0}, **{name: own["resources"] for name, own in NODE_TYPES.items()}}


@dataclass(frozen=True)
class Machine:
    """One worker, `number` among all."""

    number: int
    type: str
    stage: str
    free: float = 0.0

    @property
    def id(self) -> str:
        return f"i-{self.number:017x}"

    @property
    def address(self) -> str:
        return f"10.{self.number >> 16 & 255}.{self.number >> 8 & 255}.{self.number & 255}"


def write(folder: Path, nodes: int, seed: int) -> None:
    """Write all files, of so many machines with the head."""
    dice, file = random.Random(seed), folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(_cluster_file()))
    config = load(file).config
    workers = [_machine(number, nodes, dice) for number in range(1, nodes)]
    with (folder / "listing.jsonl").open("w") as listing:
        for page in _pages([_head(), *(_listed(config, worker) for worker in workers)]):
            listing.write(json.dumps(page) + "\n")
    (folder / "state.bin").write_bytes(_state(workers, nodes, dice))
    journals.store(folder / "journal.json", _journal(config, workers, nodes))


def _cluster_file() -> dict[str, Any]:
    types = {name: {"resources": own, "min_workers": 0, "max_workers": 10**6} for name, own in RESOURCES.items()}
    head = {"head": {"resources": {"CPU": 0}}}
    return {
        "cluster_name": CLUSTER, "max_workers": 10**6, "idle_timeout_minutes": IDLE_TIMEOUT_S / 60, "upscaling_speed": 10**6,
        "provider": {"type": "simulated", "prices": {name: own["price"] for name, own in NODE_TYPES.items()}},
        "available_node_types": types | head, "head_node_type": "head",
    }  # fmt: skip


def _machine(number: int, nodes: int, dice: random.Random) -> Machine:
    every = min(100, max(nodes // 2, len(STAGES)))
    place = number % every
    stage = STAGES[place] if place < len(STAGES) else "up"
    free = 1.0 if stage == "idle" else dice.choice((0.1, 0.25, 0.5)) if dice.random() < 0.2 else 0.0
    return Machine(number, USELESS if stage == "idle" else dice.choice(PRESENT), stage, free)


# ---- the provider
def _head() -> dict[str, Any]:
    return {
        "id": "i-head", "name": f"{CLUSTER}-head-1", "kind": "head", "type": "head", "state": "running",
        "launch_token": launch_token(CLUSTER_ID, "head", 1), "address": "10.255.0.1", "launched_at": 0.0,
    }  # fmt: skip


def _listed(config: ClusterConfig, machine: Machine) -> dict[str, Any]:
    slot = slot_of(CLUSTER, CLUSTER_ID, machine.type, machine.number)
    request = request_for(config, machine.type, Kind.WORKER, (slot,))
    status = "up-to-date" if machine.stage in ("up", "draining", "idle") else "uninitialized"
    return {
        "id": machine.id, "name": slot.name, "kind": "worker", "type": machine.type, "launch_token": slot.token,
        "state": "pending" if machine.stage == "booting" else "running", "address": machine.address,
        "resources": dict(request.resources), "tags": {**request.tags, "ray-node-status": status}, "zone": "a",
        "launch_digest": launch_digest(machine.type, {}), "launched_at": time.time() - 60,
    }  # fmt: skip


def _pages(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, len(rows), PAGE):
        yield rows[first : first + PAGE]


# ---- Ray's head
def _state(workers: list[Machine], nodes: int, dice: random.Random) -> bytes:
    joined = [worker for worker in workers if worker.stage not in ("booting", "waiting")]
    state = {
        "cluster_session_name": SESSION,
        "node_states": [_head_node(), *map(_node, joined)],
        "pending_resource_requests": [
            {"request": {"resources_bundle": shape}, "count": nodes * PER_NODE // len(SHAPES)} for shape in SHAPES
        ],
        "pending_gang_resource_requests": [_gang(number, dice) for number in range(min(20, nodes))],
    }
    return MESSAGES["GetClusterResourceStateReply"](cluster_resource_state=state).SerializeToString()


def _head_node() -> dict[str, Any]:
    own = {"node:__internal_head__": 1.0, "node:10.255.0.1": 1.0, "memory": 8.0 * GIB, "object_store_memory": 2.0 * GIB}
    return {
        "node_id": bytes(28), "instance_id": "i-head", "ray_node_type_name": "head", "status": IDLE,
        "total_resources": own, "available_resources": own, "node_ip_address": "10.255.0.1", "idle_duration_ms": 10**6,
    }  # fmt: skip


def _node(machine: Machine) -> dict[str, Any]:
    total = {**RESOURCES[machine.type], f"node:{machine.address}": 1.0, "object_store_memory": 2.0 * GIB}
    identity = machine.number.to_bytes(28, "big")
    states = {"idle": IDLE, "draining": DRAINING}
    return {
        "node_id": identity, "instance_id": machine.id, "ray_node_type_name": machine.type,
        "status": states.get(machine.stage, RUNNING),
        "total_resources": total, "available_resources": _part(total, machine.free), "node_ip_address": machine.address,
        "idle_duration_ms": 2000 * IDLE_TIMEOUT_S if machine.stage == "idle" else 0,
        "labels": {"ray.io/node-group": machine.type, "ray.io/node-id": identity.hex(), "ray.io/availability-zone": "a"},
    }  # fmt: skip


def _part(total: Amounts, share: float) -> Amounts:
    """So much of each is free; what nothing of is free of is left out, as Ray does."""
    return {name: amount * share for name, amount in total.items() if share}


def _gang(number: int, dice: random.Random) -> dict[str, Any]:
    bundles = [{"resources_bundle": dice.choice(SHAPES)}] * dice.choice((2, 4, 8))
    strategy = STRATEGIES[number % len(STRATEGIES)]
    return {"details": f"{number:036x}:{strategy}|PENDING", "bundle_selectors": [{"resource_requests": bundles}]}


# ---- the journal
def _journal(config: ClusterConfig, workers: list[Machine], nodes: int) -> Journal:
    """Launches that were asked for: of every other it is not known what came of it. A drain of each that drains."""
    now = time.time()
    asked = [_asked(config, nodes + first, now) for first in range(0, max(1, nodes // 100), BATCH)]
    asked = [replace(one, retry_at=now + 600.0) if at % 2 else _answered(one) for at, one in enumerate(asked)]
    drains = {
        worker.id: Drain(now, "idle", "idle for 600 s", accepted=True) for worker in workers if worker.stage == "draining"
    }
    troubles = {worker.id: Trouble(1, now, "exit code 1", now) for worker in workers if worker.stage == "waiting"}
    return Journal(
        ray=SESSION, sequences=dict.fromkeys(RESOURCES, nodes + nodes // 10), workers=len(workers),
        asked={one.request.slots[0].token: one for one in asked}, draining=drains, troubles=troubles,
    )  # fmt: skip


def _asked(config: ClusterConfig, first: int, now: float) -> Asked:
    slots = tuple(slot_of(CLUSTER, CLUSTER_ID, "cpu16", number) for number in range(first, first + BATCH))
    return Asked(request_for(config, "cpu16", Kind.WORKER, slots), now)


def _answered(asked: Asked) -> Asked:
    return replace(asked, ids={slot.token: f"i-{slot.token}" for slot in asked.request.slots})


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
