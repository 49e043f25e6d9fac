# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: cluster
short_description: Launch or end the machines of a Ray cluster
description:
  - V(present) launches the head and as many workers as the cluster file asks for, and ends what is above its maximum.
  - V(absent) ends all of them, or all workers.
  - The cluster is held for the rest of the playbook run, so that no second writer changes it meanwhile.
  - This is an action plugin and runs on the controller.
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
  state:
    description: Whether there should be machines.
    type: str
    choices: [present, absent]
    default: present
  workers_only:
    description: With V(absent), leave the head.
    type: bool
    default: false
  lock_timeout:
    description: Seconds to wait for another writer.
    type: float
    default: 60
attributes:
  check_mode: {support: full, description: Says which machines would be launched or ended.}
  diff_mode: {support: full, description: The machines before and after.}
"""

EXAMPLES = r"""
- name: Launch what is missing
  rayctl.ray.cluster:
    cluster_file: "{{ rayctl_cluster_file }}"
"""

RETURN = r"""
launched: {description: Names of machines that were launched., returned: always, type: list, elements: str}
ended: {description: Names of machines that were ended., returned: always, type: list, elements: str}
"""
