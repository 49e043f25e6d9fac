# SPDX-License-Identifier: Apache-2.0
"""YAML reading: places, limits, and what is refused before any model sees it."""

import time
import tracemalloc

import pytest

from rayctl.config import places
from rayctl.errors import ConfigError


def refused(text):
    with pytest.raises(ConfigError) as caught:
        places.read(text, "cluster.yaml")
    (problem,) = caught.value.problems
    return problem


def test_every_key_and_value_knows_its_line_and_column():
    document = places.read("a:\n  b: [x, 10]\n", "f")
    assert document.data == {"a": {"b": ["x", 10]}}
    assert (document.keys["a", "b"].line, document.keys["a", "b"].column) == (2, 3)
    assert (document.values["a", "b", 1].line, document.values["a", "b", 1].column) == (2, 10)
    assert document.values["a", "b", 1].text == "10"


def test_key_given_twice_is_a_warning_with_both_lines_and_the_last_one_counts():
    document = places.read("a:\n  b: 1\n  c: 2\n  b: 3\n", "f")
    assert document.data == {"a": {"b": 3, "c": 2}}
    (warning,) = document.warnings
    assert (warning.path, warning.line, warning.column) == ("a.b", 4, 3)
    assert warning.message == "`a.b` is given twice, in lines 2 and 4; the last one counts"


def test_merge_keys_yield_to_what_is_written_and_to_earlier_merges():
    text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  <<: [*a, *b]\n  y: 3\n"
    assert places.read(text, "f").data["c"] == {"x": 1, "y": 3, "z": 2}


def test_merged_key_has_the_place_where_it_is_written():
    document = places.read("a: &a\n  x: 1\nb:\n  <<: *a\n", "f")
    assert document.keys["b", "x"].line == 2
    assert not document.warnings


def test_keys_are_text_as_written_whatever_yaml_would_make_of_them():
    assert places.read("no: 1\n~: 2\n010: 3\n2020-01-01: 4\n", "f").data == {"no": 1, "~": 2, "010": 3, "2020-01-01": 4}


def test_dates_stay_text():
    assert places.read("a: 2020-01-01\n", "f").data == {"a": "2020-01-01"}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n...\n"])
def test_empty_file_says_what_a_cluster_file_needs(text):
    problem = refused(text)
    assert "empty" in problem.message or "not `key: value` lines" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "part", "hint"),
    [
        ("- a\n- b\n", 1, "holds a list", "cluster_name"),
        ("just text\n", 1, "holds a single value", "cluster_name"),
        ("a: 1\n---\nb: 2\n", 2, "second YAML document", "one cluster per file"),
        ("a: !!python/object:os.system {}\n", 1, "`!!python/object:os.system` is not allowed", "plain data"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "not allowed", "plain data"),
        ("a: !vault x\n", 1, "`!vault` is not allowed", "plain data"),
        ("a: !!binary aGk=\n", 1, "not allowed", "plain data"),
        ("a: &x\n  b: *x\n", 2, "the very thing it stands in", ""),
        ("a: *nowhere\n", 1, "refers to nothing", ""),
        ("a: {{ name }}\n", 1, "cannot be a key", "quotes"),
        ("a: {{ lookup('pipe', 'id') }}\n", 1, "no valid YAML", "not in quotes"),
        ("[a, b]: 1\n", 1, "cannot be a key", "quotes"),
        ("a: .inf\n", 1, "no finite number", ""),
        ("a: .nan\n", 1, "no finite number", ""),
        ("a: 1\n\tb: 2\n", 2, "no valid YAML", "spaces"),
        ("a: b: c\n", 1, "mapping values", "in quotes"),
        ("a: 'x\n", 2, "end of stream", "never closed"),
        ("a: \0\n", 1, "U+0000", ""),
        ("a: 1\nb: \x1b[0m\n", 2, "U+001B", ""),
        ("a:\n  <<: 3\n", 2, "can only merge a mapping", ""),
        ("a: " + "9" * 5000 + "\n", 1, "no int that can be read", ""),
    ],
)
def test_what_is_no_plain_data_is_refused_with_its_line(text, line, part, hint):
    problem = refused(text)
    assert part in problem.message
    assert problem.line == line
    assert hint in problem.hint


def test_nesting_has_a_limit_and_no_stack_is_lost():
    assert "nested deeper" in refused("a: " + "[" * 5000).message


def bomb(levels):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_bomb_of_aliases_is_refused_in_bounded_time_and_memory():
    tracemalloc.start()
    began = time.process_time()
    problem = refused(bomb(30))
    used, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "more than 50,000 values" in problem.message
    assert problem.line == 5
    assert used < 2
    assert peak < 20 << 20


def test_bomb_of_merges_is_refused_too():
    lines = ["a0: &a0 {k: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}"]
    lines += [f"a{n}: &a{n} {{{', '.join(f'k{m}: *a{n - 1}' for m in range(10))}}}" for n in range(1, 20)]
    assert "more than 50,000 values" in refused("\n".join(lines)).message


def test_many_plain_values_are_refused_at_the_same_limit():
    assert "more than 50,000 values" in refused("a:\n" + "- 1\n" * 60_000).message


@pytest.mark.parametrize(("text", "part"), [("a: 010", "octal: 8"), ("a: 0_7", "octal: 7"), ("a: 1:30", "base 60")])
def test_numbers_that_yaml_reads_otherwise_than_people_are_pointed_out(text, part):
    ((path, message),) = places.read(text, "f").surprises()
    assert path == ("a",)
    assert part in message


@pytest.mark.parametrize("text", ["a: 0", "a: 10", "a: '010'", "a: x:y", "a: 12:30:x", "a: 0x1f"])
def test_plain_numbers_and_texts_are_no_surprise(text):
    assert not list(places.read(text, "f").surprises())


def test_paths_are_shown_as_people_write_them():
    assert places.shown(("provider", "hosts", 2, "key")) == "provider.hosts[2].key"
