# SPDX-License-Identifier: Apache-2.0
"""The provider's listings, asked again and again beside the turns: a host that does not answer holds up no turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rayctl.errors import Category, ProviderError, RayctlError
from rayctl.providers.base import DeclaresHosts, Provider
from rayctl.reconcile.seam import Listing

FIRST_S = 60.0  # so long the first listing may take


class Watcher:
    """Lists in a thread of its own from `start` to `stop`. `provider` makes a new one for each listing."""

    def __init__(self, provider: Callable[[], Provider]) -> None:
        self._provider = provider
        self.no_cluster = False  # whether the provider knows of no such cluster any more
        self._newest: Listing | ProviderError | None = None
        self._asked = threading.Event()
        self._answered = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="rayctl-listing", daemon=True)

    def start(self) -> None:
        """Begin to list."""
        self._thread.start()

    def stop(self) -> None:
        """List no more; a listing that is under way comes to its end by itself."""
        self._stopped = True
        self._asked.set()

    def nudge(self) -> None:
        """List soon: something was changed."""
        self._asked.set()

    def newest(self) -> Listing:
        """The newest listing; at first it is waited for. Raises `ProviderError` where the last attempt failed."""
        if self._newest is None and not self._answered.wait(FIRST_S):
            raise ProviderError(Category.TRANSIENT, f"the provider has not answered for {FIRST_S:g} s")
        if isinstance(self._newest, ProviderError):
            raise self._newest
        assert self._newest is not None
        return self._newest

    def _run(self) -> None:
        while not self._stopped:
            self._asked.clear()
            every_s = 5.0
            try:
                provider = self._provider()
                every_s = provider.listing_every_s
                listing = _listed(provider)
                self.no_cluster = not (listing.machines or listing.silent) and provider.cluster_id() is None
                self._newest = listing
            except ProviderError as problem:
                self._newest = problem
            except RayctlError as problem:
                self._newest = ProviderError(Category.TRANSIENT, problem.message, hint=problem.hint)
            except Exception as problem:  # a stranger's provider may raise whatever it likes
                self._newest = ProviderError(Category.TRANSIENT, f"{type(problem).__name__}: {problem}")
            self._answered.set()
            self._asked.wait(every_s)


def _listed(provider: Provider) -> Listing:
    at = time.time()
    try:
        machines = tuple(provider.list_nodes())
        if not isinstance(provider, DeclaresHosts):
            return Listing(at, machines, provider.listing_lag_s)
        silent = {name: problem.message for name, problem in provider.silent().items()}
        taken = {name for name, standing in provider.standing().items() if standing.state == "taken"}
        hosts = tuple(host for host in provider.declared() if host.name not in taken)
        return Listing(at, machines, provider.listing_lag_s, hosts, silent)
    finally:
        if isinstance(provider, DeclaresHosts):
            provider.reach.close()
