# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: node
short_description: Bring a node of a Ray cluster to its wanted state in one round trip
description:
  - Copies the file mounts that changed, runs the set-up steps that changed, and starts Ray when it does not run as wanted.
  - What is wanted is read from the cluster file; the host must come from the inventory plugin P(rayctl.ray.rayctl#inventory).
  - This is an action plugin. The work on the node is done by a runner that needs Python 3.8 there and nothing else.
notes:
  - With C(become) on the play, or C(-b), the file's initialization and set-up steps run as root, as with C(auth.become) in
    the cluster file. Both lead to the same digests; with neither the steps run again, as the login user. C(rayctl up) goes by
    the file alone, so who uses both says it there. Ray is always started as the login user.
  - C(sudo) is given the password that Ansible has for the host, also where C(auth.become) alone asks for root. Another
    C(become_method) than sudo and another C(become_user) than root are errors.
  - The host is reached by C(ssh) with the cluster's own configuration, over one connection that all tasks share. The user,
    port, key, address and C(ssh_common_args) that Ansible was told win over the cluster file's. Host keys are checked by
    the cluster's rules, whatever C(host_key_checking) says; C(ansible_ssh_args) is not heeded.
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
  phases:
    description: What of the node's plan is wanted. With C(--tags), only those of the tags.
    type: list
    elements: str
    choices: [mounts, setup, start]
    default: [mounts, setup, start]
  restart:
    description:
      - V(auto) restarts Ray where it is unhealthy, where its start commands changed, or where a set-up step ran since.
      - V(always) restarts it in any case; V(never) leaves a healthy one alone.
    type: str
    choices: [auto, always, never]
    default: auto
  rerun_from:
    description: Run the set-up steps from this one on (the first is 1), though nothing changed; 0 for no.
    type: int
attributes:
  check_mode: {support: full, description: Says what would be copied, run and started.}
  diff_mode: {support: full, description: Steps and Ray before and after; names and modes of files that would change.}
"""

EXAMPLES = r"""
- name: Bring the node to its wanted state
  rayctl.ray.node:
    cluster_file: "{{ rayctl_cluster_file }}"

- name: Prepare an image without starting Ray
  rayctl.ray.node:
    cluster_file: "{{ rayctl_cluster_file }}"
    phases: [mounts, setup]
"""

RETURN = r"""
mounts: {description: Targets that were copied., returned: always, type: list, elements: str}
steps: {description: Steps that ran; each has C(index) and C(name)., returned: always, type: list, elements: dict}
ray: {description: Why Ray was started; null when it was left alone., returned: always, type: str}
step:
  description: The step that failed, with C(name), C(state), C(rc), C(seconds), C(tail) and C(log).
  returned: on failure
  type: dict
"""
