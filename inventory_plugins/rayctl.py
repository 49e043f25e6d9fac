# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: rayctl
short_description: The nodes of a Ray cluster, from its cluster file
description:
  - The cluster file itself is an inventory source where this plugin is enabled, or where its key C(plugin) has the value
    C(rayctl.ray.rayctl).
  - Elsewhere a small file C(NAME.rayctl.yml) names it.
  - Groups are C(ray_head), C(ray_worker), C(ray_type_TYPE) and C(ray_status_STATUS). All values are data; nothing from a
    cluster file is ever a template.
extends_documentation_fragment: [constructed]
options:
  plugin:
    description: Says that the file is meant for this plugin.
    choices: [rayctl.ray.rayctl]
  cluster:
    description: Path of the cluster file, relative to this file.
    type: str
  cluster_name:
    description: Another name for the cluster than the file's.
    type: str
  min_workers:
    description: As C(rayctl up --min-workers).
    type: int
  max_workers:
    description: As C(rayctl up --max-workers).
    type: int
"""

EXAMPLES = r"""
# demo.rayctl.yml, beside the team's own inventory
plugin: rayctl.ray.rayctl
cluster: ../clusters/demo.yaml
keyed_groups:
  - {key: rayctl_type, prefix: ray}
"""

import sys
import typing as t
from pathlib import Path

from ansible import context
from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible.utils.display import Display
from ansible_collections.rayctl.ray.plugins.plugin_utils.tree import rayctl  # noqa: F401  (makes the package importable)

from rayctl.errors import RayctlError
from rayctl.provision import inventory as source

PARSER_ERROR = 4  # ansible-playbook's own exit code for what it cannot read
POINTERS = (".rayctl.yml", ".rayctl.yaml")


def stop(message: str) -> t.NoReturn:
    """End the whole command.

    An exception would not: Ansible would hand the file to its next inventory plugin, which makes groups of its keys and no
    hosts, and a playbook over no hosts ends with success.
    """
    Display().error(message, wrap_text=False)
    sys.exit(PARSER_ERROR)


class InventoryModule(BaseInventoryPlugin, Constructable):
    """Thin: `rayctl.provision.inventory` knows the hosts, groups and variables."""

    NAME = "rayctl.ray.rayctl"
    trusted_by_default = False  # Ansible's default too; said here because everything hangs on it

    def verify_file(self, path: str) -> bool:
        """A pointer file, or a file that looks like a cluster file."""
        if not super().verify_file(path) or not path.endswith((".yml", ".yaml")):
            return False
        return path.endswith(POINTERS) or source.looks_like_cluster_file(Path(path))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        """Fill the inventory."""
        super().parse(inventory, loader, path, cache)
        source.die_with_owner()
        overrides: dict[str, t.Any] = {}
        cluster = Path(path)
        if path.endswith(POINTERS):
            self._read_config_data(path)
            if not self.get_option("cluster"):
                raise AnsibleParserError(f"{path}: the key `cluster` must name the cluster file")
            cluster = cluster.parent / str(self.get_option("cluster"))
            overrides = {k: self.get_option(k) for k in ("cluster_name", "min_workers", "max_workers")}
            overrides = {k: str(v) if isinstance(v, str) else v for k, v in overrides.items() if v is not None}
        try:
            found = source.read(cluster.resolve(), overrides)
        except RayctlError as e:
            stop(f"{e.message} {e.hint}".strip())
        if not found.hosts and context.CLIARGS.get("subset") and len(context.CLIARGS.get("inventory") or ()) == 1:
            stop(f"The cluster {found.variables['rayctl_cluster_name']} has no nodes yet: run it without --limit first.")
        self._fill(found)

    def _fill(self, found: source.Inventory) -> None:
        for group in found.groups:
            self.inventory.add_group(group)
        for key, value in found.variables.items():
            self.inventory.set_variable("all", key, value)
        for group in source.GROUPS.values():
            for key, value in found.node_variables.items():
                self.inventory.set_variable(group, key, value)
        for host in found.hosts:
            self.inventory.add_host(host.name)
            for group in host.groups:
                self.inventory.add_child(group, host.name)
            for key, value in host.variables.items():
                self.inventory.set_variable(host.name, key, value)
        if self._options.get("plugin"):
            self._construct([host.name for host in found.hosts])

    def _construct(self, names: list[str]) -> None:
        compose, groups, keyed, strict = (self.get_option(o) for o in ("compose", "groups", "keyed_groups", "strict"))
        if not (compose or groups or keyed):
            return
        for name in names:
            known = self.inventory.get_host(name).get_vars()
            self._set_composite_vars(compose, known, name, strict=strict)
            self._add_host_to_composed_groups(groups, known, name, strict=strict)
            self._add_host_to_keyed_groups(keyed, known, name, strict=strict)
