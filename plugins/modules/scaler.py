# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: scaler
short_description: Run the scaler on the head of a Ray cluster
description:
  - On the head it installs rayctl with all that it needs there, the cluster file as it is to be read there, host keys and
    the contents of file mounts, makes a key pair, and keeps the scaler running. On every host it lets that key log in.
  - Hosts need no network beyond the cluster. A changed cluster file is handed over without a restart.
  - Where the cluster file does not say that the scaler runs on the head, and for hosts that are not declared in it, the task
    is skipped.
  - This is an action plugin. The head needs Python 3.11 and OpenSSH; the host must come from the inventory plugin
    P(rayctl.ray.rayctl#inventory), and is reached as by M(rayctl.ray.node).
version_added: "0.1.0"
author: [the rayctl authors (@rayctl)]
options:
  cluster_file:
    description: Path of the cluster file on the controller.
    type: str
    required: true
  overrides:
    description: As the inventory plugin's options C(cluster_name), C(min_workers) and C(max_workers).
    type: dict
    default: {}
attributes:
  check_mode: {support: full, description: Says what would be done.}
  diff_mode: {support: partial, description: Says what is done in words.}
"""

EXAMPLES = r"""
- name: Run the scaler on the head
  rayctl.ray.scaler:
    cluster_file: "{{ rayctl_cluster_file }}"
"""

RETURN = r"""
message: {description: What was done on this host., returned: always, type: str}
"""
