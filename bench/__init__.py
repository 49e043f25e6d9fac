# SPDX-License-Identifier: Apache-2.0
"""Side by side in one run: rayctl, and the least that would do the same.

    python -m bench [--pairs N] [--print] [NAME ...]      all figures, or those named

    pairs.py       runs both sides in turn, and what is said of the pairs
    report.py      a figure as Markdown, and its place in docs/benchmarks.md
    lab.py         a rayctl home of its own with one cluster file, and its end
    floor.py       a script that starts the same Ray nodes with nothing around it
    phases.py      where the time of an `up` goes, from its events

    command_line.py   help: `rayctl --help` against `python -c pass`
    bring_up.py       up, sleep: a new cluster of 1+3 nodes against the floor
    running.py        unchanged, exec: what a running cluster is asked for most
    ansible_share.py  ansible: what Ansible's start costs, and its share of an `up`
    inventory.py      inventory: 10,000 nodes through `ansible-inventory --graph`
    fanout.py         fanout: what one controller spends on each of hundreds of hosts
    planner.py        planner: decisions beside those of Ray's autoscalers and a lower bound; planning/ has its parts
    reaction.py       reaction, reaction-hosts: from demand to a launch, beside Ray's autoscaler; scaling/ has its parts
    scaler_scale.py   scaler-scale: one turn of the scaler over 10,000 machines
    scaler_idle.py    scaler-idle: the scaler at rest beside Ray's monitors
    hosts/            hosts-up, hosts-up-8, hosts-setup, hosts-unchanged: real hosts over ssh

Nothing here passes or fails: a figure says whether its goal was met, and a person reads it.
"""
