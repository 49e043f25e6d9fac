# SPDX-License-Identifier: Apache-2.0
"""Which steps of a plan run as root."""

from __future__ import annotations

from test_nodeplan import FILE, home, plan

__all__ = ["home"]  # a fixture that every test uses
ROOT = FILE + "auth: {become: true}\n"


def test_steps_run_as_root_where_the_file_says_so() -> None:
    assert [step["become"] for step in plan(text=ROOT)["steps"]] == [True, True]
    assert not [step for step in plan()["steps"] if "become" in step]


def test_ray_is_installed_for_the_user_who_runs_it() -> None:
    steps = plan(text=ROOT + 'ray_version: {version: "2.60.0", install: true}\n')["steps"]
    assert ["become" in step for step in steps] == [True, True, False]
