# SPDX-License-Identifier: Apache-2.0
"""The seam's other side: the provider, Ray's head, playbook runs, the journal's file, and people."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

from rayctl.config.load import load
from rayctl.config.model import ClusterConfig
from rayctl.errors import Category, NodeFailure, ProviderError, RayctlError
from rayctl.events import EventKind
from rayctl.gcs.autoscaler import DrainReason, NodeGroup, Report
from rayctl.gcs.view import Demand, RayNode
from rayctl.operations.scaling import handover
from rayctl.operations.scaling.head import Head
from rayctl.operations.scaling.plays import Plays
from rayctl.operations.scaling.right import Right
from rayctl.operations.scaling.watcher import Watcher
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts, LaunchRequest, ListsPrices, Node, Provider
from rayctl.providers.registry import provider_for
from rayctl.reconcile import journal as journals
from rayctl.reconcile import told
from rayctl.reconcile.journal import Journal
from rayctl.reconcile.seam import Listing, Played, Reply, Sight
from rayctl.reconcile.told import ScalerStatus
from rayctl.state import cluster, paths, private
from rayctl.transport.base import into_files

LOG_BYTES = 16 << 20  # of a log that is kept
AT_ONCE = 8  # calls to the provider side by side
SEAM = "rayctl-seam"  # threads of this name carry out what was begun through the seam
PRICES_S = 600.0


class RealOutside:
    """See `rayctl.reconcile.seam.Outside`. From `start` to `close` it asks the provider again and again."""

    def __init__(self, session: Session, log: Path | None = None) -> None:
        self._session = session
        self._folder = paths.cluster_dir(session.root, session.name)
        self._right = Right(session)
        self.head = Head(session, log)
        self._watcher = Watcher(self._provider)
        self._plays = Plays(session, self._keep_log)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=SEAM)
        self._replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._wanted = paths.scaler_wanted(session.root, session.name)
        self._flags = dict(session.overrides)
        self._read: object = None
        self.damaged = 0  # how often the cluster file could not be read
        self._prices: tuple[float, Mapping[str, float]] = (0.0, {})

    def start(self) -> None:
        """Begin to watch the provider."""
        self._watcher.start()

    def close(self) -> None:
        """Begin nothing more, and give back what is held. Nodes that are being set up go on, and are adopted later."""
        self._watcher.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._plays.close()
        self._right.release()
        self.head.close()

    def _provider(self) -> Provider:
        """One that remembers nothing."""
        return provider_for(self._session.config, self._session.loaded.folder)

    def now(self) -> float:
        """See `Outside`."""
        return time.time()

    def config(self) -> ClusterConfig:
        """See `Outside`."""
        stamp = self._stamps()
        if stamp != self._read:
            self._read = stamp
            try:
                flags = {**self._flags, **handover.handed_over(self._wanted)}
                self._session.loaded, self._session.overrides = load(self._session.loaded.path, **flags), flags
            except RayctlError as problem:
                self.damaged += 1
                text = f"{self._session.loaded.path} cannot be used, what it said before holds: {problem}"
                self._session.bus.emit(EventKind.WARNING, text=text)
        return self._session.config

    def _stamps(self) -> object:
        return _stamp(self._session.loaded.path), _stamp(self._wanted)

    def cluster_is_gone(self) -> bool:
        """Whether the provider knows of no such cluster any more: somebody has taken it down."""
        return self._watcher.no_cluster

    def hold(self) -> bool:
        """See `Outside`."""
        return self._right.hold()

    def release(self) -> None:
        """See `Outside`."""
        self._right.release()

    # ---- the provider
    def machines(self) -> Listing:
        """See `Outside`."""
        return self._watcher.newest()

    def prices(self) -> Mapping[str, float]:
        """See `Outside`. Those of some minutes ago will do."""
        asked, known = self._prices
        if time.monotonic() - asked > PRICES_S or not asked:
            provider = self._provider()
            if isinstance(provider, ListsPrices):
                with suppress(ProviderError):
                    known = provider.prices()
            self._prices = time.monotonic(), known
        return known

    def expect(self) -> None:
        """See `Outside`."""
        self._pool.submit(self._plays.expect)

    def launch(self, request: LaunchRequest) -> None:
        """See `Outside`."""
        self._pool.submit(self._launch, request)
        self._pool.submit(self._plays.expect)

    def _launch(self, request: LaunchRequest) -> None:
        try:
            reply = Reply(request, self._asked(lambda provider: provider.launch(request)))
        except ProviderError as error:
            reply = Reply(request, error=error)
        self._replies.put(reply)
        self._watcher.nudge()

    def _asked(self, question: Callable[[Provider], Any]) -> Any:
        provider = self._provider()
        try:
            return question(provider)
        except ProviderError:
            raise
        except RayctlError as problem:
            raise ProviderError(Category.TRANSIENT, problem.message, hint=problem.hint) from problem
        except Exception as problem:  # a stranger's provider may raise whatever it likes
            raise ProviderError(Category.TRANSIENT, f"{type(problem).__name__}: {problem}") from problem
        finally:
            if isinstance(provider, DeclaresHosts):
                provider.reach.close()

    def replies(self) -> Sequence[Reply]:
        """See `Outside`."""
        found = []
        while not self._replies.empty():
            found.append(self._replies.get())
        return found

    def terminate(self, machines: Sequence[Node]) -> None:
        """See `Outside`."""
        names = {machine.id: machine.name for machine in machines}
        self._pool.submit(self._change, names, "could not be ended", lambda provider: provider.terminate(list(names)))

    def set_tags(self, ids: Sequence[str], tags: Mapping[str, str]) -> None:
        """See `Outside`."""
        names = {id: id for id in ids}
        self._pool.submit(self._change, names, "", lambda provider: provider.set_tags(list(ids), tags))

    def _change(self, names: Mapping[str, str], words: str, change: Callable[[Provider], Any]) -> None:
        try:
            results = self._asked(change)
        except ProviderError as error:
            results = dict.fromkeys(names, error)
        for id, refusal in results.items():
            if refusal is not None and words:
                self.tell(EventKind.WARNING, names.get(id, id), text=f"{words}: {refusal.message} ({refusal.category})")
        self._watcher.nudge()

    # ---- Ray
    def ray(self) -> Sight:
        """See `Outside`."""
        return self.head.sight()

    def drain(self, node: RayNode, reason: DrainReason, message: str) -> str:
        """See `Outside`."""
        return self.head.ask(lambda client: client.drain(node, reason, message))

    def report(self, report: Report) -> None:
        """See `Outside`."""
        self.head.ask(lambda client: client.report(report))

    def describe(self, groups: Iterable[NodeGroup]) -> None:
        """See `Outside`."""
        self.head.ask(lambda client: client.describe(groups))

    def request(self, bundles: Sequence[Demand]) -> None:
        """See `Outside`."""
        self.head.ask(lambda client: client.request(bundles))

    def tell_drivers(self, lines: Sequence[str]) -> None:
        """See `Outside`."""
        if lines:
            self._pool.submit(self.head.tell_drivers, list(lines))

    # ---- nodes
    def play(self, names: Sequence[str], restart: str) -> None:
        """See `Outside`."""
        self._plays.begin(names, restart, self._session.config.scaler.setup_timeout_s)

    def played(self) -> Sequence[Played]:
        """See `Outside`."""
        return self._plays.ended()

    def _keep_log(self, failure: NodeFailure) -> str:
        """Keep what a set-up that failed has printed: its machine may soon be gone."""
        path = self._folder / "failed" / f"{failure.node}.log"
        about = "\n".join([f"{failure.node}: {failure.reason}", *([failure.step] if failure.step else []), "", ""])
        printed = self._printed(failure) or "\n".join([*failure.tail, ""]).encode(errors="surrogateescape")
        try:
            private.store(path, about.encode(errors="surrogateescape") + printed)
        except RayctlError:
            return ""
        return str(path)

    def _printed(self, failure: NodeFailure) -> bytes:
        """The log of the step on its node, or the end of it; nothing where it cannot be had."""
        if failure.unreachable or not failure.log:
            return b""
        with suppress(RayctlError, OSError), TemporaryDirectory(prefix="rayctl-") as folder:
            node = next(node for node in self.machines().machines if node.name == failure.node)
            log = Path(folder) / "log"
            with into_files(log, Path(folder) / "errors") as ends:
                failed = self._session.transport(node).run(f"tail -c {LOG_BYTES} {quote(failure.log)}", {}, ends=ends)
            return b"" if failed else log.read_bytes()
        return b""

    # ---- our own
    def recall(self) -> Journal | None:
        """See `Outside`. The numbers that `up` gave are taken too."""
        known, record = (
            journals.load(self._journal_file),
            cluster.load(paths.record_file(self._session.root, self._session.name)),
        )
        if record is None:
            return known
        base = known or Journal()
        names = {*base.sequences, *record.sequences}
        sequences = {name: max(base.sequences.get(name, 0), record.sequences.get(name, 0)) for name in names}
        return replace(base, sequences=sequences) if known or sequences else None

    def remember(self, journal: Journal) -> None:
        """See `Outside`."""
        journals.store(self._journal_file, journal)

    @property
    def _journal_file(self) -> Path:
        return paths.scaler_journal(self._session.root, self._session.name)

    def tell(self, kind: str, node: str = "", **data: Any) -> None:
        """See `Outside`."""
        self._session.bus.emit(kind, node, **data)

    def publish(self, status: ScalerStatus) -> None:
        """See `Outside`."""
        with suppress(RayctlError):  # a full disk; the scaler goes on
            told.write(paths.scaler_status(self._session.root, self._session.name), status)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever a file does; None while there is none."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
