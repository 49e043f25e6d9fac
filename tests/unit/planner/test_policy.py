# SPDX-License-Identifier: Apache-2.0
"""From a cluster file to the planner's policy."""

from __future__ import annotations

import pytest

from rayctl.config.load import parse
from rayctl.planner.model import DEFAULT_OVERHEAD, NodeType, Policy, Utilization
from rayctl.planner.policy import policy

FILE = """
cluster_name: c
provider: {type: simulated}
max_workers: 8
idle_timeout_minutes: 2
upscaling_speed: 3
head_node_type: head
available_node_types:
  head: {resources: {CPU: 2}}
  small: {resources: {CPU: 4}, min_workers: 1, max_workers: 5, labels: {zone: a}, price: 0.2, priority: 2, idle_timeout_s: 30}
  big: {resources: {CPU: 16}}
"""


def of(text: str, prices: dict[str, float] | None = None) -> Policy:
    return policy(parse(text, "c.yaml").config, prices)


def test_the_files_limits_and_types_without_the_heads() -> None:
    found = of(FILE)
    assert (found.max_workers, found.upscaling_speed, found.idle_timeout_s) == (8, 3.0, 120.0)
    small = NodeType("small", {"CPU": 4.0}, 5, 1, {"zone": "a"}, 0.2, 2, 30.0)
    assert found.types == (small, NodeType("big", {"CPU": 16.0}, 8))


def test_the_providers_prices_fill_in_what_the_file_leaves_out() -> None:
    assert [node_type.price for node_type in of(FILE, {"small": 9.0, "big": 0.7}).types] == [0.2, 0.7]


def test_the_overhead_of_a_machine() -> None:
    assert of(FILE).machine_overhead == DEFAULT_OVERHEAD == 0.02  # as the file's reference says
    assert of(f"{FILE}scaler: {{machine_overhead: 0.5}}").machine_overhead == 0.5
    assert of(f"{FILE}scaler: {{machine_overhead: 0}}").machine_overhead == 0.0


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ("", None),
        ("scaler: {}", None),
        ("scaler: {machine_overhead: 1}", None),
        ("scaler: {target_utilization_fraction: 0.5}", Utilization(0.5)),
        ("target_utilization_fraction: 0.5", Utilization(0.5)),
        ("initial_workers: 3", Utilization(0.8, 3)),
        ("scaler: {initial_workers: 0}", Utilization(0.8, 0)),
        ("autoscaling_mode: default", Utilization(0.8)),
        ("autoscaling_mode: aggressive\ninitial_workers: 2", Utilization(0.8, 2, aggressive=True)),
    ],
)
def test_the_first_autoscalers_rule_holds_exactly_where_one_of_its_keys_is_given(keys: str, rule: Utilization | None) -> None:
    assert of(FILE + keys).utilization == rule
