# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: these values never change, or every cluster in the world would be set up again."""

import pytest

from rayctl.config.digest import canonical, chain, digest


def test_canonical_json_has_sorted_keys_no_spaces_and_utf8():
    assert canonical({"b": [1, 2.5, None, True], "a": "ü"}) == '{"a":"ü","b":[1,2.5,null,true]}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "v1:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        ({"b": [1, 2.5, None, True], "a": "ü"}, "v1:5cffe7b2256261270211e66d136e0fc423a603024179f1fb99fe31e771368b2f"),
        (
            ["start", "head", None, {"CPU": 2.0}, {}, True],
            "v1:4ef8c595ff64d1004c4330b87415fd65aac370d02501898c842960acc61de0d9",
        ),
    ],
)
def test_digest_of_a_value_is_the_same_for_ever(value, expected):
    assert digest(value) == expected


def test_chain_of_steps_is_the_same_for_ever():
    assert chain("v1:base", [("pip install ray", {}), ("echo hi", {"A": "1"})]) == [
        "v1:33811da9ffb02f90e1859212e63a5e3e304297481178c4f5b83c94f114c0846b",
        "v1:5e5f0eb543b1a3313f461be073de41ebf8e221f8c36e0ce2f85f7d2361b181f9",
    ]


def test_key_order_does_not_matter():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_edited_step_changes_its_digest_and_all_behind_it_but_none_before():
    steps = [("one", {}), ("two", {}), ("three", {})]
    edited = [("one", {}), ("TWO", {}), ("three", {})]
    before, after = chain("base", steps), chain("base", edited)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False]


def test_changed_environment_counts_like_a_changed_command():
    assert chain("base", [("one", {"A": "1"})]) != chain("base", [("one", {"A": "2"})])


def test_names_of_files_that_are_no_utf8_can_be_digested():
    assert digest("\udcff").startswith("v1:")


def test_infinities_are_refused():
    with pytest.raises(ValueError, match="Out of range"):
        digest(float("inf"))
