# SPDX-License-Identifier: Apache-2.0
"""The simulated world: its misfortunes happen as they are written down, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.errors import Category, ProviderError, StateRefused
from rayctl.providers.base import Kind, LaunchRequest, NodeState, Slot
from rayctl.providers.simulated import Fault, Harm, Physics, SimulatedProvider, World, opened
from tests.cpu import cpu_s

NUMBERS = st.lists(st.integers(min_value=0, max_value=12), min_size=1, max_size=6, unique=True)


def demo(world: World) -> SimulatedProvider:
    provider = SimulatedProvider("demo", {}, world=world)
    provider.bootstrap("0b0e1c9a-5d0e-4a55-9d2f-6f2d6f0a1b2c")
    return provider


def workers(*numbers: int, type: str = "worker") -> LaunchRequest:
    slots = tuple(Slot(f"demo-{type}-{n}", f"token-{type}-{n}") for n in numbers)
    return LaunchRequest(Kind.WORKER, type, slots, node_config={"market": "spot"})


def states(provider: SimulatedProvider) -> list[NodeState]:
    return [node.state for node in provider.list_nodes()]


def test_a_machine_boots_runs_stops_and_is_gone_as_the_clock_is_turned() -> None:
    world = World(physics=Physics(boot_s=(30, 30), stop_s=10))
    provider = demo(world)
    (node,) = provider.launch(workers(0)).nodes
    assert node.state is NodeState.PENDING
    world.advance(29)
    assert states(provider) == [NodeState.PENDING]
    world.advance(1)
    assert states(provider) == [NodeState.RUNNING]
    provider.terminate([node.id])
    assert states(provider) == [NodeState.STOPPING]
    world.advance(10)
    assert states(provider) == []


def test_ending_twice_does_not_make_it_last_longer() -> None:
    world = World(physics=Physics(stop_s=10))
    provider = demo(world)
    (node,) = provider.launch(workers(0)).nodes
    provider.terminate([node.id])
    world.advance(9)
    provider.terminate([node.id])
    world.advance(1)
    assert states(provider) == []


@given(st.integers(), st.floats(min_value=0.1, max_value=1000))
def test_a_listing_lags_by_no_more_than_is_said(seed: int, lag: float) -> None:
    world = World(physics=Physics(listing_lag_s=lag), seed=seed)
    provider = demo(world)
    assert provider.listing_lag_s == lag
    world.advance(10 * lag)
    (node,) = provider.launch(workers(0)).nodes
    world.advance(lag)
    assert [seen.id for seen in provider.list_nodes()] == [node.id]
    provider.terminate([node.id])
    world.advance(lag)
    assert provider.list_nodes() == []


def test_within_the_lag_a_listing_may_tell_the_old_story_or_the_new() -> None:
    world = World(physics=Physics(listing_lag_s=100), now=1000)
    provider = demo(world)
    provider.launch(workers(0))
    world.advance(50)
    assert {len(provider.list_nodes()) for _ in range(50)} == {0, 1}


def test_the_same_seed_brings_the_same_fate() -> None:
    def lives(seed: int) -> list[float]:
        world = World(physics=Physics(boot_s=(10, 100)), seed=seed)
        demo(world).launch(workers(*range(5)))
        return [machine.running_at for machine in world.machines.values()]

    assert lives(1) == lives(1) != lives(2)


def test_a_type_without_room_fills_in_part() -> None:
    world = World(physics=Physics(capacity={"worker": 2}))
    provider = demo(world)
    result = provider.launch(workers(0, 1, 2, 3))
    assert (len(result.nodes), result.shortfall) == (2, 2)
    assert result.error is not None
    assert result.error.category is Category.CAPACITY
    assert provider.launch(workers(0, type="unlimited")).shortfall == 0
    provider.terminate([result.nodes[0].id])
    assert provider.launch(workers(2)).shortfall == 0


def test_a_lost_reply_hides_a_launch_that_happened() -> None:
    world = World()
    provider = demo(world)
    world.fate(Fault("launch", Harm.LOSE_REPLY))
    with pytest.raises(ProviderError) as lost:
        provider.launch(workers(0, 1))
    assert lost.value.category is Category.TRANSIENT
    assert world.census("demo") == {"worker": 2}
    assert len(provider.launch(workers(0, 1)).nodes) == 2
    assert world.census("demo") == {"worker": 2}


@pytest.mark.parametrize("category", [Category.CAPACITY, Category.QUOTA])
def test_what_is_not_to_be_had_is_a_shortfall(category: Category) -> None:
    world = World()
    provider = demo(world)
    world.fate(Fault("launch", category=category))
    result = provider.launch(workers(0, 1))
    assert (result.nodes, result.shortfall) == ((), 2)
    assert result.error is not None
    assert result.error.category is category


@pytest.mark.parametrize("category", [Category.AUTH, Category.THROTTLED, Category.INVALID, Category.TRANSIENT])
def test_a_refused_call_does_nothing_once(category: Category) -> None:
    world = World()
    provider = demo(world)
    world.fate(Fault("launch", category=category, message="no"))
    with pytest.raises(ProviderError, match="launch: no") as refused:
        provider.launch(workers(0))
    assert refused.value.category is category
    assert world.census("demo") == {}
    assert provider.launch(workers(0)).shortfall == 0


def test_faults_wait_for_their_own_call_and_come_in_order() -> None:
    world = World()
    provider = demo(world)
    world.fate(Fault("launch", category=Category.AUTH), Fault("list_nodes"), Fault("launch", category=Category.INVALID))
    assert provider.cluster_id()
    met = []
    for _ in range(2):
        with pytest.raises(ProviderError) as refused:
            provider.launch(workers(0))
        met.append(refused.value.category)
    assert met == [Category.AUTH, Category.INVALID]
    assert [fault.call for fault in world.faults] == ["list_nodes"]


def test_a_lying_listing_is_empty_and_the_next_is_true() -> None:
    world = World()
    provider = demo(world)
    provider.launch(workers(0))
    world.fate(Fault("list_nodes", Harm.EMPTY))
    assert [len(provider.list_nodes()) for _ in range(2)] == [0, 1]


def test_a_hanging_call_costs_its_deadline_on_the_worlds_clock() -> None:
    world = World()
    provider = demo(world)
    world.fate(Fault("launch", Harm.HANG))
    with pytest.raises(ProviderError, match="within 7 s"):
        provider.launch(workers(0), deadline_s=7)
    assert (world.now, world.census("demo")) == (7, {})


def test_an_interrupted_machine_is_gone_when_its_notice_is_over() -> None:
    world = World(physics=Physics(prices={"worker": 0.25}))
    provider = demo(world)
    (node,) = provider.launch(workers(0)).nodes
    assert (node.market, node.price) == ("spot", 0.25)
    world.interrupt(node.id, notice_s=120)
    world.advance(119)
    assert states(provider) == [NodeState.RUNNING]
    world.advance(1)
    assert states(provider) == []


def test_a_token_of_a_machine_that_is_gone_gives_it_back_as_gone() -> None:
    provider = demo(World())
    (node,) = provider.launch(workers(0)).nodes
    provider.terminate([node.id])
    result = provider.launch(workers(0))
    assert [(again.id, again.state) for again in result.nodes] == [(node.id, NodeState.TERMINATED)]


@given(st.lists(st.tuples(st.sampled_from(["launch", "lose", "end"]), NUMBERS), max_size=12))
def test_there_is_never_more_than_one_machine_per_token(story: list[tuple[str, list[int]]]) -> None:
    world = World()
    provider = demo(world)
    tokens, ended = set(), set()
    for deed, numbers in story:
        if deed == "end":
            doomed = [m for m in world.machines.values() if int(m.name.rpartition("-")[2]) in numbers]
            provider.terminate([machine.id for machine in doomed])
            ended |= {machine.token for machine in doomed}
            continue
        tokens |= {f"token-worker-{n}" for n in numbers}
        if deed == "lose":
            world.fate(Fault("launch", Harm.LOSE_REPLY))
            with pytest.raises(ProviderError):
                provider.launch(workers(*numbers))
        else:
            provider.launch(workers(*numbers))
    assert len(world.machines) == len(tokens)
    assert {node.launch_token for node in provider.list_nodes()} == tokens - ended


def test_simulated_nodes_take_no_commands() -> None:
    provider = demo(World())
    with pytest.raises(ProviderError, match="simulated nodes take no commands") as refused:
        provider.connection(provider.launch(workers(0)).nodes[0])
    assert refused.value.category is Category.INVALID


def test_a_world_in_a_file_outlives_its_provider(tmp_path: Path) -> None:
    settings = {"world": str(tmp_path / "world.json"), "boot_s": (5, 5), "capacity": {"worker": 2}}
    first = SimulatedProvider("demo", settings)
    first.bootstrap("some-id")
    launched = first.launch(workers(0, 1, 2))
    second = SimulatedProvider("demo", {"world": settings["world"]})
    assert second.cluster_id() == "some-id"
    assert second.list_nodes() == list(launched.nodes)
    assert second.world.physics == Physics(boot_s=(5, 5), capacity={"worker": 2})


def test_faults_in_a_file_happen_once_for_all(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    settings = {"world": str(path)}
    SimulatedProvider("demo", settings).bootstrap("some-id")
    with opened(path) as world:
        world.fate(Fault("launch", category=Category.AUTH))
    with pytest.raises(ProviderError):
        SimulatedProvider("demo", settings).launch(workers(0))
    assert SimulatedProvider("demo", settings).launch(workers(0)).shortfall == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 2, "kind": "simulated-world", "world": {}}'])
def test_a_file_that_holds_no_world_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "world.json"
    path.write_text(content)
    with pytest.raises(StateRefused, match=r"world\.json"):
        SimulatedProvider("demo", {"world": str(path)})
    assert path.read_text() == content


def test_machines_may_be_there_from_the_beginning() -> None:
    provider = SimulatedProvider("demo", {"nodes": {"head": 1, "gpu": 2}})
    nodes = provider.list_nodes()
    assert [(node.name, node.kind) for node in nodes] == [
        ("demo-head-0", Kind.HEAD),
        ("demo-gpu-0", Kind.WORKER),
        ("demo-gpu-1", Kind.WORKER),
    ]
    assert {node.state for node in nodes} == {NodeState.RUNNING}
    assert provider.cluster_id() == SimulatedProvider("demo", {"nodes": {"head": 1}}).cluster_id()


def test_ten_thousand_machines_are_listed_in_well_under_a_second() -> None:
    provider = SimulatedProvider("demo", {"nodes": {"head": 1, "worker": 10_000}})
    assert cpu_s(provider.list_nodes) < 0.7
    nodes = provider.list_nodes()
    assert len({node.id for node in nodes}) == len({node.addresses for node in nodes}) == 10_001
