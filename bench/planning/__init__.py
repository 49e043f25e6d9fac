# SPDX-License-Identifier: Apache-2.0
"""The same generated cluster given to three planners: rayctl's, and the two that come with Ray.

python bench/planner.py --case 1000,5,10000     one of the cases; `--all` for all of them

scenario.py    clusters and demand, generated from a seed
prices.py      what a plan costs per hour
deciders.py    what a planner is asked here, and what is kept of its answer
ours.py        rayctl's planner
ray_v1.py      the decision code of Ray's first autoscaler
ray_v2.py      and of its second
bound.py       what no plan can cost less than
child.py       one decision in a process of its own
runner.py      those processes, as often as their median needs
results.py     what is compared
cases.py       which cases there are
measure.py     what is run of one
goals.py       what is meant to be reached, and the worst of it
output.py      all of it as JSON
report.py      and as Markdown
"""
