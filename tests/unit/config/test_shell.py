# SPDX-License-Identifier: Apache-2.0
"""The lexer: which words are simple commands, and which only look like one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.config.shell import simple_commands


def calls(text, verb="stop"):
    return [simple for simple in simple_commands(text) if simple.arguments_of("ray", verb)]


@pytest.mark.parametrize(
    "text",
    [
        "ray stop",
        "ray stop -f --grace-period 3",
        "/opt/venv/bin/ray stop",
        "$HOME/bin/ray stop",
        "${VENV}/bin/ray stop",
        "RAY_X=1 Y='a b' ray stop",
        "exec ray stop",
        "env A=1 ray stop",
        "true && ray stop",
        "true;ray stop;true",
        "if true; then ray stop; fi",
        "while ! ray stop; do :; done",
        "(ray stop)",
        "{ ray stop; }",
        "ray \\\n  stop",
        "ray stop\\\n  -f",
        ">log 2>&1 ray stop",
        "ray stop&>log",
        "x=(a b); ray stop",
        "case $1 in a) ray stop;; esac",
        "cat <<E\nbody\nE\nray stop",
        'echo "cost $"; ray stop',
        "echo $'it\\'s'; ray stop",
        'echo "$(echo ")")"; ray stop',
        "echo ${x:-'}'}; ray stop",
        "# a comment with 'one quote\nray stop",
    ],
)
def test_ray_stop_is_found_wherever_the_shell_would_run_it(text):
    (found,) = calls(text)
    assert "stop" in text[found.start : found.end]


@pytest.mark.parametrize(
    "text",
    [
        "echo ray stop",
        "bash -c 'ray stop'",
        'bash -c "ray stop"',
        "echo $(ray stop)",
        "echo `ray stop`",
        "x=(ray stop)",
        "diff <(ray stop) x",
        "# ray stop",
        "cat <<E\nray stop\nE",
        "cat <<-'E'\n\tray stop\n\tE",
        "sudo ray stop",
        "'ray' stop",
        "ray status stop",
        "xray stop",
        "ray-stop",
        "echo 'ray stop",
        'echo "ray stop',
        "f() { ray stop; }",
        "(" * 3000 + "ray stop",
        "x" + "(" * 3000 + "ray stop",
        "",
    ],
)
def test_what_only_looks_like_ray_stop_is_left_alone(text):
    if text.startswith("((("):
        assert len(calls(text)) == 1  # the shell's own complaint, not ours: a subshell that is never closed
    else:
        assert calls(text) == []


def test_extent_covers_redirections_and_neighbours_are_known():
    (found,) = calls("a; ray stop -f >/dev/null 2>&1 && b")
    assert (found.opener, found.closer) == (";", "&&")
    assert (found.start, found.end, found.after) == (3, 30, 33)


def test_quoted_arguments_are_one_word():
    (found,) = calls("ray start --resources='{\"a b\": 1}' --x", "start")
    assert [word.text for word in found.words] == ["ray", "start", "--resources='{\"a b\": 1}'", "--x"]


@given(st.text(alphabet="ray stop\n\t;&|()<>'\"\\`${}#=-1A", max_size=60))
def test_any_text_is_read_to_its_end_with_offsets_that_fit(text):
    before = 0
    for simple in simple_commands(text):
        assert before <= simple.start <= simple.words[0].start
        assert simple.words[-1].end <= max(simple.end, simple.words[-1].end) <= len(text)
        assert all(text[word.start : word.end] == word.text for word in simple.words)
        before = simple.end


@given(st.text(alphabet=string.printable.replace("'", ""), max_size=60))
def test_nothing_inside_single_quotes_is_a_command(text):
    assert len(simple_commands(f"echo '{text}'")) == 1
