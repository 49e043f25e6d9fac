# SPDX-License-Identifier: Apache-2.0
"""Tests on real hosts: machines with their own address, disk, sshd and boot id, made on this one machine by `rig`."""
