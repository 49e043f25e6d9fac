# SPDX-License-Identifier: Apache-2.0
"""What the parts of a run share: the plan, what the node remembers, the talk with the controller, and how a step is run."""

from __future__ import annotations

import os
import signal
from typing import Any, Callable, Dict, Optional

from . import control, rootshell, steps, sudo
from .hub import Talk
from .state import NodeState

Plan = Dict[str, Any]
Env = Dict[str, str]


class StepFailed(Exception):
    """A command did not end well; `report` tells everything about it."""

    def __init__(self, report: Dict[str, Any]) -> None:
        Exception.__init__(self)
        self.report = report

    def __str__(self) -> str:
        report = self.report
        if report["state"] == "timeout":
            return "%s ran out of time after %g s" % (report["name"], report["timeout_s"])
        if report["state"] == "stopped":
            return "%s was stopped" % report["name"]
        return "%s ended with exit code %d%s" % (report["name"], report["rc"], _by_signal(report["rc"]))


def _by_signal(rc: int) -> str:
    try:
        return ", a death by %s" % signal.Signals(rc - 128).name
    except ValueError:
        return ""


class Work:
    """One run's plan and means. `mark` is `<cluster_id>/<node>`.

    `secrets` {become_password} are the user's for this run: they stay in this process's memory.
    """

    def __init__(self, plan: Plan, state: NodeState, talk: Talk, secrets: Optional[Dict[str, str]] = None) -> None:
        self.plan, self.state, self.talk = plan, state, talk
        self.mark = "%s/%s" % (plan["cluster_id"], plan["node"])
        self._planned_env = dict(plan["env"], RAYCTL_PATH=plan["path_prefix"])
        self._own_env = {k: v for k, v in os.environ.items() if not k.startswith("RAYCTL_")}
        self._sudo = sudo.Sudo((secrets or {}).get("become_password"))

    def run_step(
        self, index: int, step: Dict[str, Any], env: Env, check: str = "", tick: Callable[[], Any] = lambda: None
    ) -> None:
        """Run {phase, name, command, timeout_s, become} and tell of it; raises `StepFailed`, or `Cancelled` before it began.

        `check` is shell text of ours that goes first, `tick` is called while it runs.
        """
        self.talk.check()
        about = {"index": index, "phase": step["phase"], "name": step["name"], "timeout_s": step.get("timeout_s")}
        log = os.path.join(self.state.folder, "logs", "%02d-%s.log" % (index + 1, step["phase"]))
        shell = self._shell(step, env, check, log)
        running = steps.Step(shell, log, about["timeout_s"])
        control.publish(self.state.folder, step["name"], shell.command.mark)
        self.talk.emit("step", state="run", **about)
        running.start()
        result = steps.watch(
            running, tick, lambda: self.talk.cancelled,
            lambda text: self.talk.emit("out", index=index, phase=step["phase"], text=text),
        )  # fmt: skip
        control.publish(self.state.folder)
        report = dict(about, **result._asdict())
        self.talk.emit("step", **report)
        if result.state != "ok":
            raise StepFailed(report)

    def _shell(self, step: Dict[str, Any], env: Env, check: str, log: str) -> steps.Shell:
        """What runs a step."""
        env = dict(self._planned_env, **env)
        if step.get("become") and sudo.needed():
            return rootshell.RootShell(steps.command_of(step["command"], env, check), self._sudo)
        return steps.LoginShell(steps.command_of(step["command"], dict(self._own_env, **env), check), log)
