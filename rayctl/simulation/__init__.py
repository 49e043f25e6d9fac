# SPDX-License-Identifier: Apache-2.0
"""What would the planner do with this work? A demand trace meets a cluster file under a clock that costs nothing.

engine.py     the clock; read this one first
trace.py      the file: what is asked of the cluster, and when; its lines are in `lines`, what they mean in `events`
scene.py      the rest of what a simulation needs, from the cluster file and the command line
scaler.py     when it is time for a turn, and what a turn does
workload.py   what Ray does with the work: queues, starts, ends; as counts, which are in `work`
placing.py    on which node a task or a placement group goes
machines.py   the provider's side: launches, listings, joins, losses
meter.py      what is counted while time passes
report.py     what came of it, as data
plot.py       and as a picture
"""
