# SPDX-License-Identifier: Apache-2.0
"""What bash says about job control is left out, whatever the pieces in which output comes, and nothing else is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rayctl.node import noise

SAID = [
    b"bash: cannot set terminal process group (-1): Inappropriate ioctl for device\n",
    b"bash: cannot set terminal process group (23942): Inappropriate ioctl for device\n",
    b"bash: no job control in this shell\n",
    b"bash: [30618: 2 (255)] tcsetattr: Inappropriate ioctl for device\n",
]
KEPT = [
    b"bash: [1: 2 (3)] something else\n",
    b"bash: no such thing\n",
    b"bash: cannot set terminal\n",
    b"  bash: no job control in this shell\n",
    b"\n",
    b"x\n",
    b"\xff\n",
]


@given(st.lists(st.sampled_from(SAID + KEPT), max_size=8), st.sampled_from([b"", b"bash: no", b"> "]), st.data())
def test_pieces_do_not_matter(lines: list[bytes], last: bytes, data: st.DataObject) -> None:
    text = b"".join(lines) + last
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    quiet = noise.Quiet()
    shown = b"".join(quiet.feed(text[start:end]) for start, end in pairwise([0, *cuts, len(text)])) + quiet.rest()
    assert shown == b"".join(line for line in lines if line not in SAID) + last


def test_a_prompt_is_shown_at_once() -> None:
    assert noise.Quiet().feed(b"Password: ") == b"Password: "
    assert noise.Quiet().feed(b"bash: cannot find it") == b"bash: cannot find it"


def test_the_lines_at_the_very_end_need_no_line_break() -> None:
    assert noise.LINES.sub(b"", SAID[0] + SAID[2].rstrip()) == b""
