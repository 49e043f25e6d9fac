# SPDX-License-Identifier: Apache-2.0
"""rayctl: Ray clusters on machines of your own, brought up, kept and scaled by Ansible."""

__version__ = "0.1.0"
