# SPDX-License-Identifier: Apache-2.0
"""Defaults that depend on other keys, and how numbers of workers go together."""

import pytest

from rayctl.config.load import load, parse
from rayctl.errors import ConfigError

BASE = "cluster_name: c\nprovider: {type: embedded}\n"


def config_of(text="", **overrides):
    return parse(BASE + text, "c.yaml", **overrides).config


def minimums(config):
    return {name: config.min_workers_of(name) for name in config.worker_types}


def problem_of(text, **overrides):
    with pytest.raises(ConfigError) as caught:
        config_of(text, **overrides)
    (problem,) = caught.value.problems
    return problem


def types(**settings):
    listed = "".join(f"  {name}: {text}\n" for name, text in settings.items())
    return f"available_node_types:\n  head: {{}}\n{listed}"


def test_without_node_types_there_are_head_and_worker():
    config = config_of()
    assert (config.head_type, config.worker_types, config.max_workers) == ("head", ("worker",), 2)
    assert [config.kind_of(name) for name in config.available_node_types] == ["head", "worker"]


@pytest.mark.parametrize("name", ["ray.head.default", "ray_head_default", "head"])
def test_head_type_of_a_default_name_needs_no_mention(name):
    assert config_of(f"available_node_types: {{a: {{}}, {name}: {{}}}}\n").head_type == name


def test_only_type_is_the_heads():
    config = config_of("available_node_types: {boss: {}}\n")
    assert (config.head_type, config.worker_types) == ("boss", ())


def test_head_type_that_cannot_be_told_is_asked_for():
    problem = problem_of("available_node_types: {a: {}, b: {}}\n")
    assert problem.message == "`head_node_type` is missing: which node type is the head?"
    assert problem.hint == "add `head_node_type:` with one of a, b"


def test_head_type_that_serves_workers_too_gets_a_twin(fixtures):
    config = load(fixtures / "old-multi-node-type.yaml").config
    assert config.worker_types == ("cpu_4_ondemand-worker", "gpu_8_ondemand")
    assert config.max_workers_of("cpu_4_ondemand-worker") == 5
    assert config.max_workers_of("cpu_4_ondemand") == 0
    twin, head = (config.available_node_types[name] for name in ("cpu_4_ondemand-worker", "cpu_4_ondemand"))
    assert twin.node_config == head.node_config


def test_minimums_above_the_maximum_are_an_error():
    problem = problem_of("max_workers: 2\n" + types(a="{min_workers: 2}", b="{min_workers: 1}"))
    assert problem.message == "at least 3 workers are asked for (`min_workers`), but at most 2 allowed (`max_workers`)"
    assert (problem.line, problem.hint) == (3, "set `max_workers: 3`, or lower the minimums")


def test_maximum_that_nobody_gave_grows_with_the_minimums():
    assert config_of(types(a="{min_workers: 5}")).max_workers == 5
    assert config_of("min_workers: 7\n").max_workers == 7


def test_types_minimum_above_its_own_maximum_is_an_error():
    problem = problem_of("max_workers: 9\n" + types(a="{min_workers: 3, max_workers: 2}"))
    assert problem.message == "node type `a` has `min_workers: 3`, above its maximum 2"
    assert problem.line == 6


def test_global_minimum_is_filled_in_file_order_up_to_each_types_maximum():
    config = config_of(
        "max_workers: 9\nmin_workers: 5\n" + types(a="{max_workers: 2}", b="{min_workers: 1, max_workers: 4}", c="{}")
    )
    assert minimums(config) == {"a": 2, "b": 3, "c": 0}


def test_global_minimum_that_types_cannot_reach_is_an_error():
    problem = problem_of("max_workers: 9\nmin_workers: 5\n" + types(a="{max_workers: 2}"))
    assert problem.message == "at least 5 workers are asked for, but the node types' maximums allow 2 in all"
    assert problem.line == 4


def test_max_workers_of_the_command_line_cuts_minimums_in_file_order():
    text = "max_workers: 9\n" + types(a="{min_workers: 2}", b="{min_workers: 3}")
    config = config_of(text, max_workers=3)
    assert (config.max_workers, minimums(config)) == (3, {"a": 2, "b": 1})
    assert config_of(text, max_workers=0).max_workers_of("a") == 0


def test_max_workers_of_the_command_line_may_raise_the_files():
    assert config_of("max_workers: 1\n", max_workers=8).max_workers_of("worker") == 8


def test_min_workers_of_the_command_line_replaces_the_only_types():
    text = "max_workers: 9\n" + types(a="{min_workers: 2}")
    assert minimums(config_of(text, min_workers=4)) == {"a": 4}
    assert minimums(config_of(text, min_workers=0)) == {"a": 0}


def test_min_workers_of_the_command_line_is_the_global_one_with_several_types():
    text = "max_workers: 9\n" + types(a="{min_workers: 2}", b="{}")
    assert minimums(config_of(text, min_workers=4)) == {"a": 4, "b": 0}
    assert minimums(config_of(text, min_workers=0)) == {"a": 2, "b": 0}


@pytest.mark.parametrize("overrides", [{"min_workers": 5}, {"min_workers": 5, "max_workers": 2}])
def test_min_workers_of_the_command_line_above_the_maximum_is_an_error(overrides):
    problem = problem_of("max_workers: 2\n", **overrides)
    assert problem.message == "`--min-workers 5` makes at least 5 workers, but at most 2 are allowed"
    assert problem.hint == "lower it, or give `--max-workers 5`"


def test_both_flags_together_win_over_the_file():
    config = config_of("max_workers: 1\n", min_workers=3, max_workers=4)
    assert (config.max_workers, minimums(config)) == (4, {"worker": 3})
