# SPDX-License-Identifier: Apache-2.0
"""Which steps of a plan run as root."""

from __future__ import annotations

from test_nodeplan import FILE, HEAD, deployment, home, plan

from rayctl.provision import nodeplan
from rayctl.provision.nodeplan import Options

__all__ = ["home"]  # a fixture that every test uses
ROOT = FILE + "auth: {become: true}\n"


def test_steps_run_as_root_where_the_file_says_so() -> None:
    assert [step["become"] for step in plan(text=ROOT)["steps"]] == [True, True]
    assert not [step for step in plan()["steps"] if "become" in step]


def test_ray_is_installed_for_the_user_who_runs_it() -> None:
    steps = plan(text=ROOT + 'ray_version: {version: "2.60.0", install: true}\n')["steps"]
    assert ["become" in step for step in steps] == [True, True, False]


def test_ansibles_become_leads_to_the_same_steps_as_the_files() -> None:
    by_hand = nodeplan.plan_of(deployment(), HEAD, {}, Options(become=True))
    assert by_hand["steps"] == plan(text=ROOT)["steps"]
    assert by_hand["ray"] == plan()["ray"]


def test_sudos_password_is_no_part_of_a_plan_and_goes_where_steps_run_as_root_alone() -> None:
    as_root, as_user = plan(text=ROOT), plan()
    assert nodeplan.secrets_for(deployment(ROOT), HEAD, as_root, "zebra") == {"become_password": "zebra"}
    assert nodeplan.secrets_for(deployment(ROOT), HEAD, as_user, "zebra") == {}
    assert nodeplan.secrets_for(deployment(ROOT), HEAD, as_root, "") == {}
