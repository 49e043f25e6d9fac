# SPDX-License-Identifier: Apache-2.0
"""One host is brought to what the scaler on the head needs: each lets the head's key in, and the head gets all the rest.

Hosts are handled in processes of their own; what all of them need of the head is found out by the first one, and kept in
the run's folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from rayctl.errors import RayctlError
from rayctl.providers.base import Kind, Node
from rayctl.provision import delivery
from rayctl.provision.deployment import Deployment
from rayctl.provision.digests import once_per_run
from rayctl.provision.headscaler import bundle as bundles
from rayctl.provision.headscaler import facts, service, wanted, wheelhouse
from rayctl.provision.headscaler import why as reasons
from rayctl.provision.headscaler.asking import ask, target_of
from rayctl.provision.headscaler.target import Target
from rayctl.provision.headscaler.wheeldigest import digest_for
from rayctl.provision.mounts import Mount
from rayctl.provision.progress import Report
from rayctl.state import cluster, paths
from rayctl.transport.base import Transport
from rayctl.transport.glance import Glance
from rayctl.transport.ssh import SshTransport

KEPT_BY = {"system": "systemd", "user": "the user's systemd", "supervisor": "a process of its own, for want of systemd,"}
CHANGES = {"environment": "a new environment", "file": "a new cluster file", "restarted": "started anew"}
INSTALLED, CHANGED, ALLOWED = "the scaler runs", "the scaler was brought up to date", "the head's key is let in"


def look(transport: Transport) -> Glance:
    """What a declared host tells. Raises `Unreachable`."""
    assert isinstance(transport, SshTransport)
    return transport.glance()


class Installation:
    """What is done to one host of a cluster whose identity is known. `run_folder` belongs to the run alone.

    `learn`: ask all hosts as whom they are reached; who ran the playbook has not done so.
    """

    def __init__(
        self, deployment: Deployment, node: Node, *, run_folder: Path, report: Report, check: bool = False, learn: bool = False
    ) -> None:
        assert deployment.cluster_id is not None
        self.deployment, self.node, self.check = deployment, node, check
        self.cluster_id = deployment.cluster_id
        self._run_folder, self._report, self._learn = run_folder, report, learn
        self._head = next(one for one in deployment.nodes if one.kind is Kind.HEAD)
        self._marker = service.marker(self.cluster_id)

    def run(self) -> dict[str, Any]:
        """{changed, failed, message}; in check mode what would be. Raises RayctlError."""
        seen = look(self._transport)
        done = [ALLOWED] if self._allowed(seen) else []
        if self.node.kind is Kind.HEAD and (why := self._installed(wanted.Had.of(seen.scaler))):
            done.append(f"{INSTALLED if why in (reasons.INSTALL, reasons.START) else CHANGED}, because {why}")
        outcome = {"changed": bool(done), "failed": False, "cancelled": False, "message": "; ".join(done)}
        self._report({"event": "done", **outcome})
        return outcome

    @property
    def _transport(self) -> Transport:
        return self.deployment.transport(self.node)

    # ---- the key
    def _allowed(self, seen: Glance) -> bool:
        """Let the head's key in; whether that was, or would be, a change."""
        key = self._key()
        if wanted.lets_in(seen, self.cluster_id, key):
            return False
        if not self.check:
            ask(self._transport, {"op": "authorize", "key": key, "marker": self._marker})
        return True

    def _key(self) -> str:
        """The head's public key, made there if there is none; empty in check mode when there is none."""
        head = self.deployment.transport(self._head)
        had = self._once("had", lambda: look(head).scaler)
        known = wanted.Had.of(had)
        if known is not None and known.cluster_id == self.cluster_id:
            return known.key
        if self.check:
            return ""
        made: str = self._once("key", lambda: ask(head, {"op": "scaler_key", "marker": self._marker})["key"])
        return made

    def _once(self, what: str, find: Callable[[], Any]) -> Any:
        """What is the same for all hosts of a run: found by the first one, while the others wait."""
        memo = self._run_folder / f"rayctl-scaler-{what}"
        with open(f"{memo}.lock", "a") as lock:  # noqa: PTH123
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not memo.exists():
                memo.write_text(json.dumps(find()))
            return json.loads(memo.read_text())

    # ---- the head
    def _installed(self, had: wanted.Had | None) -> str:
        """Bring the head to what it should have; why, empty where it has it."""
        target = target_of(self.deployment, self._transport, had)
        want = wanted.Wanted(self.cluster_id, self._bundle.digest, wanted.environment(target, digest_for(target)))
        why = want.why(had)
        if why and not self.check:
            self._install(want, target, had if had and had.cluster_id == self.cluster_id else None)
        return why

    @cached_property
    def _bundle(self) -> bundles.Bundle:
        digests = once_per_run(self.deployment.mounts, self._run_folder)
        folder = paths.cluster_dir(paths.home(os.environ), self.deployment.config.cluster_name)
        if not self._learn:
            return bundles.Bundle.of(self.deployment, digests, facts.recalled(folder))
        answers = self.deployment.reach.look(bundles.connections(self.deployment))
        return bundles.Bundle.of(self.deployment, digests, facts.learnt(folder, answers, keep=not self.check))

    def _install(self, want: wanted.Wanted, target: Target, had: wanted.Had | None) -> None:
        files = self._bundle.files()
        for content, mount in self._bundle.contents.items():
            if had is None or content not in had.contents:
                self._tell(f"copying what is mounted at {mount.target}")
                delivery.deliver(mount, self._transport)
        house = wheelhouse.make(wheelhouse.plan(target))
        if had is None or had.environment != want.environment:
            self._tell(f"copying rayctl and what it needs, for Python {target.minor}")
            place = f"{service.folder(self._transport.connection.state_dir)}/wheels"
            delivery.deliver(Mount(place, house), self._transport)
        request = {
            "op": "scaler_install",
            "environment": {
                "digest": want.environment, "python": target.python, "version": target.minor, "wheels": wheelhouse.names(house),
            },
            "bundle": {"digest": want.bundle, "files": files, "contents": list(self._bundle.contents)},
            "record": self._record(), "words": list(service.COMMAND), "note": self._note(target),
        }  # fmt: skip
        done = ask(self._transport, request)
        changed = [CHANGES[word] for word in done["changed"]]
        self._tell(f"{', '.join(changed) or 'nothing changed'}; {KEPT_BY[done['kind']]} keeps it running")

    def _record(self) -> Mapping[str, Any]:
        """The cluster as this controller knows it."""
        name = self.deployment.config.cluster_name
        where = service.current(self._transport.connection.state_dir, bundles.CLUSTER_FILE)
        known = cluster.load(paths.record_file(paths.home(os.environ), name))
        mine = known if known and known.cluster_id == self.cluster_id else None
        sequences = dict(mine.sequences) if mine else {}
        return asdict(cluster.ClusterRecord(name, self.cluster_id, where, time.time(), sequences))

    def _note(self, target: Target) -> Mapping[str, Any]:
        config = self.deployment.config
        return {
            "cluster": config.cluster_name, "cluster_id": self.cluster_id, "target": asdict(target),
            "asked": config.scaler.python or "", "key": self._key(), "contents": list(self._bundle.contents),
        }  # fmt: skip

    def _tell(self, text: str) -> None:
        self._report({"event": "scaler", "text": f"scaler: {text}"})


def removed(transport: Transport, cluster_name: str, cluster_id: str, *, apart: int = 0) -> None:
    """End the scaler of a head and remove all of it. Raises RayctlError when something does not end.

    `apart`: this process on that host is part of it; it ends when the process has, and nothing more can be told.
    """
    marker = service.marker(cluster_id)
    request = {"op": "scaler_remove", "cluster": cluster_name, "cluster_id": cluster_id, "marker": marker, "apart": apart}
    if left := ask(transport, request)["left"]:
        raise RayctlError(f"these processes of the scaler on {transport.connection.name} do not end: {', '.join(left)}")


def withdrawn(transport: Transport, cluster_id: str) -> None:
    """Let a head's key in no more."""
    ask(transport, {"op": "withdraw", "marker": service.marker(cluster_id)})
