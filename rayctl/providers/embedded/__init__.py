# SPDX-License-Identifier: Apache-2.0
"""Nodes on this machine: a real Ray cluster without root, ssh or containers.

A node is what bears its mark (`node/processes.py`): processes with a loopback address, a block of ports and two folders
of their own. Nothing runs when a node is launched; its record is what makes it exist, Ansible starts what runs there.

    provider.py   the contract's calls, in terms of the rest
    records.py    what is stored of a cluster and its nodes, and the lock over all clusters of this user
    ports.py      which ports a node gets, so that neither other nodes nor other programs get in its way
    scratch.py    Ray's temporary folder of a node: short enough for sockets, removed only when surely ours
"""

from rayctl.providers.embedded.provider import EmbeddedProvider

__all__ = ["EmbeddedProvider"]
