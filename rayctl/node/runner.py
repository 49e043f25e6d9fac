# SPDX-License-Identifier: Apache-2.0
"""The runner: a process in a session of its own that carries out one plan, whoever listens.

It holds the node's lock for as long as it lives, keeps a log for what nobody foresaw, and ends what a killed runner
before it left behind before it begins.
"""

from __future__ import annotations

import os
import signal
import sys

from . import claim, claims, control, handover, hub, processes, ray, state
from .run import Relogin, Run
from .wire import Message, failed

FIRST_S = 10.0  # how long it waits for the follower that started it
UP, LOCKED = "up", "locked"


def launch(request: Message, folder: str) -> bool:
    """Start a runner for this request. False when another one has the lock; raises NodeError when it could not begin."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        _become_runner(request, folder, writing)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        word = pipe.read().decode("utf-8", "replace")
    if word in (UP, LOCKED):
        return word == UP
    raise state.NodeError(word or "the node's runner died at its start; its log is %s" % log_of(folder))


def log_of(folder: str) -> str:
    """Where a runner tells what nobody foresaw."""
    return os.path.join(folder, "runner.log")


def _become_runner(request: Message, folder: str, told: int) -> None:
    """Turn this process into the runner; it never returns. `told` is a pipe that takes one word: `launch` waits for it."""
    try:
        state.take_lock(folder)
        _leave_the_line(folder)
        talk = _begin(request, folder)
        _say(told, UP)
        talk.wait_for_first(FIRST_S)
        talk.emit(**_outcome(request, folder, talk))
        talk.finish()
    except state.Locked:
        _say(told, LOCKED)
    except state.NodeError as e:
        _say(told, str(e))
    except BaseException:
        _print_traceback()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def _say(told: int, word: str) -> None:
    os.write(told, word.encode("utf-8", "replace"))
    os.close(told)


def _leave_the_line(folder: str) -> None:
    """Nothing of the line's is kept; output goes to a log."""
    try:
        log = os.open(log_of(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    except OSError as e:
        raise state.NodeError("cannot write %s: %s" % (log_of(folder), e.strerror)) from None
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(fd, target)
    try:
        os.chdir(os.path.expanduser("~"))
    except OSError:
        os.chdir("/")


def _begin(request: Message, folder: str) -> hub.Hub:
    """Be found from now on."""
    control.end_leftovers(folder)
    talk = hub.Hub(request["plan_digest"], request.get("orphan_s", hub.ORPHAN_S))
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sig, lambda *_: talk.cancel("another run or a person asked for it"))
    talk.listen(folder)
    control.publish(folder)
    return talk


def _outcome(request: Message, folder: str, talk: hub.Hub) -> Message:
    """The last event: how the run ended."""
    plan = request["plan"]
    try:
        known = state.NodeState(folder, plan["cluster_id"], plan["node"]).load()
        _settle_in(request, known)
        return dict(Run(plan, known, talk, request["plan_digest"], request.get("secrets")).go(), event="done")
    except Relogin:
        return {"event": "relogin"}
    except state.NodeError as e:
        return failed(str(e))
    except Exception as e:
        _print_traceback()
        return failed("the node's runner failed: %s: %s; its log is %s" % (type(e).__name__, e, log_of(folder)))


def _settle_in(request: Message, known: state.NodeState) -> None:
    """Show others that the host is in use, and put the cluster's token where Ray finds it."""
    plan, me = request["plan"], processes.find(os.getpid())
    if plan.get("claimed") and me is not None:
        of_ray = known.ray["processes"] if known.ray and ray.broken(known.ray) is None else []
        claim.record(plan["state_dir"], plan["cluster_id"], [me[:3], *map(tuple, of_ray)], claims.PLACE)
    token = request.get("secrets", {}).get("ray_token")
    if token:
        handover.write_token(plan["state_dir"], token)
