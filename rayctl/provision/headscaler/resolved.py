# SPDX-License-Identifier: Apache-2.0
"""The cluster file as the head is to read it.

The flags of the command line are applied, every host says as whom and where it is reached, and nothing in it means a file
or a way of this machine: mounts are contents that lie on the head, the key is the head's own, and bastions, which lead in
from outside, are gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from rayctl.config.load import parse
from rayctl.config.model import EXTENSIONS, Auth, ClusterConfig
from rayctl.errors import RayctlError
from rayctl.provision.headscaler.facts import Facts, Met

HEADING = "# Written by rayctl from the cluster file: a change here is lost.\n"
LEFT_HERE = {"ssh_private_key", "ssh_public_key", "ssh_proxy_command", "ssh_proxy_jump", "ssh_proxy_use_node_id", "known_hosts"}
OTHERWISE = {"auth", "file_mounts", "max_workers", "min_workers", "plugin", "provider", "scaler"}  # than on this machine
Data = dict[str, Any]


def data(config: ClusterConfig, mounts: Mapping[str, str], key: str, facts: Facts, known_hosts: str) -> Data:
    """What the file says. `mounts` has where each target's content lies on the head, `key` the private key there.

    `known_hosts` is a file there that takes the place of the one that `auth` names, if it names one.
    """
    dumped = config.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"min_workers", "plugin"})
    said: Data = _without_notes(dumped)
    types = said.get("available_node_types", {})
    said |= {
        "available_node_types": {name: _node_type(config, name, types.get(name, {})) for name in config.available_node_types},
        "max_workers": config.max_workers,
        "head_node_type": config.head_type,
        "provider": _provider(said["provider"], facts, config.auth),
        "auth": {**_less(said.get("auth", {}), LEFT_HERE), "ssh_private_key": key, **_trust(config.auth, known_hosts)},
        "scaler": {**said.get("scaler", {}), "run_on": "head"},
        "file_mounts": dict(mounts),
    }
    # Ansible's own kinds of numbers and texts, in which flags come from a playbook, become plain ones
    plain: Data = json.loads(json.dumps(said))
    return {name: value for name, value in plain.items() if value not in (None, {}, [])}


def text(said: Data, config: ClusterConfig) -> str:
    """The file itself. Raises RayctlError where the head would read something else in it than was read here."""
    written = HEADING + yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=120)
    again = parse(written, "the head's cluster file").config
    differing = [name for name, value in _plain(config).items() if _plain(again)[name] != value]
    if differing:
        names = ", ".join(f"`{name}`" for name in differing)
        raise RayctlError(f"the scaler on the head would read {names} otherwise than this rayctl; please report it")
    return written


def _plain(config: ClusterConfig) -> Data:
    limits = [[name, config.min_workers_of(name), config.max_workers_of(name)] for name in config.available_node_types]
    found: Data = _without_notes(config.model_dump(mode="json", by_alias=True, exclude=OTHERWISE))
    types = {name: _less(one, {"min_workers", "max_workers"}) for name, one in found["available_node_types"].items()}
    return {**found, "limits": limits, "available_node_types": types}


def _without_notes(value: Any) -> Any:
    """Without what people keep for themselves under `x-` keys."""
    if isinstance(value, list):
        return [_without_notes(one) for one in value]
    return {key: _without_notes(one) for key, one in value.items() if key != EXTENSIONS} if isinstance(value, dict) else value


def _less(mapping: Mapping[str, Any], keys: set[str]) -> Data:
    return {key: value for key, value in mapping.items() if key not in keys}


def _node_type(config: ClusterConfig, name: str, said: Mapping[str, Any]) -> Data:
    """A type with its limits as they are after all rules: read again, they are the same."""
    return {**said, "min_workers": config.min_workers_of(name), "max_workers": config.max_workers_of(name)}


def _trust(auth: Auth, known_hosts: str) -> Data:
    """Who names the hosts that are trusted wants no other key believed by the head either."""
    return {"known_hosts": known_hosts} if auth.known_hosts else {}


def _provider(block: Mapping[str, Any], facts: Facts, auth: Auth) -> Data:
    hosts = [_host(host, facts.get(host["name"], Met()), auth) for host in block["hosts"]]
    return {**_less(block, {"head_ip", "worker_ips"}), "hosts": hosts}


def _host(host: Mapping[str, Any], met: Met, auth: Auth) -> Data:
    """What the file says of a host, and what it leaves to this machine's ssh, as the host told it."""
    told: Data = {} if auth.ssh_user else {"user": met.user}
    told |= {} if auth.ssh_port else {"port": met.port}
    unsaid = {"key"} | ({"name"} if host["name"] == host["address"] else set())  # not every address can be written as a name
    said = {key: value for key, value in host.items() if key not in unsaid and value not in (None, {})}
    return {**{key: value for key, value in told.items() if value}, **said}
