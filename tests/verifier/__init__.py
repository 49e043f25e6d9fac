# SPDX-License-Identifier: Apache-2.0
"""Whether a plan is right: a second opinion on the planner that shares nothing with it but the data model.

Everything is counted again from the snapshot, in whole ten-thousandths of a resource, the unit Ray counts in. One of them
may be missing per resource and machine, for the planner holds amounts that are closer than that equal. Where a machine's
size is not known yet (a type whose resources are learnt from its first node), nothing is said of what it holds.

`demands` has amounts and labels, `lots` has machines that are alike, and `case` has a snapshot and a plan with what follows
from both by counting. The rules are in modules of their own, each rule a function that yields a sentence per fault:

- `placing`: placements name machines that there are, and put there what fits and what their labels allow
- `answers`: everything asked for has its answer, and the numbers add up
- `gangs`: all bundles of a gang have a place that its strategy allows, or none has
- `launches`: machines are launched for causes that are there
- `limits`: min_workers, max_workers, upscaling_speed, types that failed
- `removals`: what is ended, why, how, and not too much of it
- `requested`: what is said of request_resources() is possible
- `refusals`: what has no place could have none
"""

from __future__ import annotations

from rayctl.planner.model import Plan, Snapshot

from . import answers, gangs, launches, limits, placing, refusals, removals, requested
from .case import Case

CHECKS = (
    placing.placements_name_machines,
    placing.placements_count_machines,
    placing.new_machines_are_numbered,
    placing.machines_hold_what_fits,
    placing.machines_have_the_labels,
    answers.there_is_an_answer_to_everything,
    answers.answers_add_up,
    answers.answers_agree_with_placements,
    gangs.gangs_have_places,
    launches.launches_make_sense,
    launches.launches_have_their_cause,
    launches.launches_for_work_hold_some,
    limits.limits_are_kept,
    limits.setbacks_are_waited_for,
    limits.upscaling_speed_is_kept,
    limits.minimum_is_launched,
    removals.removals_are_allowed,
    removals.idle_nodes_are_of_no_use,
    removals.gone_types_are_removed,
    removals.removals_spare_the_minimum,
    removals.removals_for_maximums_are_no_more_than_needed,
    removals.outdated_nodes_go_by_and_by,
    requested.requests_fit_in_total,
    refusals.no_room_is_forgotten,
    refusals.refusals_are_true,
)


def check(snapshot: Snapshot, plan: Plan) -> None:
    """Fail with all that is wrong with the plan."""
    found = violations(snapshot, plan)
    if found:
        raise AssertionError("\n".join(found))


def violations(snapshot: Snapshot, plan: Plan) -> list[str]:
    """All that is wrong with the plan, in sentences; nothing if it is fine."""
    case = Case(snapshot, plan)
    return [sentence for find in CHECKS for sentence in find(case)]
