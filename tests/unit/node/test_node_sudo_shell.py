# SPDX-License-Identifier: Apache-2.0
"""A command that runs as root, by a sudo that stands in: what it sees, how it ends, and who may take part."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_bench import Bench, eventually
from stand_in_sudo import StandIn

from rayctl.node import ending, processes, rootshell, steps, supervisor
from rayctl.node.rootshell import RootShell
from rayctl.node.steps import Result, Step, command_of
from rayctl.node.sudo import NO_SUDO, Sudo


class Root:
    """Runs commands by the stand-in."""

    def __init__(self, bench: Bench, stand_in: StandIn) -> None:
        self.bench, self.sudo, self.stand_in = bench, Sudo(), stand_in
        self.env = {name: bench.env[name] for name in ("O", "NAP", "X_TEST")} | {"RAYCTL_PATH": ""}
        self.log, self.shown = bench.out / "01-setup.log", ""

    def begin(self, command: str, timeout_s: float | None = None) -> tuple[RootShell, Step]:
        """Start one; whoever starts it ends it."""
        shell = RootShell(command_of(command, self.env), self.sudo)
        step = Step(shell, str(self.log), timeout_s)
        step.start()
        return shell, step

    def run(self, command: str, timeout_s: float | None = None, cancelled: Callable[[], bool] = lambda: False) -> Result:
        """The result; what was shown while it ran is in `shown`."""
        self.shown = ""
        return steps.watch(self.begin(command, timeout_s)[1], lambda: None, cancelled, self._show)

    def _show(self, text: str) -> None:
        self.shown += text


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setattr(rootshell, "ROOT", os.geteuid())
    return StandIn(tmp_path, monkeypatch)


@pytest.fixture
def root(bench: Bench, stand_in: StandIn) -> Iterator[Root]:
    made = Root(bench, stand_in)
    yield made
    assert stand_in.leavings == []


# ---- what it sees
def test_it_is_a_login_shell_of_roots_with_the_steps_own_variables(root: Root) -> None:
    (root.stand_in.root / ".bashrc").write_text("export FROM_RC=r\n")
    root.env.update(RAYCTL_PATH="/opt/ray/bin", X="its own")
    root.run('echo "$USER $HOME $FROM_RC $X ${PATH%%:*}"; shopt -q login_shell && echo login')
    assert root.shown == f"root {root.stand_in.root} r its own /opt/ray/bin\nlogin\n"


def test_nothing_of_how_sudo_is_called_is_left_in_its_environment(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LC_ALL", raising=False)
    root.run('echo "${LC_ALL-unset} ${SUDO_COMMAND-unset} $SUDO_UID"')
    assert root.shown == f"unset unset {os.geteuid()}\n"
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    root.run("echo $LC_ALL")
    assert root.shown == "C.UTF-8\n"


def test_it_begins_where_the_users_login_began(root: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    root.run("pwd")
    assert root.shown == f"{tmp_path}\n"


def test_it_begins_at_the_top_where_root_may_not_go(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []

    def chdir(folder: str) -> None:
        gone.append(folder)
        if folder == ".":
            raise PermissionError

    monkeypatch.setattr(supervisor.os, "chdir", chdir)
    supervisor._go_where_root_may_be()
    assert gone == [".", "/"]


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("echo '{{.Names}} {% raw %}' \"it's\" \\$HOME", "{{.Names}} {% raw %} it's $HOME\n"),
        ("cat <<X\nseveral\n\n  lines \"'\\\\\nX", "several\n\n  lines \"'\\\n"),
        ("printf %s \udcff\udc80é | od -An -tx1", " ff 80 c3 a9\n"),
        ("x=" + "y" * 400_000 + "; echo ${#x}", "400000\n"),
        ("read line || echo nothing; cat", "nothing\n"),
        ("sleep 0.05; bash --login -i -c 'echo inner'", "inner\n"),
    ],
    ids=["template", "heredoc", "no UTF-8", "400 KB", "stdin", "noise"],
)
def test_a_command_arrives_byte_by_byte_and_says_only_what_it_says(root: Root, command: str, output: str) -> None:
    assert root.run(command).state == "ok"
    assert root.shown == output


def test_its_output_is_in_the_users_own_log(root: Root) -> None:
    result = root.run("echo said")
    assert (result.tail, result.log) == (["said"], str(root.log))
    assert root.log.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not shutil.which("ps"), reason="needs ps")
def test_neither_command_nor_environment_is_seen_in_the_process_list(root: Root) -> None:
    root.env["SECRET"] = "swordfish"
    root.run("ps -e -ww -o args; : password=hunter2; [ $SECRET = sword''fish ] && echo right")
    assert "right" in root.shown
    assert "hunter2" not in root.shown
    assert "swordfish" not in root.shown


# ---- how it ends
@pytest.mark.parametrize(
    ("command", "rc"),
    [("true", 0), ("exit 255", 255), ("nothing", 127), ("kill -9 $BASHPID", 137), ("kill -9 $$", 137)],
)
def test_the_exit_code_is_that_of_a_shell(root: Root, command: str, rc: int) -> None:
    result = root.run(command)
    assert (result.rc, result.state) == (rc, "ok" if rc == 0 else "failed")


def test_login_files_that_end_the_shell_are_no_success(root: Root) -> None:
    (root.stand_in.root / ".bashrc").write_text("exit 0\n")
    result = root.run("touch $O/ran")
    assert (result.state, result.rc, result.tail) == ("failed", 0, [steps.NEVER_BEGAN % 0])
    assert root.bench.traces() == []


def test_a_daemon_outlives_a_step_that_ended_well_and_keeps_its_output(root: Root) -> None:
    root.run("(sleep 1; echo later; exec sleep $NAP) & echo started")
    assert root.shown == "started\n"
    eventually(root.bench.sleepers)
    assert root.log.read_text().endswith("started\nlater\n")


@pytest.mark.parametrize(
    "command",
    [
        "sleep $NAP & echo ready; wait",
        "(setsid sh -c 'sleep $NAP & sleep $NAP &' &); echo ready; sleep $NAP",
        "(trap '' TERM HUP; exec env -i sleep $NAP) & echo ready; wait",
    ],
    ids=["a plain child", "a double fork", "deaf, without an environment"],
)
@pytest.mark.parametrize("how", ["time-out", "cancel"])
def test_no_child_is_left_of_a_step_that_is_ended(root: Root, command: str, how: str) -> None:
    if how == "cancel":
        assert root.run(command, cancelled=lambda: "ready" in root.shown).state == "stopped"
    else:
        assert root.run(command, timeout_s=1.5).state == "timeout"
    assert root.shown == "ready\n"
    assert root.bench.sleepers() == []


def test_a_killed_runner_ends_it(root: Root, tmp_path: Path) -> None:
    runner = tmp_path / "runner.py"
    runner.write_text(
        "import os, sys, time\n"
        "from rayctl.node import rootshell, steps\n"
        "from rayctl.node.sudo import Sudo\n"
        "rootshell.ROOT = os.geteuid()\n"
        "text = 'trap : TERM; while :; do sleep $NAP; done'\n"
        "command = steps.Command(text, dict(os.environ), '', sys.argv[1])\n"
        "step = steps.Step(rootshell.RootShell(command, Sudo()), sys.argv[2])\n"
        "step.start()\n"
        "while step.look() is None: time.sleep(0.01)\n"
    )
    mark = "f" * 32
    env = {**os.environ, **root.env, "PYTHONPATH": str(Path(rootshell.__file__).parents[2])}
    child = subprocess.Popen([sys.executable, runner, mark, root.log], env=env, start_new_session=True)
    eventually(root.bench.sleepers)
    supervised = ending.Kin(mark)._supervisors()
    assert {process.name for process in supervised} >= {"sudo"}
    child.kill()
    child.wait()
    assert ending.end_step(mark) == []
    assert root.bench.sleepers() == []
    assert not [p for p in supervised if processes.alive(p.pid, p.started)]
    root.stand_in.sweep()  # here, unlike on a node, we may kill root's processes


def test_a_killed_supervisor_is_a_sentence(root: Root) -> None:
    shell, step = root.begin("sleep $NAP")
    eventually(lambda: step.look() is None and root.bench.sleepers())
    for process in ending.Kin(shell.command.mark)._supervisors():
        os.kill(process.pid, signal.SIGKILL)
    result = eventually(step.look)
    step.close()
    assert (result.state, result.rc, result.tail) == ("failed", 137, ["rayctl: " + rootshell.LOST % "it said nothing"])
    root.stand_in.sweep()


def test_a_supervisor_that_is_asked_to_end_ends_its_step(root: Root) -> None:
    shell, step = root.begin("sleep $NAP")
    eventually(lambda: step.look() is None and root.bench.sleepers())
    for process in ending.Kin(shell.command.mark)._supervisors():
        os.kill(process.pid, signal.SIGTERM)
    eventually(step.look)
    step.close()
    assert root.bench.sleepers() == []


def test_an_environment_that_is_too_large_is_a_sentence(root: Root) -> None:
    root.env["X"] = "x" * 200_000
    result = root.run("true")
    assert (result.state, result.rc) == ("failed", supervisor.CANNOT_START)
    assert result.tail == ["rayctl: cannot start a command: /bin/bash: Argument list too long"]


# ---- sudo
def test_a_password_is_given_where_sudo_asks(root: Root) -> None:
    root.stand_in.asks_for("hunter2")
    root.sudo = Sudo("hunter2")
    assert [root.run("cat; env; echo done").state for _ in range(2)] == ["ok", "ok"]
    assert root.shown.endswith("done\n")
    assert "hunter2" not in root.shown
    assert root.stand_in.calls == ["-n", "-S", "-S"]


def test_a_wrong_password_fails_at_once_with_one_line(root: Root) -> None:
    root.stand_in.asks_for("hunter2")
    root.sudo = Sudo("a guess")
    result = root.run("touch $O/ran")
    assert (result.state, result.rc, len(result.tail)) == ("failed", 1, 1)
    assert result.tail[0].startswith("rayctl: sudo did not take the password for ")
    assert root.stand_in.calls == ["-n", "-S"]
    assert "a guess" not in root.log.read_text()
    assert root.bench.traces() == []


def test_a_password_that_nobody_gave_is_asked_for_in_one_line(root: Root) -> None:
    root.stand_in.asks_for("hunter2")
    result = root.run("true")
    assert len(result.tail) == 1
    assert "--ask-become-pass" in result.tail[0]


def test_a_refusal_is_one_line(root: Root) -> None:
    root.stand_in.refuses("ray is not in the sudoers file.\n")
    assert "sudo does not let" in root.run("true").tail[0]


def test_no_sudo_is_one_line(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    result = root.run("true")
    assert (result.state, result.rc, result.tail) == ("failed", 127, ["rayctl: " + NO_SUDO])


def test_a_sudo_that_takes_its_time_can_be_cancelled(root: Root) -> None:
    slow = root.stand_in.box / "bin" / "sudo"
    slow.write_text("#!/bin/sh\nexec sleep $NAP\n")
    os.environ["NAP"] = root.bench.nap
    try:
        began = time.monotonic()
        assert root.run("true", cancelled=lambda: bool(root.bench.sleepers())).state == "stopped"
        assert root.run("true", timeout_s=0.2).state == "timeout"
    finally:
        del os.environ["NAP"]
    assert time.monotonic() - began < 5
    assert root.bench.sleepers() == []


# ---- who may take part
def test_only_root_is_let_in(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = root.stand_in.box / "bin" / "sudo"
    slow.write_text("#!/bin/sh\nexec sleep 5\n")
    monkeypatch.setattr(rootshell, "ROOT", os.geteuid() + 1)
    shell, step = root.begin("touch $O/ran")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect("\0" + shell.command.mark)
        assert step.look() is None
        assert stranger.recv(1) == b""
    step.stop()
    step.close()


def test_root_takes_commands_from_the_user_who_called_sudo_alone(root: Root) -> None:
    root.stand_in.caller(os.geteuid() + 1)
    result = root.run("touch $O/ran")
    assert "another user listens in place of the runner" in result.tail[0]
    assert root.bench.traces() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user_holds_nobody_up() -> None:
    mark = "e" * 32
    with subprocess.Popen(["sleep", "60", mark], user=65534, stderr=subprocess.DEVNULL) as stranger:
        assert ending.Kin(mark).members() == []
        stranger.kill()
