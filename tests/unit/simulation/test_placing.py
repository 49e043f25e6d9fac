# SPDX-License-Identifier: Apache-2.0
"""On which node work goes, and how a cluster's queue moves."""

from __future__ import annotations

import pytest
from stage import CPU, GPU, group, tasks

from rayctl.gcs.view import Demand, LabelRule
from rayctl.simulation.events import Submit
from rayctl.simulation.placing import Member, Shape, seats
from rayctl.simulation.report import Waits
from rayctl.simulation.workload import Workload


def member(number: int, type: str = "cpu", labels: dict[str, str] | None = None, **total: float) -> Member:
    return Member(f"{type}-{number}", type, number, total or {"CPU": 4.0}, labels or {}, idle_since=0.0)


def on_ssd(negated: bool = False) -> tuple[LabelRule, ...]:
    return (LabelRule("disk", ("ssd",), negated),)


def test_the_fullest_node_is_taken_and_gpus_are_kept_for_those_who_need_them() -> None:
    gpu, one, two = member(0, "gpu", CPU=8.0, GPU=1.0), member(1), member(2)
    two.take({"CPU": 10_000}, 1)
    gpu.take({"CPU": 10_000}, 7)
    work = Shape(Demand(CPU, 1))
    assert work.best([gpu, one, two]) is two
    two.take({"CPU": 10_000}, 3)
    assert work.best([gpu, one, two]) is one
    one.draining = True
    assert work.best([gpu, one, two]) is gpu
    assert Shape(Demand(GPU, 1)).best([one, two]) is None


def test_labels_are_taken_in_the_order_of_preference() -> None:
    plain, fast = member(1), member(2, "fast", {"disk": "ssd"})
    assert Shape(Demand(CPU, 1, (on_ssd(),))).best([plain]) is None
    assert Shape(Demand(CPU, 1, (on_ssd(), ()))).best([plain, fast]) is fast
    assert Shape(Demand(CPU, 1, (on_ssd(), ()))).best([plain]) is plain
    assert Shape(Demand(CPU, 1, (on_ssd(negated=True),))).best([plain, fast]) is plain
    by_type = (LabelRule("ray.io/node-group", ("fast",)),)
    assert Shape(Demand(CPU, 1, (by_type,))).best([plain, fast]) is fast


@pytest.mark.parametrize(
    ("strategy", "count", "places"),
    [
        ("PACK", 4, ["cpu-1"] * 4),
        ("PACK", 6, ["cpu-1"] * 4 + ["cpu-2"] * 2),
        ("SPREAD", 4, ["cpu-1", "cpu-2", "cpu-3", "cpu-1"]),
        ("STRICT_SPREAD", 3, ["cpu-1", "cpu-2", "cpu-3"]),
        ("STRICT_SPREAD", 4, None),
        ("PACK", 13, None),
    ],
)
def test_bundles_of_a_group(strategy: str, count: int, places: list[str] | None) -> None:
    members = [member(1), member(2), member(3)]
    found = seats(strategy, [(Shape(Demand(CPU, 1)), count)], members)
    assert (found and [chosen.name for chosen, _ in found]) == places
    free = sum(one.free["CPU"] for one in members)
    assert free == (12 - (count if places else 0)) * 10_000, "of a group without a place nothing is taken"


def test_who_came_first_starts_first_and_what_fits_nowhere_is_passed() -> None:
    load = Workload(seed=0)
    for event in (tasks(3), tasks(1, shape={"CPU": 9.0}), tasks(2, shape={"CPU": 2.0}), tasks(3)):
        load.meet(event)
    load.join(member(1))
    load.settle(5.0)
    assert {work.title: (work.running, work.waiting) for work in load.works.values()} == {
        "{CPU: 1}": (4, 2), "{CPU: 9}": (0, 1), "{CPU: 2}": (0, 2),
    }  # fmt: skip
    load.finish(105.0)
    load.settle(105.0)
    assert {work.title: work.running for work in load.works.values()} == {"{CPU: 1}": 0, "{CPU: 9}": 0, "{CPU: 2}": 2}


def test_how_long_tasks_run_depends_on_nothing_but_seed_and_trace() -> None:
    def ends(nodes: int, seed: int = 0) -> list[float]:
        load = Workload(seed)
        for number in range(nodes):
            load.join(member(number))
        for event in (tasks(4, runs_s=(10, 20)), tasks(4, runs_s=(10, 20), shape={"CPU": 0.5})):
            load.meet(event)
        load.settle(0.0)
        found = []
        while load.running or load.waiting:
            now = load.next_end()
            found.append(now)
            load.finish(now)
            load.settle(now)
        return sorted(found)

    assert ends(2) == ends(3)
    assert ends(2) != ends(2, seed=1)


def test_a_million_tasks_are_a_few_numbers() -> None:
    load = Workload(seed=0)
    load.meet(tasks(1_000_000))
    load.meet(group("PACK", 2))
    load.join(member(1))
    load.settle(0.0)
    (work, _) = load.works.values()
    assert (work.running, work.waiting, len(work.queue)) == (4, 999_996, 1)
    assert load.pending() == (Demand(CPU, 999_996),)
    assert [gang.strategy for gang in load.gangs()] == ["PACK"]


def test_equal_work_is_one_kind_however_its_shape_is_written() -> None:
    load = Workload(seed=0)
    for shape in ({"CPU": 1.0, "GPU": 1.0}, {"GPU": 1.0, "CPU": 1.0}):
        load.meet(Submit(0, Demand(shape, 2), (1, 1)))
    assert [demand.count for demand in load.pending()] == [4]


def test_waits_are_told_by_how_many_they_concern() -> None:
    assert Waits.of({}) == Waits()
    assert Waits.of({0.0: 50, 10.0: 45, 99.0: 5}) == Waits(100, 0.0, 10.0, 99.0)
