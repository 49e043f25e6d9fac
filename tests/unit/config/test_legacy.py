# SPDX-License-Identifier: Apache-2.0
"""Old spellings keep their meaning and say their new one, once."""

import pytest

from rayctl.config.load import load, parse

AWS = "cluster_name: c\nprovider: {type: aws}\n"


@pytest.mark.parametrize(
    ("line", "hint", "value"),
    [
        ("initial_workers: 1", "write `scaler: {initial_workers: 1}`", lambda config: config.scaler.initial_workers == 1),
        (
            "autoscaling_mode: aggressive",
            "write `scaler: {autoscaling_mode: aggressive}`",
            lambda config: config.scaler.autoscaling_mode == "aggressive",
        ),
        (
            "target_utilization_fraction: 0.8",
            "write `scaler: {target_utilization_fraction: 0.8}`",
            lambda config: config.scaler.target_utilization_fraction == 0.8 and config.upscaling_speed == 1.0,
        ),
        (
            "head_node: {InstanceType: m5.large}",
            "write `available_node_types: {head: {node_config: ...}}`",
            lambda config: config.available_node_types["head"].node_config == {"InstanceType": "m5.large"},
        ),
        (
            "worker_nodes: {InstanceType: m5.large}",
            "write `available_node_types: {worker: {node_config: ...}}`",
            lambda config: config.available_node_types["worker"].node_config == {"InstanceType": "m5.large"},
        ),
        ("head_node: {}", "delete line 3", lambda config: config.head_type == "head"),
        ("worker_default_node_type: x", "delete line 3", lambda config: config.worker_types == ("worker",)),
    ],
)
def test_old_key_gives_one_warning_with_the_new_spelling_and_keeps_its_meaning(line, hint, value):
    loaded = parse(AWS + line + "\n", "c.yaml")
    (warning,) = loaded.warnings
    assert (warning.line, warning.column, warning.hint) == (3, 1, hint)
    assert warning.message.startswith(f"`{line.split(':')[0]}` is ")
    assert value(loaded.config)


def test_new_spelling_gives_no_warning():
    text = AWS + "scaler: {initial_workers: 1, autoscaling_mode: aggressive, target_utilization_fraction: 0.8}\n"
    assert parse(text, "c.yaml").warnings == ()


def test_scaler_block_wins_over_the_old_key():
    assert parse(AWS + "initial_workers: 1\nscaler: {initial_workers: 2}\n", "c.yaml").config.scaler.initial_workers == 2


def test_global_minimum_goes_to_the_only_worker_type():
    loaded = parse(AWS + "min_workers: 1\nhead_node: {a: 1}\nworker_nodes: {a: 2}\n", "c.yaml")
    assert loaded.config.min_workers_of("worker") == 1
    assert loaded.warnings[0].hint == "write `available_node_types: {worker: {min_workers: 1}}`"


def test_global_minimum_without_node_types_is_no_old_spelling():
    loaded = parse("cluster_name: c\nprovider: {type: embedded}\nmin_workers: 2\n", "c.yaml")
    assert loaded.warnings == ()
    assert loaded.config.min_workers_of("worker") == 2


def test_beside_node_types_the_old_blocks_are_what_types_start_from(fixtures):
    types = load(fixtures / "old-multi-node-type.yaml").config.available_node_types
    assert types["cpu_4_ondemand"].node_config == {"ImageId": "latest_dlami", "InstanceType": "m4.xlarge"}
    assert types["gpu_8_ondemand"].node_config["ImageId"] == "ami-of-its-own"


def test_old_files_of_the_clouds_keep_their_machines(fixtures):
    config = load(fixtures / "old-aws.yaml").config
    assert (config.head_type, config.worker_types) == ("head", ("worker",))
    assert config.available_node_types["worker"].node_config["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert config.docker is None


def test_repeated_key_of_an_old_example_is_a_warning(fixtures):
    warnings = load(fixtures / "old-kubernetes.yaml").warnings
    assert warnings[-1].message == "`setup_commands` is given twice, in lines 20 and 21; the last one counts"
