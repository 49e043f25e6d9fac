# SPDX-License-Identifier: Apache-2.0
"""The run: brings a node to its wanted state, doing only what changed.

The plan (`rayctl/provision/nodeplan.py` makes it) is one JSON object:

    cluster_id, node, state_dir, env {}, path_prefix      who and where; `env` is no part of any digest
    phases [mounts, setup, start], check                   what of it is wanted; `check` only says what would happen
    mounts [{target, digest}]                              asked for where the digest differs
    steps [{phase, name, command, digest, env, timeout_s}] chained: the first digest that differs is where work starts
    rerun_from                                             a step's index, or None: run from there though nothing changed
    ray {kind, digest, commands, processes, env, port, ports, policy, want_ray}, or None

State is saved after every step, so a failed or killed run resumes at the step that did not finish.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from . import control, processes, ray, steps
from .hub import Cancelled, Talk
from .look import look, reason_to_start
from .state import NodeError, NodeState

HEAD_PATIENCE_S = 60.0
Plan = Dict[str, Any]


class Relogin(Exception):
    """Initialization ran: the rest belongs into a fresh login, where new groups count."""


class StepFailed(Exception):
    """A command did not end well; `report` tells everything about it."""

    def __init__(self, report: Dict[str, Any]) -> None:
        Exception.__init__(self)
        self.report = report


class Run:
    """One run of a plan on this node. `go()` does it and returns the outcome, also when it fails."""

    def __init__(self, plan: Plan, state: NodeState, talk: Talk) -> None:
        self.plan, self.state, self.talk = plan, state, talk
        self.wanted = look(plan, self._seen())
        self.before = describe(state.steps, "not running" if ray.broken(state.ray) else "running", plan["ray"])
        self.ran: List[int] = []
        self.copied: List[str] = []
        self.ray_reason: Optional[str] = None
        self.mark = "%s/%s" % (plan["cluster_id"], plan["node"])
        self.versions = os.path.join(state.folder, "versions")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("RAYCTL_")}
        self.env.update(plan["env"], RAYCTL_PATH=plan["path_prefix"])
        self._head_told = False

    def _seen(self) -> Dict[str, Any]:
        return dict(self.state.seen(), broken=ray.broken(self.state.ray))

    def go(self) -> Dict[str, Any]:
        """The outcome: {changed, failed, cancelled, message, step, mounts, steps, ray, incarnation, diff}."""
        failure: Dict[str, Any] = {"failed": False, "cancelled": False, "message": "", "step": None}
        try:
            if self.plan["check"]:
                self._check()
            else:
                self._mounts()
                self._steps()
                self._start()
        except StepFailed as e:
            report = e.report
            text = {"timeout": "ran out of time after %g s" % report["seconds"], "stopped": "was stopped"}
            message = "%s %s" % (report["name"], text.get(report["state"], "ended with exit code %s" % report["rc"]))
            failure.update(failed=True, message=message, step=report, cancelled=self.talk.cancelled)
        except Cancelled as e:
            failure.update(failed=True, cancelled=True, message="cancelled: %s" % e)
        except NodeError as e:
            failure.update(failed=True, message=str(e))
        return dict(failure, **self._outcome())

    def _outcome(self) -> Dict[str, Any]:
        planned, check = self.plan["steps"], self.plan["check"]
        known = self.state.ray or {}
        will = "%s: %s" % ("would be started" if check else "started", self.ray_reason) if self.ray_reason else None
        return {
            "changed": bool(self.copied or self.ran or self.ray_reason),
            "mounts": self.copied,
            "steps": [{"index": i, "name": planned[i]["name"]} for i in self.ran],
            "ray": self.ray_reason,
            "incarnation": known.get("head"),
            "port": known.get("port"),
            "versions": known.get("versions"),
            "diff": {"before": self.before, "after": describe(planned, will or self.before_ray(), self.plan["ray"])},
        }

    def before_ray(self) -> str:
        """Ray's line of the diff when this run leaves it alone."""
        return self.before.rsplit("ray: ", 1)[-1].strip() if self.plan["ray"] else ""

    def _check(self) -> None:
        mounts, first, why = self.wanted
        self.copied = [m["target"] for m in mounts]
        self.ran = list(range(first, len(self.plan["steps"])))
        for mount in mounts:
            self.talk.ask("mounts", target=mount["target"], check=True)
        wanted = self.plan["ray"]
        if wanted and wanted["kind"] == "worker" and "start" in self.plan["phases"] and not why:
            answer = self.talk.ask("head", check=True)
            if answer.get("restarts"):
                why = "the head will be restarted"
            elif reason_to_start(wanted, self._seen(), answer.get("incarnation")):
                why = "the head was restarted"
        self.ray_reason = why

    # ---- mounts
    def _mounts(self) -> None:
        if not self.wanted.mounts:
            return
        self.state.steps = []  # a changed mount reruns the steps behind it, also when this run ends before they ran
        self.state.save()
        for mount in self.wanted.mounts:
            answer = self.talk.ask("mounts", target=mount["target"])
            if not answer.get("ok"):
                raise NodeError("the file mount %s could not be copied: %s" % (mount["target"], answer.get("message", "")))
            self.copied.append(mount["target"])
            self.state.mounts[mount["target"]] = mount["digest"]
            self.state.save()
        wanted = {m["target"] for m in self.plan["mounts"]}
        self.state.mounts = {t: d for t, d in self.state.mounts.items() if t in wanted}

    # ---- set-up
    def _steps(self) -> None:
        if "setup" not in self.plan["phases"]:
            return
        planned, first = self.plan["steps"], self.wanted.first_step
        if first < len(planned):
            self.state.ray_stale = self.state.ray is not None
        if len(self.state.steps) > first or first < len(planned):
            self.state.steps = self.state.steps[:first]
            self.state.save()
        for i in range(first, len(planned)):
            step = planned[i]
            self._run(i, step, dict(step["env"], RAYCTL_STEP=self.mark))
            self.ran.append(i)
            self.state.steps.append({"digest": step["digest"], "name": step["name"], "command": step["command"]})
            self.state.save()
            ends_initialization = step["phase"] == "initialization" and planned[i + 1 : i + 2] != []
            if ends_initialization and planned[i + 1]["phase"] != "initialization":
                raise Relogin

    def _run(self, index: int, step: Dict[str, Any], env: Dict[str, str], check: str = "", tick: Any = None) -> None:
        self.talk.check()
        log = os.path.join(self.state.folder, "logs", "%02d-%s.log" % (index + 1, step["phase"]))
        running = steps.Step(step["command"], dict(self.env, **env), log, step.get("timeout_s"), check)
        control.publish(self.state.folder, step=step["name"], step_run=running.mark)
        about = {"index": index, "phase": step["phase"], "name": step["name"]}
        self.talk.emit("step", state="run", **about)
        result = steps.watch(
            running, tick or (lambda: None), lambda: self.talk.cancelled,
            lambda text: self.talk.emit("out", index=index, phase=step["phase"], text=text),
        )  # fmt: skip
        report = dict(about, **result._asdict())
        self.talk.emit("step", **report)
        if result.state != "ok":
            raise StepFailed(report)

    # ---- Ray
    def _start(self) -> None:
        wanted = self.plan["ray"]
        if wanted is None or "start" not in self.plan["phases"]:
            return
        env, head = dict(wanted["env"]), None
        if wanted["kind"] == "worker":
            answer = self.talk.ask("head")
            if not answer.get("ok"):
                raise NodeError(answer.get("message") or "not joined, because the head did not start")
            head = answer["incarnation"]
            env.update(self._head_env(answer))
            why = reason_to_start(wanted, self._seen(), head)
            if why and wanted["processes"]:
                ray.wait_until_reachable(answer["address"], answer["port"], lambda: self.talk.cancelled, HEAD_PATIENCE_S)
        else:
            why = reason_to_start(wanted, self._seen(), None)
            if why:
                self.talk.wait_for_controller()
        if why is None:
            self._tell_head()
            return
        self.ray_reason = why
        self._restart(wanted, env, head)

    def _head_env(self, answer: Dict[str, Any]) -> Dict[str, str]:
        address, port = answer["address"], answer["port"]
        env = {"RAY_HEAD_IP": address, "RAY_HEAD_ADDRESS": "%s:%d" % (address, port)}
        if answer.get("versions"):
            env["RAYCTL_WANT_RAY"], _, env["RAYCTL_WANT_PYTHON"] = answer["versions"].partition(" ")
        return env

    def _restart(self, wanted: Dict[str, Any], env: Dict[str, str], head: Optional[str]) -> None:
        env = dict({"RAYCTL_WANT_RAY": wanted["want_ray"], "RAYCTL_WANT_PYTHON": ""}, **env)
        env.update(RAYCTL_VERSIONS=self.versions)
        self._write_version_check()
        if ray.broken(self.state.ray) is None and any(command["checks"] for command in wanted["commands"]):
            # a Ray that works is not stopped for one that would not start
            self._run(0, {"phase": "check", "name": "check Ray's version", "command": ":"}, env, ray.CHECK)
        leftovers = processes.stop(self.mark)
        if leftovers:
            raise NodeError("these processes of this node's Ray do not stop: %s" % ", ".join(map(str, leftovers)))
        self.state.ray = None
        self.state.save()
        ray.forget_address(wanted)
        ray.check_ports(wanted["ports"])
        env.update(RAYCTL_NODE=self.mark)
        for i, command in enumerate(wanted["commands"]):
            step = dict(command, phase="start")
            self._run(i, step, dict(command.get("env") or {}, **env), ray.CHECK if command["checks"] else "", self._tell_head)
        self._remember(wanted, head)
        self._tell_head()

    def _write_version_check(self) -> None:
        for path, text in ((self.versions + ".py", ray.VERSIONS), (self.versions, "")):
            with open(path, "w") as f:
                f.write(text)

    def _remember(self, wanted: Dict[str, Any], head: Optional[str]) -> None:
        ours = processes.marked(self.mark)
        names = {p.name for p in ours}
        for name in wanted["processes"]:
            if name not in names:
                raise NodeError("the start commands ended well, but %s is not running" % name)
        watched = [p for p in ours if p.name in ("raylet", "gcs_server")]
        self.state.ray = {
            "digest": wanted["digest"], "boot_id": processes.boot_id(), "port": wanted["port"],
            "processes": [[p.pid, p.started, p.name] for p in watched],
            "head": head if wanted["kind"] == "worker" else ray.incarnation(ours),
            "versions": self._versions(),
        }  # fmt: skip
        self.state.ray_stale = False
        self.state.save()

    def _versions(self) -> str:
        try:
            with open(self.versions) as f:
                return f.read().strip()
        except OSError:
            return ""

    def _tell_head(self) -> None:
        """Once the head's GCS answers, say so: the workers need not wait until `ray start` returns."""
        wanted = self.plan["ray"]
        if self._head_told or wanted["kind"] != "head":
            return
        if self.state.ray is not None:
            life, versions = self.state.ray["head"], self.state.ray["versions"]
        elif wanted["processes"] and ray.answers(wanted["address"], wanted["port"]):
            life, versions = ray.incarnation(processes.marked(self.mark)), self._versions()
        else:
            return
        if life or not wanted["processes"]:
            self._head_told = True
            self.talk.emit("head", address=wanted["address"], port=wanted["port"], incarnation=life, versions=versions)


def describe(steps_: List[Dict[str, Any]], ray_line: str, with_ray: Any) -> str:
    """A node's state as text, for `--diff`."""
    lines = ["%d. %s" % (i, s["command"]) for i, s in enumerate(steps_, 1)]
    return "\n".join(lines + (["ray: " + ray_line] if with_ray else [])) + "\n"
