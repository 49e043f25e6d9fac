# SPDX-License-Identifier: Apache-2.0
"""What counts as a node's own resource and what Ray makes up."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.gcs.view import RayState, in_placement_group, plain_resources

GROUP = "3f" * 18


@pytest.mark.parametrize(
    "made_up",
    [
        "node:10.0.0.7",
        "node:__internal_head__",
        "node:__internal_implicit_resource_x",
        f"CPU_group_{GROUP}",
        f"CPU_group_0_{GROUP}",
        f"bundle_group_12_{GROUP}",
        f"accelerator_type:A100_group_{'0a' * 16}",
    ],
)
def test_resources_that_ray_makes_up_are_left_out(made_up):
    assert plain_resources({made_up: 1.0, "CPU": 4.0}) == {"CPU": 4.0}


@pytest.mark.parametrize(
    "own", ["CPU", "memory", "object_store_memory", "accelerator_type:A100", "my_group_a", "x_group_0_beef"]
)
def test_resources_that_people_name_are_kept(own):
    assert plain_resources({own: 1.0}) == {own: 1.0}


@given(st.dictionaries(st.text(), st.floats(0, 1e9)))
def test_filtering_invents_nothing_and_filtering_again_changes_nothing(resources):
    plain = plain_resources(resources)
    assert plain.items() <= resources.items()
    assert plain_resources(plain) == plain


@given(st.from_regex(r"[A-Za-z]\w{0,9}", fullmatch=True), st.integers(0, 999), st.binary(min_size=18, max_size=18))
def test_both_forms_of_a_groups_resource_are_recognised(name, index, group):
    assert in_placement_group(f"{name}_group_{group.hex()}")
    assert in_placement_group(f"{name}_group_{index}_{group.hex()}")


def test_only_a_dead_node_is_not_alive():
    assert [state for state in RayState if not state.alive] == [RayState.DEAD]


def test_looking_at_views_and_errors_loads_neither_grpc_nor_protobuf():
    code = "import sys, rayctl.gcs.view, rayctl.gcs.errors; print({'grpc', 'google.protobuf', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
