# SPDX-License-Identifier: Apache-2.0
"""Figures on real hosts: machines of the test lab (docs/lab.md), reached by ssh.

    place.py      the hosts, a home of rayctl's own, a cluster file over some of them; all of it gone at the end
    joining.py    a run that ends when an outside reader sees all nodes alive, or that failed
    floor.py      bare parallel ssh that runs the same commands in the same login shells
    launcher.py   Ray's own launcher, with nothing left of one run for the next

    bring_up.py   hosts-up, hosts-up-8: cold, from nothing to all joined: the floor, rayctl, `ray up`
    set_up.py     hosts-setup: set-up commands alone, over connections that are there
    running.py    hosts-unchanged: an `up` that has nothing to do

All hosts share one machine with the controller, so a second of CPU costs the same wherever it is spent.
"""
