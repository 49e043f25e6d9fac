# SPDX-License-Identifier: Apache-2.0
"""What runs on a node: the standard library only, Python 3.8 or newer, nothing of rayctl's.

The controller sends this package's source over one two-way exec (`rayctl/transport/shipping.py`), then one request:

    front.py      the end of the line: starts a runner or adopts a living one, and passes lines to and fro
    hub.py        the runner's side of that: followers come and go, questions wait for an answer
    run.py        the run itself: mounts, steps, Ray, in this order, and only what changed
    look.py       what a plan would do on a node, decided purely
    steps.py      one command in a login shell of its own: log, tail, time-out, no child left
    ray.py        this node's own Ray: is it healthy, stop it, start it
    state.py      what the node remembers between runs, and the lock that keeps runs apart
    processes.py  which processes are ours, and how they end
    control.py    ending a runner from outside
    probe.py      what a node remembers and whether its Ray lives, in one answer
    wire.py       the protocol's lines

The runner is a session of its own with a lock, a log and a status file. The end of its line is no cancel: without a
controller it finishes its set-up steps, stops before anything that needs one, and waits ten minutes to be adopted.
"""
