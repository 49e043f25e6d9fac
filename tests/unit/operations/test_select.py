# SPDX-License-Identifier: Apache-2.0
"""`--limit` names nodes as Ansible's own `--limit` does."""

from __future__ import annotations

import pytest

from rayctl.errors import UsageError
from rayctl.operations.select import select
from rayctl.providers.base import Kind, Node, NodeState


def node(name: str) -> Node:
    kind = Kind.HEAD if "head" in name else Kind.WORKER
    return Node(id=name, name=name, kind=kind, type=name.split("-")[1], state=NodeState.RUNNING, launch_token=name)


NODES = [node(name) for name in ("c-head-1", "c-gpu-1", "c-gpu-2", "c-cpu-1")]


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        (None, "c-head-1 c-gpu-1 c-gpu-2 c-cpu-1"),
        ("all", "c-head-1 c-gpu-1 c-gpu-2 c-cpu-1"),
        ("c-gpu-2", "c-gpu-2"),
        ("c-gpu-*", "c-gpu-1 c-gpu-2"),
        ("ray_head", "c-head-1"),
        ("ray_worker", "c-gpu-1 c-gpu-2 c-cpu-1"),
        ("ray_type_gpu", "c-gpu-1 c-gpu-2"),
        ("c-head-1,c-cpu-1", "c-head-1 c-cpu-1"),
        ("c-cpu-1:c-gpu-1", "c-gpu-1 c-cpu-1"),
        ("ray_worker:!c-gpu-1", "c-gpu-2 c-cpu-1"),
        ("!ray_head", "c-gpu-1 c-gpu-2 c-cpu-1"),
        ("ray_worker:&*-1", "c-gpu-1 c-cpu-1"),
    ],
)
def test_terms(pattern: str | None, chosen: str) -> None:
    assert [n.name for n in select(NODES, pattern)] == chosen.split()


@pytest.mark.parametrize("pattern", ["", "c-gpu", "nobody", "all:!all", ","])
def test_a_pattern_that_names_nobody_is_an_error_that_lists_the_nodes(pattern: str) -> None:
    with pytest.raises(UsageError, match="names no node of this cluster") as caught:
        select(NODES, pattern)
    assert "c-gpu-1" in caught.value.message


def test_before_the_first_up_there_is_nothing_to_name() -> None:
    with pytest.raises(UsageError, match="none yet"):
        select([], "all")
