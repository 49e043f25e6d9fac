# SPDX-License-Identifier: Apache-2.0
"""Declared hosts (`provider: {type: local}`): which there are, which one is the head, of what type each is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rayctl.config.model import ClusterConfig, NodeType
from rayctl.config.places import Path
from rayctl.config.problems import Finding, nearest
from rayctl.config.provider import DeclaredHost, LocalProvider


@dataclass(frozen=True)
class Hosts:
    """All hosts of the block, in its order; `head` is the index of the head among them."""

    provider: LocalProvider
    all: tuple[DeclaredHost, ...]
    head: int

    @classmethod
    def of(cls, provider: LocalProvider) -> Hosts:
        """Those under `hosts:`, or else `head_ip` followed by `worker_ips`."""
        head = (DeclaredHost.model_construct(address=provider.head_ip, head=True),) if provider.head_ip else ()
        every = provider.hosts or (*head, *(DeclaredHost.model_construct(address=address) for address in provider.worker_ips))
        return cls(provider, every, next((index for index, host in enumerate(every) if host.head), 0))

    @property
    def head_type(self) -> str | None:
        """The node type that the head names for itself."""
        return self.all[self.head].type if self.all else None

    def types(self) -> dict[str, NodeType]:
        """The node types that the hosts themselves name, for a file that declares none."""
        workers = [host.type for index, host in enumerate(self.all) if index != self.head and host.type]
        return {name: NodeType.model_construct() for name in (self.head_type or "head", *(workers or ["worker"]))}

    def path(self, index: int, *keys: str) -> Path:
        """Where a host stands in the file."""
        if self.provider.hosts:
            return ("provider", "hosts", index, *keys)
        return ("provider", "head_ip") if index == self.head else ("provider", "worker_ips", index - 1)


def errors(config: ClusterConfig, provider: LocalProvider) -> list[Finding]:
    """What is wrong with the hosts, given that the head's node type is known."""
    hosts = Hosts.of(provider)
    if not hosts.all:
        return [] if provider.coordinator_address else [_no_hosts()]
    return [*_form_errors(provider), *_twice(hosts), *_second_heads(hosts), *_type_errors(config, hosts)]


def settled(config: ClusterConfig, provider: LocalProvider) -> tuple[ClusterConfig, list[Finding]]:
    """The configuration with every host's name, type and role written out, and limits that fit the hosts."""
    hosts = Hosts.of(provider)
    if not hosts.all:
        return config, []
    named = tuple(_complete(config, host, is_head=index == hosts.head) for index, host in enumerate(hosts.all))
    config, warnings = _limited(config, Counter(host.type for host in named if host.type and not host.head))
    return config.model_copy(update={"provider": provider.model_copy(update={"hosts": named})}), warnings


def _no_hosts() -> Finding:
    hint = "add `hosts:`, or `head_ip:` and `worker_ips:`"
    return Finding(("provider",), "`provider` names no hosts", hint, on_key=True)


def _form_errors(provider: LocalProvider) -> list[Finding]:
    if provider.hosts and (provider.head_ip or provider.worker_ips):
        key = "head_ip" if provider.head_ip else "worker_ips"
        return [
            Finding(("provider", key), f"`hosts` and `{key}` both say which hosts there are", f"remove `{key}`", on_key=True)
        ]
    if not provider.hosts and not provider.head_ip:
        message = "`provider.head_ip` is missing: which host is the head?"
        return [Finding(("provider", "head_ip"), message, "add it, or list all hosts under `hosts:`")]
    return []


def _twice(hosts: Hosts) -> list[Finding]:
    """A host counts as given twice when it shares its address or its inventory name with an earlier one."""
    found, known = [], set[str]()
    for index, host in enumerate(hosts.all):
        both = {host.address, host.inventory_name}
        if again := both & known:
            found.append(Finding(hosts.path(index), f"host `{min(again)}` is given twice", "remove one of the two"))
        known |= both
    return found


def _second_heads(hosts: Hosts) -> list[Finding]:
    first = hosts.all[hosts.head].address
    return [
        Finding(
            hosts.path(index, "head"), f"`{host.address}` is a second head; `{first}` is the first", "keep `head: true` on one"
        )
        for index, host in enumerate(hosts.all)
        if host.head and index != hosts.head
    ]


def _type_errors(config: ClusterConfig, hosts: Hosts) -> list[Finding]:
    found, known = [], list(config.available_node_types)
    for index, host in enumerate(hosts.all):
        where = hosts.path(index, "type")
        if host.type and host.type not in known:
            hint = nearest(host.type, known) or f"there are {', '.join(known)}"
            found.append(Finding(where, f"host `{host.address}` names no node type: `{host.type}`", hint))
        elif index == hosts.head and host.type and host.type != config.head_type:
            message = f"host `{host.address}` is the head, but not of the head's type `{config.head_type}`"
            found.append(Finding(where, message, f"set `head_node_type: {host.type}`, or remove the host's type"))
        elif index != hosts.head and not host.type and len(config.worker_types) > 1:
            hint = f"list it under `hosts:` with a `type:`, one of {', '.join(config.worker_types)}"
            found.append(Finding(where, f"of which type is host `{host.address}`? Workers have several", hint))
    return found


def _complete(config: ClusterConfig, host: DeclaredHost, *, is_head: bool) -> DeclaredHost:
    if is_head:
        node_type = config.head_type
    elif host.type == config.head_type:
        node_type = f"{host.type}-worker"
    else:
        node_type = host.type or next(iter(config.worker_types), "worker")
    return host.model_copy(update={"name": host.inventory_name, "type": node_type, "head": is_head})


def _limited(config: ClusterConfig, counts: Counter[str]) -> tuple[ClusterConfig, list[Finding]]:
    """Limits that fit the hosts. As with Ray, what asks for more hosts than there are gets all of them, and a warning."""
    limit = min(config.max_workers, counts.total()) if "max_workers" in config.model_fields_set else counts.total()
    twin = config.available_node_types[config.head_type].model_copy(update={"max_workers": None})
    types = dict(config.available_node_types)
    for name in counts:
        types.setdefault(name, twin if name == f"{config.head_type}-worker" else NodeType.model_construct())
    warnings, left = [], limit
    for name in [name for name in types if name != config.head_type]:
        asked = _asked(config, types[name], min(counts[name], left))
        if asked > counts[name]:
            warnings.append(_too_few(("available_node_types", name, "min_workers"), f"node type `{name}`", asked, counts[name]))
        least = min(asked, counts[name])
        most = counts[name] if types[name].max_workers is None else min(types[name].max_workers or 0, counts[name])
        types[name] = types[name].model_copy(update={"min_workers": least, "max_workers": most})
        left = max(0, left - least)
    changes = {"available_node_types": types, "max_workers": limit}
    if config.min_workers > counts.total():
        warnings.append(_too_few(("min_workers",), "`min_workers`", config.min_workers, counts.total()))
        changes["min_workers"] = counts.total()
    return config.model_copy(update=changes), warnings


def _asked(config: ClusterConfig, node_type: NodeType, default: int) -> int:
    """The minimum that the file gives a type: its own, none beside a global one, else all of its hosts."""
    if "min_workers" in node_type.model_fields_set:
        return node_type.min_workers
    if "min_workers" in config.model_fields_set:
        return 0
    return default if node_type.max_workers is None else min(default, node_type.max_workers)


def _too_few(path: Path, who: str, asked: int, there: int) -> Finding:
    return Finding(path, f"{who} asks for {asked} workers, but there are {there} such hosts", f"set `min_workers: {there}`")
