# SPDX-License-Identifier: Apache-2.0
"""Which blocks of ports are on offer, and when one counts as free."""

from __future__ import annotations

import socket
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.providers.embedded import ports

PORTS = st.integers(min_value=1, max_value=65535)
EPHEMERAL = st.tuples(PORTS, PORTS).map(lambda pair: (min(pair), max(pair)))


@given(EPHEMERAL, st.integers(min_value=0, max_value=2**32))
def test_blocks_are_apart_within_bounds_and_outside_the_ephemeral_range(ephemeral: tuple[int, int], uid: int) -> None:
    low, high = ephemeral
    blocks = ports.blocks(ephemeral, uid=uid)
    for first in blocks:
        last = first + ports.SIZE - 1
        assert ports.LOWEST <= first <= last <= ports.HIGHEST
        assert last < low or first > high
    offered = sorted(blocks)
    assert all(b - a >= ports.SIZE for a, b in pairwise(offered))


def test_the_usual_range_leaves_88_blocks() -> None:
    assert len(ports.blocks((32768, 60999))) == 88


def test_users_begin_at_different_blocks_and_are_offered_the_same() -> None:
    first, second = ports.blocks((32768, 60999), uid=1000), ports.blocks((32768, 60999), uid=1001)
    assert first[0] != second[0]
    assert sorted(first) == sorted(second)


@given(st.sampled_from(ports.blocks((32768, 60999))), st.booleans())
def test_flags_stay_in_the_block_and_out_of_the_workers_range(first: int, head: bool) -> None:
    numbers = {flag: int(value) for flag, value in ports.flags(first, head=head).items()}
    low, high = numbers.pop("min-worker-port"), numbers.pop("max-worker-port")
    assert len(set(numbers.values())) == len(numbers)
    assert all(first <= number < low for number in numbers.values())
    assert low <= high < first + ports.SIZE


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.40", "0.0.0.0"])
def test_a_listener_on_any_address_makes_a_block_taken(free_blocks: list[int], address: str) -> None:
    first = free_blocks[0]
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, first + ports.SIZE - 1))
        listener.listen()
        assert not ports.is_free(first)
        assert ports.choose([first], taken=()) is None
    assert ports.is_free(first)


def test_a_block_on_record_is_not_chosen_even_when_nothing_listens(free_blocks: list[int]) -> None:
    first, second, *_ = free_blocks
    assert ports.choose([first, second], taken={first}) == second
    assert ports.choose([first, second], taken={first, second}) is None


def test_what_a_head_takes_from_its_environment_lies_in_its_own_block_and_is_nobody_elses() -> None:
    given = {int(value) for name, value in ports.flags(10240, head=True).items() if "worker" not in name}
    variables = {int(value) for value in ports.variables(10240).values()}
    assert len(variables) == 2
    assert not variables & given
    assert all(10240 <= port < 10240 + ports.FOR_WORKERS for port in variables)
