# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: exec
short_description: Run a shell command on a node of a Ray cluster
description:
  - Runs the command in a login shell where C(ray status) and C(ray.init) find the cluster, as C(rayctl exec) does.
  - This is an action plugin; nothing is needed on the node but a shell. The host must come from the inventory plugin
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
  command:
    description: The shell command.
    type: str
    default: ""
attributes:
  check_mode: {support: none, description: Nobody can tell what a command would do; the task is skipped.}
  diff_mode: {support: none, description: Nobody can tell what a command would change.}
"""

EXAMPLES = r"""
- name: See what each node knows of the cluster
  rayctl.ray.exec:
    cluster_file: "{{ rayctl_cluster_file }}"
    command: ray status
"""

RETURN = r"""
rc: {description: The command's exit code., returned: always, type: int}
stdout: {description: What it printed., returned: always, type: str}
stderr: {description: What it printed on stderr., returned: always, type: str}
"""
