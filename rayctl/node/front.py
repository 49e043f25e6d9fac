# SPDX-License-Identifier: Apache-2.0
"""The node's end of the line: serves one request of a controller, read from stdin as one JSON line.

    {op: "run", protocol, plan, plan_digest}    start a runner, or adopt a living one that has the same plan; then pass
                                                lines to and fro until the run ends or the line is cut
    {op: "check", plan}                         say what a run would do, without a lock and without touching anything
    {op: "cancel", state_dir}                   end the runner of this node
    {op: "probe", state_dir, mark}              what this node remembers, and whether its Ray lives

A runner with another plan, or of another rayctl, is stopped first: never two beside each other.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO, Dict, Optional

from . import control, hub, probe, state
from .run import Relogin, Run
from .wire import PROTOCOL, Message, decode, encode, marked

START_S = 30.0  # how long a new runner may take until it answers, on a machine that is very busy
FIRST_S = 10.0  # and how long it waits for the follower that started it


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


def failed(message: str) -> Message:
    """The outcome of a run that could not begin."""
    return {"event": "done", "failed": True, "cancelled": False, "changed": False, "message": message, "step": None}


def serve(request: Message) -> Optional[Message]:
    """The last message of a request; None when it was passed on already."""
    operation = request["op"]
    if operation == "probe":
        return dict(probe.look(request["state_dir"], request["mark"]), event="done")
    if operation == "cancel":
        return {"event": "done", "stopped": control.stop_runner(request["state_dir"])}
    if operation == "check":
        return check(request["plan"])
    follow(request)
    return None


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
        return answer


def check(plan: Dict[str, Any]) -> Message:
    """What a run would do."""
    known = state.NodeState(state.folder_of(plan["state_dir"]), plan["cluster_id"], plan["node"]).load()
    return dict(Run(plan, known, Direct()).go(), event="done")


# ---- the runner, and the line to it
def follow(request: Message) -> None:
    """Find or start the runner of this plan and pass lines until it ends or the controller is gone."""
    folder = state.folder_of(request["plan"]["state_dir"])
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
            control.stop_runner(request["plan"]["state_dir"])
        started = launch(request, folder) or started
        time.sleep(0.005 if started else 0.1)
    raise state.NodeError("the node's runner did not start within %g s; its log is %s/runner.log" % (START_S, folder))


def greet(line: socket.socket, request: Message) -> bool:
    """Whether the runner at the other end has this plan."""
    try:
        line.settimeout(START_S)
        line.sendall(encode({"plan": request["plan_digest"], "protocol": request["protocol"]}))
        answer = b""
        while not answer.endswith(b"\n"):
            byte = line.recv(1)
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
    last: Message = {}
    for raw in line.makefile("rb"):
        last = decode(raw) or {}
        tell(last)
        if last.get("event") in ("done", "relogin"):
            return
    tell(failed("the node's runner died in the middle of its work; its log is %s/runner.log" % folder))


def _upward(source: BinaryIO, line: socket.socket) -> None:
    for raw in iter(source.readline, b""):
        try:
            line.sendall(raw)
        except OSError:
            return
    os._exit(0)


def launch(request: Message, folder: str) -> bool:
    """Start a runner in a session of its own. False when another one has the lock."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        become_runner(request, folder, writing)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as word:
        return word.read() == b"up"


def become_runner(request: Message, folder: str, told: int) -> None:
    """Turn this process into the runner: nothing of the line's is kept, output goes to a log of its own."""
    status = 1
    try:
        log = os.open(os.path.join(folder, "runner.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, target)
        try:
            state.take_lock(folder)
        except state.Locked:
            os._exit(0)
        run_plan(request, folder, told)
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status)


def run_plan(request: Message, folder: str, told: int) -> None:
    """The runner's life: listen, run, say how it ended."""
    plan = request["plan"]
    try:
        os.chdir(os.path.expanduser("~"))
    except OSError:
        os.chdir("/")
    talk = hub.Hub(request["plan_digest"], request.get("orphan_s", hub.ORPHAN_S))
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sig, lambda *_: talk.cancel("another run or a person asked for it"))
    talk.listen(folder)
    control.publish(folder)
    os.write(told, b"up")
    os.close(told)
    talk.wait_for_first(FIRST_S)
    try:
        known = state.NodeState(folder, plan["cluster_id"], plan["node"]).load()
        outcome = Run(plan, known, talk).go()
        talk.emit("done", **outcome)
    except Relogin:
        talk.emit("relogin")
    except state.NodeError as e:
        talk.emit(**failed(str(e)))
    talk.finish()
