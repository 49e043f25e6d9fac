# SPDX-License-Identifier: Apache-2.0
"""What a controller may ask of a host about scalers; sent along with the rest of the node code only by who asks.

{op: "scaler_probe", python}                   what there is to run one with (`scaler_probe.probe`)
{op: "scaler_key", state_dir, marker}          the scaler's public key: `key`
{op: "scaler_install", state_dir, ...}         bring the head's scaler to this: see `install`
{op: "scaler_remove", state_dir, cluster, cluster_id, marker, apart}
                                               end it and remove all of it; `left` are processes that do not end.
                                               `apart`: a process of the scaler's asks, and is to end first by itself
{op: "authorize", key, marker}                 let the head's key in: `changed`
{op: "withdraw", marker}                       let it in no more: `changed`

What a head has is kept in its own folder, beside the node's state, where a look at the host finds it: `scaler.json`.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Dict, Iterator

from . import access, leaving, ops, processes, scaler_folder, scaler_home, scaler_launch, scaler_probe, scaler_service, state
from .wire import Message

RECORD = "scaler.json"
SOCKETS = "/tmp/rayctl-%d"  # noqa: S108  the folder of ssh's masters, looked at only where it is private
ASKS_S = 30.0
LOCK_S = 180.0  # an environment is unpacked and tried out within seconds, on a machine that is very busy within minutes


def _probe(request: Message) -> Message:
    return scaler_probe.probe(request["python"])


def _key(request: Message) -> Message:
    folder = scaler_folder.path_of(request["state_dir"])
    with _locked(folder):
        return {"key": scaler_folder.public_key(folder, request["marker"])}


def install(request: Message) -> Message:
    """Unpack, let the bundle hold, start: {changed: what changed in words, kind: of service}.

    The request has `bundle` {digest, files, contents}, `environment` {digest, python, version, wheels}, `record` (the
    cluster's), `words` of the daemon (`{file}` is its cluster file), and `note`, which is kept as it is. An environment that
    changed restarts the daemon, a bundle that changed does not: it reads its file again by itself.
    """
    state_dir, wanted, bundle, record = (request[key] for key in ("state_dir", "environment", "bundle", "record"))
    folder = scaler_folder.path_of(state_dir)
    with _locked(folder):
        known = read(state_dir)
        place = scaler_folder.environment(folder, wanted["digest"], wanted["python"], wanted["version"], wanted["wheels"])
        other = scaler_folder.bundle(folder, bundle["digest"], bundle["files"], bundle["contents"])
        home = scaler_home.prepare(folder, state_dir, record, bundle["files"].get("known_hosts", ""))
        service = scaler_service.Service(
            record["name"], record["cluster_id"], state_dir, home, os.path.join(place, "bin", "python"),
            [word.replace("{file}", os.path.join(folder, scaler_folder.CURRENT, "cluster.yaml")) for word in request["words"]],
        )  # fmt: skip
        anew = known.get("environment") != wanted["digest"]
        note = dict(request["note"], bundle=bundle["digest"], environment=wanted["digest"])
        # from here on there is something to be removed, though it may not come to run
        _write(state_dir, dict(note, environment="" if anew else wanted["digest"], service=known.get("service", "")))
        done = scaler_service.ensure(service, restart=anew)
        _write(state_dir, dict(note, service=done["kind"]))
        earlier = known.get("bundle", "")
        scaler_folder.sweep(folder, wanted["digest"], (bundle["digest"], earlier), wanted["wheels"])
    happened = (("environment", anew), ("file", other), ("restarted", done["restarted"]))
    return {"changed": [word for word, true in happened if true], "kind": done["kind"]}


def read(state_dir: str) -> Dict[str, Any]:
    """What is kept of the scaler that this host has; empty for none."""
    return state.read(os.path.join(state.folder_of(state_dir), RECORD)) or {}


def _write(state_dir: str, record: Dict[str, Any]) -> None:
    folder = state.folder_of(state_dir)
    state.make_private(folder)
    state.write(os.path.join(folder, RECORD), dict({"version": state.VERSION, "kind": "scaler"}, **record), durable=True)


def _remove_as_asked(request: Message) -> Message:
    if not request["apart"]:
        return _remove(request)
    asks = processes.find(request["apart"])
    if os.fork() == 0:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            end = time.monotonic() + ASKS_S
            while asks and processes.alive(asks.pid, asks.started) and time.monotonic() < end:
                time.sleep(0.05)
            _remove(request)
        finally:
            os._exit(0)
    return {"left": []}


def _remove(request: Message) -> Message:
    """Not while an installation is at work, whose `up` may have been lost; when it is done there is more to be removed."""
    folder = os.path.join(os.path.expanduser(request["state_dir"]), scaler_folder.NAME)
    with _locked(folder) if os.path.isdir(folder) else contextlib.nullcontext():
        return _remove_all(request)


def _remove_all(request: Message) -> Message:
    state_dir = request["state_dir"]
    left = scaler_service.remove(request["cluster"], request["cluster_id"], state_dir)
    if left:
        return {"left": left}
    access.withdraw(request["marker"])
    scaler_folder.sweep_sockets(SOCKETS % os.geteuid())
    folder = os.path.join(os.path.expanduser(state_dir), scaler_folder.NAME)
    if os.path.lexists(folder):
        state.make_private(folder)  # or refuse it: nobody else can put a link into it from here on
        state.remove(folder)
    for name in (RECORD, scaler_launch.DAEMON, scaler_launch.SUPERVISOR, scaler_launch.SUPERVISOR + ".lock"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(state.folder_of(state_dir), name))
    with contextlib.suppress(OSError):
        os.rmdir(state.folder_of(state_dir))
    leaving.drop_empty(os.path.expanduser(state_dir))
    return {"left": []}


def _authorize(request: Message) -> Message:
    return {"changed": access.authorize(request["key"], request["marker"])}


def _withdraw(request: Message) -> Message:
    return {"changed": access.withdraw(request["marker"])}


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Keep a second installation out: that of an `up` whose controller was lost may still be at work."""
    end = time.monotonic() + LOCK_S
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                state.wait_for_lock(lock, folder)
                break
            except state.NodeError:
                if time.monotonic() > end:
                    raise
        yield
    finally:
        os.close(lock)


ops.ANSWERS.update(
    scaler_probe=_probe,
    scaler_key=_key,
    scaler_install=install,
    scaler_remove=_remove_as_asked,
    authorize=_authorize,
    withdraw=_withdraw,
)
