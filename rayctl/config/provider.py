# SPDX-License-Identifier: Apache-2.0
"""The `provider:` block of the first providers, and the table of all.

Every type that Ray or its older documents name can be written in a cluster file; whether rayctl can bring machines up there
is the business of `rayctl.providers`. Keys are checked, except where they belong to code that is not ours. Blocks of
providers that Ray has and rayctl meets less often are in `clouds`, which is imported only for a file that needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field

from rayctl.config.model import Block, ProviderBlock
from rayctl.config.words import Amount, Count, Flag, Host, HostKey, Int, Line, LocalPath, Port, TypeName, User, Word


class EmbeddedProvider(ProviderBlock):
    """Nodes are process groups on this machine, each with a loopback address of its own: no ssh, no docker, no root."""

    type: Literal["embedded"]
    python: LocalPath | None = Field(
        default=None, description="The Python interpreter whose Ray is used. Default: rayctl's own."
    )


class SimulatedProvider(ProviderBlock):
    """No machines at all: a simulated world with a clock of its own, for trying out plans and the scaler."""

    type: Literal["simulated"]
    world: LocalPath | None = Field(default=None, description="JSON file that holds the simulated world between commands.")
    nodes: Mapping[TypeName, Count] = Field(
        default_factory=dict, description="How many machines of each type run from the beginning. Default: none."
    )
    head_type: TypeName = Field(default="head", description="Which of the types in `nodes` is the head's.")
    capacity: Mapping[TypeName, Count] = Field(
        default_factory=dict, description="How many machines of a type there can be at once. Default: any number."
    )
    prices: Mapping[TypeName, Amount] = Field(default_factory=dict, description="Price per hour of a machine of each type.")
    boot_s: tuple[Amount, Amount] = Field(
        default=(0.0, 0.0), description="Seconds between launch and running, the least and the most."
    )
    stop_s: Amount = Field(default=0.0, description="Seconds between a termination and the machine's end.")
    listing_lag_s: Amount = Field(default=0.0, description="For so many seconds a listing may still tell the old story.")
    seed: Int = Field(default=0, description="Seed of what happens by chance in that world.")


class DeclaredHost(Block):
    """A host of your own, with the settings in which it differs from the cluster's."""

    short_form = "address"
    what = "a host: an address, or a mapping with `address:`"

    address: Host = Field(description="Host name or IP address, by which both rayctl and the other nodes reach it.")
    name: TypeName | None = Field(default=None, description="Its name in the inventory. Default: its address.")
    user: User | None = Field(default=None, description="The login user there, instead of `auth.ssh_user`.")
    port: Port | None = Field(default=None, description="The ssh port there, instead of `auth.ssh_port`.")
    key: LocalPath | None = Field(default=None, description="Local path of the private key, instead of `auth.ssh_private_key`.")
    host_key: HostKey | None = Field(
        default=None,
        description="Its host key, or the key's fingerprint as `ssh-keygen -l` shows it. Default: as `auth.known_hosts` says.",
    )
    python: Word | None = Field(default=None, description="The Python interpreter there. Default: the first `python3` found.")
    resources: Mapping[Word, Amount] = Field(
        default_factory=dict, description="What Ray may hand out there, over what its node type says."
    )
    labels: Mapping[Word, Line] = Field(default_factory=dict, description="Ray labels, over those of its node type.")
    type: TypeName | None = Field(default=None, description="Its node type. Default: `head` for the head, else `worker`.")
    head: Flag = Field(default=False, description="This host is the head. Default: the first host of the list is.")

    @property
    def inventory_name(self) -> str:
        """What Ansible calls it: the name given here, else the address."""
        return self.name or self.address


class RaysProvider(ProviderBlock):
    """Keys that Ray knows for every provider of its own."""

    use_internal_ips: Flag | None = Field(
        default=None, description="Reach nodes by their internal addresses; needs no public ones."
    )
    use_external_head_ip: Flag | None = Field(
        default=None, description="Reach the head by its public address, workers by internal ones."
    )
    external_head_ip: Host | None = Field(default=None, description="The head's address as seen from outside.")
    use_node_id_as_ip: Flag | None = Field(
        default=None, description="Ray's own: nodes share one address and are told apart by id."
    )
    disable_node_updaters: Flag | None = Field(default=None, description="Ray's own: run no commands on nodes.")
    disable_launch_config_check: Flag | None = Field(
        default=None, description="Ray's own: never replace nodes whose type changed."
    )
    foreground_node_launch: Flag | None = Field(default=None, description="Ray's own: launch nodes one after the other.")
    worker_liveness_check: Flag | None = Field(
        default=None, description="Ray's own: whether workers that answer no more are restarted."
    )


class LocalProvider(RaysProvider):
    """Hosts of your own. Once loaded, `hosts` names all of them, with type and name, and exactly one is the head."""

    type: Literal["local"]
    head_ip: Host | None = Field(default=None, description="The head's address; or use `hosts`.")
    worker_ips: tuple[Host, ...] = Field(default=(), description="The workers' addresses; or use `hosts`.")
    hosts: tuple[DeclaredHost, ...] = Field(
        default=(), description="All hosts, each with settings of its own where it needs them."
    )
    coordinator_address: Line | None = Field(
        default=None, description="`host:port` of a coordinator that hands out hosts, instead of naming them here."
    )


class ExternalProvider(ProviderBlock):
    """A provider class of your own; every other key is handed to it unchecked."""

    model_config = ConfigDict(extra="allow")

    type: Literal["external"]
    module: Word = Field(description="Import path of the class, for example `mypackage.mymodule.MyProvider`.")


class InstalledProvider(ProviderBlock):
    """A provider that an installed package offers by an entry point; every key but `type` is handed to it unchecked."""

    model_config = ConfigDict(extra="allow")


class UncheckedProvider(ProviderBlock):
    """Systems whose keys Ray's schema never listed; they are kept unchecked."""

    model_config = ConfigDict(extra="allow")

    type: Literal["staroid", "slurm", "yarn"]


_HERE: dict[str, type[ProviderBlock]] = {
    "embedded": EmbeddedProvider,
    "local": LocalProvider,
    "simulated": SimulatedProvider,
    "external": ExternalProvider,
    "staroid": UncheckedProvider,
    "slurm": UncheckedProvider,
    "yarn": UncheckedProvider,
}
_CLOUDS = {
    "aws": "AwsProvider",
    "gcp": "GcpProvider",
    "azure": "AzureProvider",
    "kubernetes": "KubernetesProvider",
    "kuberay": "KubernetesProvider",
    "vsphere": "VsphereProvider",
    "aliyun": "AliyunProvider",
    "spark": "SparkProvider",
    "readonly": "ReadonlyProvider",
    "fake_multinode": "FakeProvider",
    "fake_multinode_docker": "FakeProvider",
}
GROUP = "rayctl.providers"  # the entry points' group; `providers/registry.py` loads them
TYPES = (*_HERE, *_CLOUDS)


def _is_installed(provider_type: str) -> bool:
    """Whether an installed package offers a provider of this name; the package is not imported."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - a look at all that is installed, for unknown names only

    return bool(entry_points(group=GROUP, name=provider_type))


def block_of(provider_type: str) -> type[ProviderBlock] | None:
    """The class of a provider type's block; None for a type that nobody knows."""
    if provider_type in _HERE:
        return _HERE[provider_type]
    if provider_type not in _CLOUDS:
        return InstalledProvider if _is_installed(provider_type) else None
    from rayctl.config import clouds  # noqa: PLC0415 - twenty classes that most files do not need

    block: type[ProviderBlock] = getattr(clouds, _CLOUDS[provider_type])
    return block
