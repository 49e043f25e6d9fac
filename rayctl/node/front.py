# SPDX-License-Identifier: Apache-2.0
"""The node's end of the line: serves one request of a controller, read from stdin as one JSON line.

    {op: "run", protocol, plan, plan_digest, secrets}
                            start a runner, or adopt a living one that has the same plan; then pass lines to and fro until
                            the run ends or the line is cut. `secrets` may hold `ray_token`; nothing of them is kept elsewhere
    {op: "check", plan}     say what a run would do, without a lock and without touching anything
    {op: "serve"}           answer requests of one line each (`ops.py`) until the end of stdin
    any of `ops.py`         answer this one

A runner with another plan, or of another rayctl, is stopped first: never two beside each other.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from typing import Any, BinaryIO, Callable, Dict, Optional

from . import claim, claims, control, hub, ops, runner, state
from .run import Run
from .wire import PROTOCOL, Message, decode, encode, failed, marked

START_S = 30.0  # how long a new runner may take until it answers, on a machine that is very busy
GREET_S = 10.0  # and one that is there already


def main() -> None:
    """Serve the request on stdin, then leave without waiting for a thread that reads from it."""
    request = decode(sys.stdin.buffer.readline())
    if request is None:
        sys.exit("rayctl: no request arrived")
    try:
        outcome = serve(request)
    except state.NodeError as e:
        outcome = failed(str(e))
    if outcome is not None:
        tell(outcome)
    sys.stdout.flush()
    os._exit(0)


def tell(message: Message) -> None:
    """One line to the controller; a line that nobody reads is no error."""
    try:
        sys.stdout.buffer.write(marked(message))
        sys.stdout.buffer.flush()
    except OSError:
        pass


def serve(request: Message) -> Optional[Message]:
    """The last message of a request; None when it was passed on already."""
    if request["op"] == "check":
        return check(request["plan"])
    if request["op"] not in PASSES_LINES:
        return ops.answer(request)
    PASSES_LINES[request["op"]](request)
    return None


def serve_all(_: Message) -> None:
    """Answer one request after the other, so that one start of Python serves many."""
    for line in iter(sys.stdin.buffer.readline, b""):
        tell(ops.answer(decode(line) or {}))


# ---- check mode: in this process, read-only
class Direct(hub.Talk):
    """Asks over stdin and stdout, with nothing in between."""

    def emit(self, event: str, **fields: Any) -> None:
        """See `Talk`."""
        tell(dict(fields, event=event))

    def ask(self, what: str, **fields: Any) -> Message:
        """See `Talk`."""
        self.emit("need", id=0, what=what, **fields)
        answer = decode(sys.stdin.buffer.readline())
        if answer is None:
            raise state.NodeError("the controller went away")
        if "cancel" in answer:
            raise hub.Cancelled(str(answer["cancel"]))
        return answer


def check(plan: Dict[str, Any]) -> Message:
    """What a run would do."""
    known = state.NodeState(state.folder_of(plan["state_dir"]), plan["cluster_id"], plan["node"]).load()
    return dict(Run(plan, known, Direct()).go(), event="done")


# ---- the line to the runner
def follow(request: Message) -> None:
    """Find or start the runner of this plan and pass lines until it ends or the controller is gone."""
    plan = request["plan"]
    state_dir = plan["state_dir"]
    folder = state.folder_of(state_dir)
    if plan.get("claimed"):
        claim.ours(state_dir, plan["cluster_id"], claims.PLACE)
    state.make_private(folder)
    state.make_private(os.path.join(folder, "logs"))
    began, started = time.monotonic(), False
    while time.monotonic() - began < START_S:
        line = hub.connect(folder)
        if line is not None and greet(line, request):
            tell({"event": "hello", "protocol": PROTOCOL, "adopted": not started, "python": list(sys.version_info[:3])})
            return pump(line, folder)
        if line is not None or control.living_runner(folder):
            # a runner that is just ending, or has another plan: its place is free a moment later
            control.stop_runner(state_dir)
        started = runner.launch(request, folder) or started
        time.sleep(0.005 if started else 0.1)
    raise state.NodeError("the node's runner does not answer for %g s; its log is %s" % (START_S, runner.log_of(folder)))


def greet(line: socket.socket, request: Message) -> bool:
    """Whether the runner at the other end has this plan."""
    try:
        line.settimeout(GREET_S)
        line.sendall(encode({"plan": request["plan_digest"], "protocol": request["protocol"]}))
        answer = b""
        while not answer.endswith(b"\n"):
            byte = line.recv(1)  # what follows is for `pump`
            if not byte:
                break
            answer += byte
        line.settimeout(None)
    except OSError:
        answer = b""
    same = bool((decode(answer) or {}).get("same"))
    if not same:
        line.close()
    return same


def pump(line: socket.socket, folder: str) -> None:
    """Pass lines both ways. The end of stdin ends this process, not the runner."""
    threading.Thread(target=_upward, args=(sys.stdin.buffer, line), daemon=True).start()
    for raw in line.makefile("rb"):
        message = decode(raw) or {}
        tell(message)
        if message.get("event") in ("done", "relogin"):
            return
    tell(failed("the node's runner died in the middle of its work; its log is %s" % runner.log_of(folder)))


def _upward(source: BinaryIO, line: socket.socket) -> None:
    for raw in iter(source.readline, b""):
        try:
            line.sendall(raw)
        except OSError:
            return
    os._exit(0)


PASSES_LINES: Dict[str, Callable[[Message], None]] = {"run": follow, "serve": serve_all}
