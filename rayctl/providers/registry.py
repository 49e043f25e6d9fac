# SPDX-License-Identifier: Apache-2.0
"""From a cluster file's `provider:` block to the provider that serves it.

Our own providers are found by name, without a look at what is installed. Other types may come from any installed package
by an entry point in the group `rayctl.providers`, or by `{type: external, module: package.Class}`. Nothing is added to the
import path for that: code is imported from where Python would find it anyway.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol

from rayctl.config.files import expand_local
from rayctl.config.model import Auth
from rayctl.config.problems import nearest
from rayctl.config.provider import TYPES
from rayctl.errors import Refused, UsageError
from rayctl.providers.base import Provider
from rayctl.transport.connection import Ssh

GROUP = "rayctl.providers"
BUILT = {
    "embedded": "rayctl.providers.embedded:EmbeddedProvider",
    "local": "rayctl.providers.local:LocalProvider",
    "simulated": "rayctl.providers.simulated:SimulatedProvider",
}
NOT_BUILT = frozenset(TYPES).difference(BUILT, ["external"])


class ProviderSettings(Protocol):
    """The `provider:` block as far as it matters here."""

    @property
    def type(self) -> str:
        """The provider's name, as written in the file."""

    def model_dump(self) -> dict[str, Any]:
        """The block as a plain mapping."""


class ProvidedCluster(Protocol):
    """The part of a cluster's configuration that decides who provides its machines."""

    @property
    def cluster_name(self) -> str:
        """The cluster's name."""

    @property
    def provider(self) -> ProviderSettings:
        """The `provider:` block."""

    @property
    def auth(self) -> Auth:
        """The `auth:` block."""


def provider_for(config: ProvidedCluster, folder: Path = Path()) -> Provider:
    """The provider of a cluster whose file lies in `folder`, ready to be asked. Keys without a value do not reach it.

    Raises `Refused` for a type that this rayctl cannot serve, `UsageError` for one that nobody knows.
    """
    settings = {key: value for key, value in config.provider.model_dump().items() if value is not None}
    provider = _class_of(config.provider.type, settings)(config.cluster_name, settings)
    provider.ssh, provider.folder = _ssh(config.auth, folder), folder
    provider.scaled_by_head = getattr(config, "scaler_runs_on", "off") == "head"
    return provider


def _ssh(auth: Auth, folder: Path) -> Ssh:
    """What the file says of all ssh connections."""
    key, known_hosts = (str(expand_local(path, folder)) if path else "" for path in (auth.ssh_private_key, auth.known_hosts))
    return Ssh(
        user=auth.ssh_user or "", port=auth.ssh_port or 0, key=key, proxy_command=auth.ssh_proxy_command or "",
        proxy_jump=auth.ssh_proxy_jump or "", known_hosts=known_hosts,
    )  # fmt: skip


def _class_of(name: str, settings: dict[str, Any]) -> type[Provider]:
    if name in BUILT:
        return _checked(BUILT[name], f'provider type "{name}"')
    if name == "external":
        return _external(str(settings.get("module", "")))
    from importlib.metadata import entry_points  # noqa: PLC0415 - a look at all that is installed; ours are found without

    for point in entry_points(group=GROUP, name=name):
        return _checked(point.value, f'provider type "{name}"')
    if name in NOT_BUILT:
        built = "this rayctl brings up embedded clusters and declared hosts (type: local)"
        raise Refused(f'provider type "{name}" is not built yet: {built}; nothing was touched.')
    raise UsageError(f'provider type "{name}" is unknown', hint=nearest(name, TYPES))


def _external(module: str) -> type[Provider]:
    package, dot, name = module.rpartition(".")
    if not dot or not package or not name.isidentifier():
        raise Refused(f'provider.module must name a class as "package.Class", and is "{module}"; nothing was touched.')
    return _checked(f"{package}:{name}", f'provider.module "{module}"')


def _checked(target: str, what: str) -> type[Provider]:
    """The class at `package.module:Class`, if it is there and a whole provider."""
    package, _, name = target.partition(":")
    found = getattr(_imported(package, what), name, None)
    if found is None:
        raise Refused(f"{what}: {package} has no class {name}; nothing was touched.")
    if not (isinstance(found, type) and issubclass(found, Provider)):
        raise Refused(f"{what}: {name} is no subclass of rayctl.providers.base.Provider; nothing was touched.")
    if missing := ", ".join(sorted(found.__abstractmethods__)):
        raise Refused(f"{what}: {name} does not implement {missing}; nothing was touched.")
    return found


def _imported(package: str, what: str) -> Any:
    try:
        return importlib.import_module(package)
    except Exception as problem:  # whatever a stranger's module raises: the user wants its one sentence
        raise Refused(
            f"{what} cannot be imported ({problem.__class__.__name__}: {problem}); nothing was touched.",
            hint="Install it where rayctl is installed, or name its folder in PYTHONPATH.",
        ) from problem
