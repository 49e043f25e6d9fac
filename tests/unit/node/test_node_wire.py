# SPDX-License-Identifier: Apache-2.0
"""Lines of the protocol: any text arrives as it was sent, and nothing that a shell prints is taken for one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rayctl.node import wire

# names of files that are no UTF-8 come as lone surrogates
TEXT = st.text(st.characters(), max_size=20)
MESSAGES = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=3), max_size=4)


@given(MESSAGES)
def test_a_message_arrives_as_it_was_sent_in_one_line(message: wire.Message) -> None:
    line = wire.encode(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert wire.decode(line) == message


@given(MESSAGES, st.binary(max_size=20).filter(lambda noise: b"\x1e" not in noise and b"\n" not in noise))
def test_a_marked_message_is_found_behind_any_noise(message: wire.Message, noise: bytes) -> None:
    assert wire.unmark(noise + wire.marked(message)) == message


@given(st.binary(max_size=60))
def test_noise_is_no_message(noise: bytes) -> None:
    assert wire.unmark(noise) is None


@given(st.binary(max_size=60))
def test_whatever_stands_behind_a_mark_never_breaks_the_reader(noise: bytes) -> None:
    message = wire.unmark(wire.MARK.encode() + noise)
    assert message is None or isinstance(message, dict)


def test_what_is_nested_too_deeply_is_noise() -> None:
    assert wire.decode(b"[" * 100_000) is None
