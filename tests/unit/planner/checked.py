# SPDX-License-Identifier: Apache-2.0
"""The planner as the tests call it: no plan of theirs gets past the verifier."""

from __future__ import annotations

from rayctl import planner
from rayctl.planner import Plan, Snapshot
from tests.verifier import check


def plan(snapshot: Snapshot) -> Plan:
    """The plan, after the verifier has looked at it."""
    found = planner.plan(snapshot)
    check(snapshot, found)
    return found
