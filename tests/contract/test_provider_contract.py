# SPDX-License-Identifier: Apache-2.0
"""What every provider must do, whoever wrote it. A third party's joins by a `System` of its own in `conftest.py`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError

import pytest
from provider_systems import System

from rayctl.errors import Category, ProviderError, RayctlError
from rayctl.providers.base import Connection, Kind, LaunchRequest, Node, NodeState, Provider, Slot, launch_token

# not the same in each run: providers that end processes by the cluster's mark must not meet other tests' processes
CLUSTER_ID, OTHER_ID = str(uuid.uuid4()), str(uuid.uuid4())


@pytest.fixture
def provider(system: System) -> Provider:
    """A cluster that was made and has no nodes yet."""
    provider = system.provider()
    assert provider.bootstrap(CLUSTER_ID) == CLUSTER_ID
    return provider


def workers(count: int, *, first: int = 0, tags: dict[str, str] | None = None) -> LaunchRequest:
    numbers = range(first, first + count)
    slots = tuple(Slot(f"demo-worker-{n}", launch_token(CLUSTER_ID, "worker", n)) for n in numbers)
    return LaunchRequest(
        Kind.WORKER,
        "worker",
        slots,
        launch_digest="v1:abc",
        resources={"CPU": 2},
        labels={"tier": "gold"},
        tags=tags or {"made-by": "test"},
    )


def names(nodes: Sequence[Node]) -> list[str]:
    return sorted(node.name for node in nodes)


def listed(system: System, provider: Provider) -> list[Node]:
    """What a listing says once its lag has passed."""
    system.settle()
    return provider.list_nodes()


def test_a_cluster_that_was_never_made_has_no_identity_and_no_nodes(system: System) -> None:
    assert system.provider().cluster_id() is None
    assert system.provider().list_nodes() == []


def test_the_second_identity_loses(system: System, provider: Provider) -> None:
    second = system.provider()
    assert second.bootstrap(OTHER_ID) == CLUSTER_ID
    assert second.cluster_id() == provider.cluster_id() == CLUSTER_ID


def test_of_racing_identities_one_wins_for_all(system: System) -> None:
    ids = [str(uuid.uuid4()) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(lambda id: system.provider().bootstrap(id), ids))
    assert len(answers) == 1
    assert answers == {system.provider().cluster_id()}


def test_clusters_do_not_see_each_other(system: System, provider: Provider) -> None:
    neighbour = system.provider("other")
    assert neighbour.bootstrap(OTHER_ID) == OTHER_ID
    provider.launch(workers(1))
    assert listed(system, neighbour) == []


def test_launch_brings_a_node_per_slot_as_asked_for(system: System, provider: Provider) -> None:
    request = workers(3)
    result = provider.launch(request)
    assert (result.shortfall, result.error) == (0, None)
    for told in (result.nodes, listed(system, provider)):
        assert {node.name: node.launch_token for node in told} == {slot.name: slot.token for slot in request.slots}
        assert len({node.id for node in told}) == 3
        for node in told:
            assert (node.kind, node.type, node.launch_digest) == (Kind.WORKER, "worker", "v1:abc")
            assert (dict(node.resources), dict(node.labels)) == ({"CPU": 2}, {"tier": "gold"})
            assert node.tags["made-by"] == "test"
            assert isinstance(node.state, NodeState)
            assert node.state.alive


def test_the_same_tokens_give_the_same_machines(system: System, provider: Provider) -> None:
    first = provider.launch(workers(2))
    again = system.provider().launch(workers(2))
    assert [node.id for node in again.nodes] == [node.id for node in first.nodes]
    assert names(listed(system, provider)) == ["demo-worker-0", "demo-worker-1"]


def test_racing_launches_of_the_same_tokens_make_one_machine_each(system: System, provider: Provider) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: system.provider().launch(workers(3)), range(4)))
    assert len({tuple(node.id for node in result.nodes) for result in results}) == 1
    assert len(listed(system, provider)) == 3


def test_a_lost_reply_is_found_by_its_token(system: System, provider: Provider) -> None:
    request = workers(2)
    system.launch_without_reply(request)
    assert {node.launch_token for node in listed(system, provider)} == {slot.token for slot in request.slots}
    result = provider.launch(request)
    assert (len(result.nodes), result.shortfall) == (2, 0)
    assert len(listed(system, provider)) == 2


def test_only_unknown_tokens_bring_new_machines(system: System, provider: Provider) -> None:
    before = {node.id for node in provider.launch(workers(2)).nodes}
    after = {node.id for node in provider.launch(workers(4)).nodes}
    assert before < after
    assert len(after) == 4
    assert len(listed(system, provider)) == 4


def test_a_taken_name_is_a_shortfall_and_not_a_second_machine(system: System, provider: Provider) -> None:
    provider.launch(workers(1))
    request = LaunchRequest(Kind.WORKER, "worker", (Slot("demo-worker-0", "another-token"), *workers(1, first=1).slots))
    result = provider.launch(request)
    assert (names(result.nodes), result.shortfall) == (["demo-worker-1"], 1)
    assert result.error is not None
    assert result.error.category is Category.INVALID
    assert names(listed(system, provider)) == ["demo-worker-0", "demo-worker-1"]


def test_nothing_is_launched_before_the_cluster_is_made(system: System) -> None:
    with pytest.raises(ProviderError) as refused:
        system.provider().launch(workers(1))
    assert refused.value.category is Category.INVALID
    assert listed(system, system.provider()) == []


def test_names_and_ids_stay_for_life(system: System, provider: Provider) -> None:
    born = {node.id: node.name for node in provider.launch(workers(3)).nodes}
    doomed, *_ = born
    provider.set_tags(list(born), {"status": "up-to-date"})
    provider.terminate([doomed])
    provider.launch(workers(1, first=3))
    alive = {node.id: node.name for node in listed(system, provider)}
    assert doomed not in alive
    assert alive.items() >= {id: name for id, name in born.items() if id != doomed}.items()


def test_terminate_answers_for_each_and_spares_the_others(system: System, provider: Provider) -> None:
    first, second, third = (node.id for node in provider.launch(workers(3)).nodes)
    assert provider.terminate([first, "never-heard-of", third]) == {first: None, "never-heard-of": None, third: None}
    assert [node.id for node in listed(system, provider)] == [second]


def test_terminate_may_be_repeated(system: System, provider: Provider) -> None:
    id = provider.launch(workers(1)).nodes[0].id
    assert [provider.terminate([id]), system.provider().terminate([id])] == [{id: None}, {id: None}]
    assert listed(system, provider) == []
    assert provider.terminate([id]) == {id: None}
    assert provider.terminate([]) == {}


def test_a_terminated_node_is_told_as_alive_by_nobody_who_just_ended_it(system: System, provider: Provider) -> None:
    id = provider.launch(workers(1)).nodes[0].id
    system.settle()
    provider.terminate([id])
    assert not [node for node in listed(system, provider) if node.id == id and node.state.alive]


def test_set_tags_adds_overwrites_and_answers_for_each(system: System, provider: Provider) -> None:
    first, second = (node.id for node in provider.launch(workers(2, tags={"a": "1", "b": "1"})).nodes)
    results = provider.set_tags([first, "never-heard-of"], {"b": "2", "c": "2"})
    assert results[first] is None
    unknown = results["never-heard-of"]
    assert unknown is not None
    assert unknown.category is Category.INVALID
    tags = {node.id: dict(node.tags) for node in listed(system, provider)}
    assert tags == {first: {"a": "1", "b": "2", "c": "2"}, second: {"a": "1", "b": "1"}}
    assert provider.set_tags([first], {"b": "2", "c": "2"}) == {first: None}


def test_a_listing_without_lag_tells_the_truth_at_once(system: System, provider: Provider) -> None:
    if provider.listing_lag_s == 0:
        id = provider.launch(workers(1)).nodes[0].id
        assert [node.id for node in provider.list_nodes()] == [id]
        provider.terminate([id])
        assert provider.list_nodes() == []
    else:
        seen = set()
        provider.launch(workers(1))
        for _ in range(20):
            seen.add(len(provider.list_nodes()))
        system.settle()
        assert seen <= {0, 1}
        assert {len(provider.list_nodes()) for _ in range(20)} == {1}


def test_a_listing_is_whole_or_an_error(system: System, provider: Provider) -> None:
    provider.launch(workers(3))
    system.settle()
    system.spoil_listing()
    with pytest.raises(RayctlError):
        provider.list_nodes()


def test_teardown_is_refused_while_nodes_are_left(system: System, provider: Provider) -> None:
    node = provider.launch(workers(1)).nodes[0]
    with pytest.raises(ProviderError) as refused:
        provider.teardown(purge=True)
    assert refused.value.category is Category.INVALID
    assert provider.cluster_id() == CLUSTER_ID
    provider.terminate([node.id])
    system.settle()
    provider.teardown()
    assert provider.cluster_id() is None


def test_a_name_may_be_used_again_after_teardown(system: System, provider: Provider) -> None:
    provider.teardown(purge=True)
    provider.teardown()
    assert provider.bootstrap(OTHER_ID) == OTHER_ID
    assert provider.list_nodes() == []


@pytest.mark.parametrize("call", ["bootstrap", "launch", "terminate", "set_tags", "teardown"])
def test_a_call_ends_by_its_deadline_and_may_be_repeated(system: System, provider: Provider, call: str) -> None:
    calls: dict[str, Callable[[float], object]] = {
        "bootstrap": lambda limit: provider.bootstrap(OTHER_ID, deadline_s=limit),
        "launch": lambda limit: provider.launch(workers(1), deadline_s=limit),
        "terminate": lambda limit: provider.terminate(["never-heard-of"], deadline_s=limit),
        "set_tags": lambda limit: provider.set_tags(["never-heard-of"], {"a": "1"}, deadline_s=limit),
        "teardown": lambda limit: provider.teardown(deadline_s=limit),
    }
    began = time.monotonic()
    with system.obstructed(call), pytest.raises(ProviderError) as late:
        calls[call](0.1)
    assert late.value.category is Category.TRANSIENT
    assert time.monotonic() - began < 5
    calls[call](30)
    assert len(listed(system, provider)) == (1 if call == "launch" else 0)


def test_nodes_can_not_be_changed_by_who_reads_them(provider: Provider) -> None:
    node = provider.launch(workers(1)).nodes[0]
    with pytest.raises(FrozenInstanceError):
        node.name = "another"  # type: ignore[misc]


def test_a_node_says_how_it_is_reached_or_that_it_takes_no_commands(system: System, provider: Provider) -> None:
    node = provider.launch(workers(1)).nodes[0]
    try:
        connection = provider.connection(node)
    except ProviderError as refused:
        assert refused.category is Category.INVALID
    else:
        assert isinstance(connection, Connection)
        assert connection.kind
        assert connection.state_dir
        assert connection == system.provider().connection(listed(system, provider)[0])


def test_start_flags_bear_no_dashes(provider: Provider) -> None:
    node = provider.launch(workers(1)).nodes[0]
    assert not [flag for flag in provider.start_flags(node) if flag.startswith("-")]
