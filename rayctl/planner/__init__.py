# SPDX-License-Identifier: Apache-2.0
"""What should the cluster look like now? Decided purely, from a snapshot to a plan: no clock, no files, no network, no Ray.

model.py     what is asked and answered
decide.py    the decision from its first question to its last; read this one first
fleet.py     nodes and types as groups of alike machines, amounts as whole numbers
costs.py     what a machine costs, and which type is preferred for what
packing.py   demand onto groups of machines, and the machines that are missing
gangs.py     placement groups, all or nothing
removals.py  which nodes have to go
headroom.py  the rule of Ray's first autoscaler
answers.py   what becomes of each demand, in numbers and words; refusals.py of gangs without a place
explain.py   all of it for people
"""

from rayctl.planner.decide import plan
from rayctl.planner.model import Plan, Snapshot

__all__ = ["Plan", "Snapshot", "plan"]
