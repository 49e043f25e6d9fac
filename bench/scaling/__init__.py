# SPDX-License-Identifier: Apache-2.0
"""Parts of the scaler's figures.

town.py           a big cluster as a provider and Ray's head tell it, written into files by a process of its own
papers.py         the scaler's outside, made of such files
one_turn.py       a process that makes one turn of the scaler over them

sides.py          rayctl's scaler on this machine and over ssh, and Ray's autoscaler
scaled.py         such a side as one who uses it sees it
driver.py         a program of Ray's that asks for things
stamps.py         when a provider was asked to launch; our_provider.py and ray_provider.py note it
heads.py          Ray heads without rayctl
"""
