# SPDX-License-Identifier: Apache-2.0
"""The scaler in a process of its own: what it asks and tells, for real.

daemon      its process: one per cluster, from the first turn to SIGTERM
outside     the seam's other side, put together of the rest
watcher     the provider's listings, asked beside the turns
head        Ray's head: what it tells, what it is told, its logs
plays       playbook runs beside the turns
right       the right to change the cluster, and to be its only scaler
"""
