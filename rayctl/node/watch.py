# SPDX-License-Identifier: Apache-2.0
"""The runner's side of the watch over a worker's head (`orphan.py`): there is one as the plan wants it, or none.

It is a process in a session of its own, with the node's mark and no secret in its environment, and gets its code through
its stdin as the runner did. Only the holder of the node's lock starts one, after all others are gone, and the node's state
names it before it gets its code: so there are never two.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from typing import Any, Dict, Optional

from . import claim, claims, control, ending, launched, leaving, orphan, processes, ray, sources, state
from .orphan import Order
from .state import NodeError
from .sudo import last_line
from .work import Work

PACKAGE = (processes, state, ending, control, ray, claims, launched, claim, leaving, orphan)  # in the order of their imports
BOOT = """# rayctl looks after the head
import json,sys,types
m,o=json.loads(sys.stdin.buffer.read().decode())
p=types.ModuleType('rayctl_orphan');p.__path__=[];sys.modules['rayctl_orphan']=p
for n,t in m:
 c=types.ModuleType('rayctl_orphan.'+n);c.__package__='rayctl_orphan';sys.modules[c.__name__]=c
 exec(compile(t,'rayctl_orphan/'+n+'.py','exec'),c.__dict__);setattr(p,n,c)
del m,t
p.orphan.main(o)
"""
KEPT = ("LD_LIBRARY_PATH",)  # without which some interpreters do not start


def keep(work: Work, address: str, port: int) -> None:
    """See to it that this node looks after the head there, or, where the plan names no time, that nothing does.

    Raises NodeError when an old one does not end or a new one does not start.
    """
    order = _order(work, address, port)
    code = json.dumps([sources.package(PACKAGE), order]).encode("ascii")
    digest = hashlib.sha256(code).hexdigest()
    if order is None or not _runs(work.state.watch, digest):
        _end(work)
        if order is not None:
            _start(work, order.timeout_s, code, digest)


def _order(work: Work, address: str, port: int) -> Optional[Order]:
    plan = work.plan
    if not plan.get("orphan_timeout_s"):
        return None
    state_dir = os.path.expanduser(plan["state_dir"])
    claimed = bool(plan.get("claimed"))
    return Order(plan["cluster_id"], plan["node"], state_dir, claimed, address, port, plan["orphan_timeout_s"])


def _runs(known: Optional[Dict[str, Any]], digest: str) -> bool:
    """Whether the very one lives that is wanted."""
    if known is None or known["digest"] != digest or known["boot_id"] != processes.boot_id():
        return False
    return processes.alive(known["pid"], known["started"])


def _end(work: Work) -> None:
    left = processes.end(processes.marked(work.mark, (processes.WATCH,)))
    if left:
        raise NodeError("what looked after the head does not end (pid %d)" % left[0].pid)
    if work.state.watch is not None:
        work.state.watch = None
        work.state.save()


def _start(work: Work, timeout_s: float, code: bytes, digest: str) -> None:
    env = {name: value for name, value in os.environ.items() if name in KEPT}
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", BOOT, work.mark],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(env, **{processes.WATCH: work.mark}),
        cwd="/", start_new_session=True,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    found = processes.find(child.pid)
    if found is not None:
        work.state.watch = {
            "pid": found.pid, "started": found.started, "boot_id": processes.boot_id(), "timeout_s": timeout_s,
            "digest": digest,
        }  # fmt: skip
        work.state.save()
    with contextlib.suppress(BrokenPipeError), child.stdin:
        child.stdin.write(code)
    with child.stdout:
        said = child.stdout.read()  # until it lets go of the line
    if said or child.poll() is not None:
        child.kill()
        child.wait()
        raise NodeError(
            "what looks after the head did not start: %s. `scaler.orphan_timeout: 0` does without"
            % last_line(said.decode("utf-8", "replace"))
        )
