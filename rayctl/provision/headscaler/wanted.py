# SPDX-License-Identifier: Apache-2.0
"""What a head has of its scaler, against what it should have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from rayctl.config.digest import digest
from rayctl.provision.headscaler import service, why
from rayctl.provision.headscaler.target import Target
from rayctl.transport.glance import Glance


@dataclass(frozen=True)
class Had:
    """What is kept of the scaler on its head (`scaler.json`): digests, the Python that runs it, its public key.

    `asked` is what the file said of the Python then, `contents` are digests of mounts whose content is there.
    """

    cluster_id: str
    bundle: str
    environment: str
    target: Target
    asked: str
    key: str
    contents: tuple[str, ...]
    alive: bool

    @classmethod
    def of(cls, told: Mapping[str, Any] | None) -> Self | None:
        """From the look at the host; None for none, and for what cannot be read."""
        try:
            if told is None:
                return None
            words = {key: str(told[key]) for key in ("cluster_id", "bundle", "environment", "asked", "key")}
            contents = tuple(map(str, told["contents"]))
            return cls(target=Target.of(told["target"]), contents=contents, alive=bool(told["alive"]), **words)
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Wanted:
    """The digests of what a head should have."""

    cluster_id: str
    bundle: str
    environment: str

    def why(self, had: Had | None) -> str:
        """Why something is to be done there, in words that follow "because"; empty when nothing is."""
        if had is None or had.cluster_id != self.cluster_id:
            return why.INSTALL
        found = (
            (had.environment != self.environment, why.RENEW),
            (had.bundle != self.bundle, why.UPDATE),
            (not had.alive, why.START),
        )
        return next((reason for applies, reason in found if applies), "")


def environment(target: Target, wheels: str) -> str:
    """The digest of an environment made of these wheels, in hex."""
    return digest([target.python, target.minor, wheels]).partition(":")[2][:16]


def lets_in(seen: Glance, cluster_id: str, key: str) -> bool:
    """Whether a host lets the head's key in; `seen` must have been asked for keys."""
    line = f" {key} {service.marker(cluster_id)}"
    return bool(key) and any(f" {one.strip()}".endswith(line) for one in seen.keys)


def knows(seen: Glance, cluster_id: str) -> bool:
    """Whether it has any line of this cluster's."""
    return any(one.split()[-1:] == [service.marker(cluster_id)] for one in seen.keys)
