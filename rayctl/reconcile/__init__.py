# SPDX-License-Identifier: Apache-2.0
"""From what is seen of a running cluster to what the planner is asked with.

observe.py   the provider's machines and the nodes of Ray, joined to one snapshot
"""
