# SPDX-License-Identifier: Apache-2.0
"""What runs on a node: the standard library only, Python 3.8 or newer, nothing of rayctl's.

The controller sends this package's source over one two-way exec (`rayctl/transport/shipping.py`), then one request:

    front.py      the end of the line: starts a runner or adopts a living one, and passes lines to and fro
    ops.py        what is asked in one line and answered in one line
    runner.py     the runner: a process of its own that carries out one plan, whoever listens
    hub.py        its side of the line: followers come and go, questions wait for an answer
    follower.py   one of them: what is sent to it never makes the run wait
    run.py        the run itself: mounts, steps, Ray, in this order, and only what changed
    work.py       what its parts share, and how one step is run and told of
    start.py      its last part: Ray is started anew where there is a reason to
    look.py       what a plan would do on a node, decided purely
    steps.py      one command in a login shell of its own: log, tail, time-out
    ending.py     ending a step before its time, with all that it started
    noise.py      the two lines that nobody wants to see
    ray.py        this node's own Ray: does it work, which version is it, are its ports free
    state.py      what the node remembers between runs, and the lock that keeps runs apart
    processes.py  which processes are ours, and how they end
    control.py    ending a runner from outside
    claims.py     the claims of all users on this host, as anybody may read them
    claim.py      our own: taken before anything else happens here, renewed by each run
    launched.py   its private half, and what the node was launched with
    leaving.py    the end of a node: what is ours ends, what was kept goes, and the claim last
    watch.py      whether a worker's head is looked after, by a process that outlives the run
    orphan.py     that process: it gives the node up when the head has been away for long
    lease.py      the lease on the cluster, which lies on its head
    handover.py   the cluster's token, and the variables by which people find the cluster
    sources.py    the text of these modules, for processes that get it through a line
    probe.py      what a node remembers and whether its Ray lives, in one answer
    wire.py       the protocol's lines

Sent along only with requests about a scaler:

    access.py          by which keys of rayctl's the login user lets others in
    scaler_ops.py      what is asked: a look at what there is, installation, removal
    scaler_probe.py    the Python and the programs that a scaler needs
    scaler_folder.py   what a scaler has here: environment, bundle, key
    scaler_home.py     its own RAYCTL_HOME
    scaler_service.py  who keeps it running
    scaler_launch.py   how it starts, and the supervisor where there is no systemd

The runner is a session of its own with a lock, a log and a status file. The end of its line is no cancel: without a
controller it finishes its set-up steps, stops before anything that needs one, and waits ten minutes to be adopted. (After
initialization commands it ends: only a controller can log in afresh, and the next run goes on from there.)
"""
