# SPDX-License-Identifier: Apache-2.0
"""The run: brings a node to its wanted state, doing only what changed.

The plan (`rayctl/provision/nodeplan.py` makes it) is one JSON object:

    cluster_id, node, state_dir, env {}, path_prefix      who and where; `env` is no part of any digest
    phases [mounts, setup, start], check                   what of it is wanted; `check` only says what would happen
    mounts [{target, digest}]                              asked for where the digest differs
    steps [{phase, name, command, digest, env, timeout_s}] chained: the first digest that differs is where work starts
    rerun_from                                             a step's index, or None: run from there though nothing changed
    ray {kind, digest, commands [{name, command, timeout_s, env, checks}], processes, env, address, port, ports,
         policy, want_ray, temp_dir}, or None
    claimed                                                whether the node holds a claim on its host (`claim.py`)
    handover {env {}}                                      what people who log in there need besides the head's address
    orphan_timeout_s                                       how long without its head a worker stays (`orphan.py`)

Values of `env` that begin with `{state_dir}` mean that folder as it is on the node. The last three keys may be absent.
State is saved after every step, so a failed or killed run resumes at the step that did not finish. After the last
initialization command the run breaks off and asks for a fresh login (`Relogin`); the run after that, with the same plan,
goes on where this one broke off and tells the outcome of both.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from . import handover, probe, ray
from .hub import Cancelled, Talk
from .look import look, reason_to_start
from .start import Start
from .state import NodeError, NodeState
from .work import Plan, StepFailed, Work


class Relogin(Exception):
    """Initialization ran: the rest belongs into a fresh login, where new groups count."""


class Run:
    """One run of a plan on this node. `go()` does it and returns the outcome, also when it fails."""

    def __init__(
        self, plan: Plan, state: NodeState, talk: Talk, plan_digest: str = "", secrets: Optional[Dict[str, str]] = None
    ) -> None:
        plan = handover.located(plan)
        resumed = state.resume if state.resume and state.resume.get("plan") == plan_digest else {}
        if resumed:
            plan = dict(plan, rerun_from=None)  # else it would begin there again, and again ask for a fresh login
        self.plan, self.state, self.talk, self.plan_digest = plan, state, talk, plan_digest
        self.work = Work(plan, state, talk, secrets)
        self.start = Start(self.work) if plan["ray"] and "start" in plan["phases"] else None
        self.wanted = look(plan, probe.seen(state))
        self.before: Dict[str, Any] = resumed.get("before") or {
            "commands": [step["command"] for step in state.steps],
            "ray": "not running" if ray.broken(state.ray) else "running",
        }
        self.copied: List[str] = resumed.get("copied", [])
        self.ran: List[int] = resumed.get("ran", [])
        self.ray_reason: Optional[str] = None
        self.watch_set = False

    def go(self) -> Dict[str, Any]:
        """The outcome: {changed, failed, cancelled, message, step, mounts, steps, ray, incarnation, port, versions, diff}."""
        failure: Dict[str, Any] = {"failed": False, "cancelled": False, "message": "", "step": None}
        try:
            if self.plan["check"]:
                self._check()
            else:
                self._do()
        except StepFailed as e:
            failure.update(failed=True, cancelled=self.talk.cancelled, message=str(e), step=e.report)
        except Cancelled as e:
            failure.update(failed=True, cancelled=True, message="cancelled: %s" % e)
        except NodeError as e:
            failure.update(failed=True, message=str(e))
        return dict(failure, **self._outcome())

    def _do(self) -> None:
        self.state.resume = None
        self._mounts()
        self._steps()
        if self.start:
            try:
                self.start.go()
            finally:
                self.ray_reason = self.start.reason
                self.copied += self.start.copied
            self.watch_set = self.wanted.watch

    def _check(self) -> None:
        mounts, first, why, self.watch_set = self.wanted
        self.copied = [m["target"] for m in mounts]
        self.ran = list(range(first, len(self.plan["steps"])))
        for mount in mounts:
            self.talk.ask("mounts", target=mount["target"], check=True)
        if self.start and self.plan["ray"]["kind"] == "worker" and not why:
            why = self._reason_of_the_head(self.talk.ask("head", check=True))
        self.ray_reason = why

    def _reason_of_the_head(self, answer: Dict[str, Any]) -> Optional[str]:
        if answer.get("restarts"):
            return "the head will be restarted"
        return reason_to_start(self.plan["ray"], probe.seen(self.state), answer.get("incarnation"))

    # ---- mounts
    def _mounts(self) -> None:
        if not self.wanted.mounts:
            return
        self.state.steps = []  # a changed mount reruns the steps behind it, also when this run ends before they ran
        targets = {mount["target"] for mount in self.plan["mounts"]}
        self.state.mounts = {t: d for t, d in self.state.mounts.items() if t in targets}
        self.state.save()
        for mount in self.wanted.mounts:
            answer = self.talk.ask("mounts", target=mount["target"])
            if not answer.get("ok"):
                raise NodeError("the file mount %s could not be copied: %s" % (mount["target"], answer.get("message", "")))
            self.copied.append(mount["target"])
            self.state.mounts[mount["target"]] = mount["digest"]
            self.state.save()

    # ---- set-up
    def _steps(self) -> None:
        planned, first = self.plan["steps"], self.wanted.first_step
        if "setup" not in self.plan["phases"] or first == len(planned) == len(self.state.steps):
            return
        self.state.steps = self.state.steps[:first]
        if first < len(planned):
            self.state.ray_stale = self.state.ray is not None
        self.state.save()
        for i in range(first, len(planned)):
            step = planned[i]
            self.work.run_step(i, step, dict(step["env"], RAYCTL_STEP=self.work.mark))
            self.ran.append(i)
            self.state.steps.append({"digest": step["digest"], "name": step["name"], "command": step["command"]})
            fresh_login = self._needs_fresh_login_after(i)
            if fresh_login:
                self.state.resume = {
                    "plan": self.plan_digest, "copied": self.copied, "ran": self.ran, "before": self.before,
                }  # fmt: skip
            self.state.save()
            if fresh_login:
                raise Relogin

    def _needs_fresh_login_after(self, i: int) -> bool:
        planned = self.plan["steps"]
        if planned[i]["phase"] != "initialization":
            return False
        return planned[i + 1]["phase"] != "initialization" if i + 1 < len(planned) else self.start is not None

    # ---- what came of it
    def _outcome(self) -> Dict[str, Any]:
        planned, known = self.plan["steps"], self.state.ray or {}
        return {
            "changed": bool(self.copied or self.ran or self.ray_reason or self.watch_set),
            "mounts": self.copied,
            "steps": [{"index": i, "name": planned[i]["name"]} for i in self.ran],
            "ray": self.ray_reason,
            "incarnation": known.get("head"),
            "port": known.get("port"),
            "versions": known.get("versions"),
            "diff": self._diff(),
        }

    def _diff(self) -> Dict[str, str]:
        before = self.before["ray"]
        started = "would be started" if self.plan["check"] else "started"
        after = "%s: %s" % (started, self.ray_reason) if self.ray_reason else before
        wanted = [step["command"] for step in self.plan["steps"]]
        return {"before": self._described(self.before["commands"], before), "after": self._described(wanted, after)}

    def _described(self, commands: List[str], ray_line: str) -> str:
        """A node's state as text, for `--diff`."""
        lines = ["%d. %s" % (i, command) for i, command in enumerate(commands, 1)]
        return "\n".join(lines + (["ray: " + ray_line] if self.plan["ray"] else [])) + "\n"
