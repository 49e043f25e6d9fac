# SPDX-License-Identifier: Apache-2.0
"""What an operation has to do about the scaler on the head, as data. Importing it costs nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rayctl.node.scaler_service import MARK
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts
from rayctl.provision.headscaler import why as reasons

if TYPE_CHECKING:
    from rayctl.provision.headscaler.target import Target


@dataclass(frozen=True)
class Work:
    """What is to be done about the scaler. `why`: why anything is on the head, `hosts` are to let its key in.

    `target` is the Python there. `leaves`: it runs there, and the file does not want that any more.
    """

    head: str = ""
    why: str = ""
    hosts: tuple[str, ...] = ()
    target: Target | None = None
    leaves: bool = False

    def __bool__(self) -> bool:
        return bool(self.why or self.hosts or self.leaves)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts that the play is about."""
        return tuple(dict.fromkeys([*([self.head] if self.why else []), *self.hosts]))

    def lines(self) -> list[str]:
        """In words, for the plan."""
        if self.leaves:
            return [f"scaler: remove it from {self.head}, because the file lets it run elsewhere or nowhere"]
        verbs = {
            reasons.INSTALL: f"install it on {self.head}", reasons.START: f"start it on {self.head}, because {reasons.START}",
            reasons.UPDATE: f"hand it what changed, on {self.head}; it goes on running",
            reasons.RENEW: f"renew and restart it on {self.head}, because {reasons.RENEW}",
        }  # fmt: skip
        found = [f"scaler: {verbs[self.why]}"] if self.why else []
        strangers = [name for name in self.hosts if not (self.why == reasons.INSTALL and name == self.head)]
        return found + ([f"scaler: let its key log in on {', '.join(strangers)}"] if strangers else [])


NOTHING = Work()


def is_inside(cluster_id: str | None) -> bool:
    """Whether this process is of the cluster's scaler on the head, or was started by it."""
    return bool(cluster_id) and os.environ.get(MARK) == cluster_id


def concerns(session: Session) -> bool:
    """Whether there is anything to be asked at all: the file wants a scaler on the head, or the head has one."""
    provider = session.provider
    if not isinstance(provider, DeclaresHosts):
        return False
    if session.config.scaler_runs_on == "head":
        return True
    return provider.head_scaler() is not None
