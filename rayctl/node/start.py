# SPDX-License-Identifier: Apache-2.0
"""The last part of a run: this node's Ray is started anew where there is a reason to, and the head says that it is up.

What looks after a worker's head is started behind it (`watch.py`).
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from . import claim, claims, handover, ports, probe, processes, ray, synced, watch
from .look import reason_to_start
from .state import NodeError
from .work import Env, Work

HEAD_PATIENCE_S = 60.0
WATCHED = ("raylet", "gcs_server")


class Start:
    """Brings up what `plan["ray"]` wants. `go()` may be called once."""

    def __init__(self, work: Work) -> None:
        self.work, self.wanted = work, work.plan["ray"]
        self.state, self.talk = work.state, work.talk
        self.copied: List[str] = []  # what of the head's files was copied here
        self.reason: Optional[str] = None  # why Ray is started anew; None while it is left alone
        self._head: Optional[str] = None  # the incarnation of the head that a worker joins
        self._versions = os.path.join(work.state.folder, "versions")
        self._head_told = False
        self._port: int = self.wanted["port"]  # where the head's GCS listens

    def go(self) -> None:
        """Start Ray, or leave it alone. Raises NodeError and `StepFailed`."""
        env = dict(self.wanted["env"])
        head = (self.wanted["address"], self._port)
        if self.wanted["kind"] == "worker":
            answer = self._head_answer()
            head = (answer["address"], answer["port"])
            env.update(_head_env(answer))
            handover.write_variables(self.work.plan, *head)
            self.copied = synced.bring(self.work)
        why = reason_to_start(self.wanted, probe.seen(self.state), self._head)
        if why:
            if self.wanted["kind"] != "worker":
                self.talk.wait_for_controller()
            elif self.wanted["processes"]:
                ray.wait_until_reachable(*head, self.talk.check, HEAD_PATIENCE_S)
            self.talk.check()
            self._restart(why, env)
        self._tell_head()
        watch.keep(self.work, *head)

    def _head_answer(self) -> Dict[str, Any]:
        answer = self.talk.ask("head")
        if not answer.get("ok"):
            raise NodeError(answer.get("message") or "not joined, because the head did not start")
        self._head = answer["incarnation"]
        return answer

    def _restart(self, why: str, env: Env) -> None:
        env = dict({"RAYCTL_WANT_RAY": self.wanted["want_ray"], "RAYCTL_WANT_PYTHON": ""}, **env)
        env["RAYCTL_VERSIONS"] = self._versions
        self._write_version_check()
        if ray.broken(self.state.ray) is None and any(command["checks"] for command in self.wanted["commands"]):
            # a Ray that works is not stopped for one that would not start
            self.work.run_step(0, {"phase": "check", "name": "check Ray's version", "command": ":"}, env, ray.CHECK)
        self.reason = why
        temp_dir = self._temp_dir()
        self._stop(temp_dir)
        ray.check_ports(self.wanted["ports"])
        env.update(RAYCTL_NODE=self.work.mark, RAYCTL_RAY_FLAGS=self._flags(temp_dir))
        for i, command in enumerate(self.wanted["commands"]):
            self._run_command(i, command, env)
        self._remember()

    def _temp_dir(self) -> str:
        """Where Ray keeps its files. Commands of the user's are run as written."""
        usual: str = self.wanted["temp_dir"]
        return ray.temp_dir(usual) if self.wanted.get("preferred_ports") else usual

    def _flags(self, temp_dir: str) -> str:
        """What rayctl's own start commands need on a machine that others use too."""
        chosen: Dict[str, Any] = dict(ports.choose(self.wanted.get("preferred_ports", {})))
        self._port = chosen.get("port", self._port)
        if temp_dir != self.wanted["temp_dir"]:
            chosen["temp-dir"] = temp_dir
        return ports.flags(chosen)

    def _run_command(self, index: int, command: Dict[str, Any], env: Env) -> None:
        env = dict(command.get("env") or {}, **env)
        if not command["checks"]:
            # such as a script that deploys something on the Ray that was just started: by itself it may find another user's
            env.setdefault("RAY_ADDRESS", env.get("RAY_HEAD_ADDRESS") or "%s:%d" % (self.wanted["address"], self._port))
        self.work.run_step(index, dict(command, phase="start"), env, ray.CHECK if command["checks"] else "", self._tell_head)

    def _stop(self, temp_dir: str) -> None:
        left = processes.stop(self.work.mark)
        if left:
            those = ", ".join("%s (pid %d)" % (process.name, process.pid) for process in left)
            raise NodeError("these processes of this node's Ray do not end: %s" % those)
        port = self.state.ray["port"] if self.state.ray else self._port
        self.state.ray = None
        self.state.save()
        ray.forget_address(temp_dir, self.wanted["address"], port)

    def _write_version_check(self) -> None:
        for path, text in ((self._versions + ".py", ray.VERSIONS), (self._versions, "")):
            try:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
            except OSError as e:
                raise NodeError("cannot write %s: %s" % (path, e.strerror)) from None

    def _found_versions(self) -> str:
        """Ray's and Python's version as the check found them; empty where nobody looked."""
        try:
            with open(self._versions, encoding="utf-8") as f:
                return f.read().strip()
        except OSError:
            return ""

    def _remember(self) -> None:
        ours = processes.marked(self.work.mark)
        missing = [name for name in self.wanted["processes"] if name not in {p.name for p in ours}]
        if missing:
            raise NodeError("the start commands ended well, but %s is not running" % missing[0])
        self.state.ray = {
            "digest": self.wanted["digest"], "boot_id": processes.boot_id(), "port": self._port,
            "processes": [[p.pid, p.started, p.name] for p in ours if p.name in WATCHED],
            "head": self._head if self.wanted["kind"] == "worker" else ray.incarnation(ours),
            "versions": self._found_versions(),
        }  # fmt: skip
        self.state.ray_stale = False
        self.state.save()
        if self.work.plan.get("claimed"):
            named = [p[:3] for p in ours if p.name in WATCHED]
            claim.record(self.work.plan["state_dir"], self.work.plan["cluster_id"], named, claims.PLACE)

    def _tell_head(self) -> None:
        """Once the head's GCS answers, say so: the workers need not wait until `ray start` returns."""
        if self._head_told or self.wanted["kind"] != "head":
            return
        address, port = self.wanted["address"], self._port
        if self.state.ray is not None:
            life, versions, port = (self.state.ray[key] for key in ("head", "versions", "port"))
        elif self.wanted["processes"] and ray.answers(address, port):
            life, versions = ray.incarnation(processes.marked(self.work.mark)), self._found_versions()
        else:
            return
        if life or not self.wanted["processes"]:
            self._head_told = True
            handover.write_variables(self.work.plan, address, port)
            self.talk.emit("head", address=address, port=port, incarnation=life, versions=versions)


def _head_env(answer: Dict[str, Any]) -> Env:
    address, port = answer["address"], answer["port"]
    env = {"RAY_HEAD_IP": address, "RAY_HEAD_ADDRESS": "%s:%d" % (address, port)}
    if answer.get("versions"):
        env["RAYCTL_WANT_RAY"], _, env["RAYCTL_WANT_PYTHON"] = answer["versions"].partition(" ")
    return env
