# SPDX-License-Identifier: Apache-2.0
"""What is called impossible is impossible: tried by putting every bundle onto every machine that there may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

from hypothesis import given, settings
from hypothesis import strategies as st

from rayctl.gcs.view import Demand, Gang
from rayctl.planner import Snapshot
from rayctl.planner.model import NodeType
from tests.unit.planner.checked import plan
from tests.unit.planner.tables import HEAD, labelled, policy

AMOUNTS = st.sampled_from((1.0, 2.0, 4.0, 8.0))
TYPES = st.builds(
    lambda name, cpus, memory, most, zone: NodeType(
        name, {"CPU": cpus, "memory": memory}, most, labels={"zone": zone} if zone else {}, price=cpus
    ),
    st.sampled_from("ab"), AMOUNTS, AMOUNTS, st.integers(0, 2), st.sampled_from(("", "x")),
)  # fmt: skip
BUNDLES = st.builds(
    lambda cpus, memory, zone: Demand({"CPU": cpus, "memory": memory}, 1, (labelled(zone="x"),) if zone else ()),
    AMOUNTS, AMOUNTS, st.booleans(),
)  # fmt: skip
STRATEGIES = st.sampled_from(("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"))


def clusters(types: Sequence[NodeType], most: int) -> Iterator[tuple[NodeType, ...]]:
    """Every set of machines that there may be."""
    for machines in combinations_with_replacement(types, most):
        if all(machines.count(node_type) <= node_type.max_workers for node_type in types):
            yield machines


def goes(bundles: Sequence[Demand], machines: Sequence[NodeType], strategy: str) -> bool:
    """Whether the bundles can be put onto the machines in any way."""

    def put(rest: Sequence[Demand], free: tuple[tuple[float, float, bool], ...], used: frozenset[int]) -> bool:
        if not rest:
            return True
        bundle, *others = rest
        cpus, memory = bundle.shape["CPU"], bundle.shape["memory"]
        for n, (c, m, zone) in enumerate(free):
            taken = (strategy == "STRICT_SPREAD" and n in used) or (strategy == "STRICT_PACK" and used and n not in used)
            if not taken and c >= cpus and m >= memory and (zone or not bundle.selectors):
                after = (*free[:n], (c - cpus, m - memory, zone), *free[n + 1 :])
                if put(others, after, used | {n}):
                    return True
        return False

    return put(bundles, tuple((t.resources["CPU"], t.resources["memory"], bool(t.labels)) for t in machines), frozenset())


@settings(max_examples=400)
@given(
    st.lists(TYPES, min_size=1, max_size=2, unique_by=lambda node_type: node_type.name),
    st.lists(BUNDLES, min_size=1, max_size=4),
    STRATEGIES,
    st.integers(1, 3),
)
def test_a_gang_that_can_never_be_placed_cannot(types: list[NodeType], bundles: list[Demand], strategy: str, most: int) -> None:
    snapshot = Snapshot(policy(*types, max_workers=most), (HEAD,), gangs=(Gang("g", strategy, tuple(bundles)),))
    found = plan(snapshot)
    possible = any(goes(bundles, machines, strategy) for n in range(1, most + 1) for machines in clusters(types, n))
    assert not (found.gangs[0].never and possible)
    assert not (found.places[0] and not possible)
