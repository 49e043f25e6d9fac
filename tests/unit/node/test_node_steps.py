# SPDX-License-Identifier: Apache-2.0
"""One command in a login shell: what it sees, what comes of its output, how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_bench import eventually

from rayctl.node import processes, steps
from rayctl.node.state import NodeError
from rayctl.node.steps import LoginShell, Result, Step, command_of

NOISE = ("cannot set terminal process group", "no job control")


class Shell:
    """Runs commands in a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.log = folder, folder / "home", folder / "01-setup.log"
        self.home.mkdir()
        self.env = {"HOME": str(self.home), "PATH": os.defpath, "RAYCTL_PATH": "", "O": str(folder)}
        self.shown = ""

    def run(
        self, command: str, *, timeout_s: float | None = None, cancelled: Callable[[], bool] = lambda: False, check: str = ""
    ) -> Result:
        """The result; what was shown while it ran is in `shown`."""
        self.shown = ""
        shell = LoginShell(command_of(command, self.env, check), str(self.log))
        step = Step(shell, str(self.log), timeout_s)
        step.start()
        return steps.watch(step, lambda: None, cancelled, self._show)

    def _show(self, text: str) -> None:
        self.shown += text


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    yield Shell(tmp_path)


# ---- what it sees
def test_it_is_a_login_shell_that_read_bashrc_with_the_nodes_path_first(shell: Shell) -> None:
    (shell.home / ".bash_profile").write_text("export FROM_PROFILE=p\n")
    (shell.home / ".profile").write_text("export FROM_PROFILE=not read beside .bash_profile\n")
    (shell.home / ".bashrc").write_text("export PATH=$HOME/tools:$PATH FROM_RC=r\n")
    shell.env["RAYCTL_PATH"] = "/opt/ray/bin"
    shell.run('echo "$FROM_PROFILE $FROM_RC ${PATH%%tools*}" "${RAYCTL_PATH-unset}"; shopt -q login_shell && echo login')
    assert shell.shown == f"p r /opt/ray/bin:{shell.home}/ unset\nlogin\n"


def test_what_rays_launcher_sets_is_set_unless_the_user_did(shell: Shell) -> None:
    (shell.home / ".bashrc").write_text("export OMP_NUM_THREADS=8\n")
    shell.run("echo $OMP_NUM_THREADS $PYTHONWARNINGS")
    assert shell.shown == "8 ignore\n"


def test_a_chatty_login_is_shown_and_does_no_harm(shell: Shell) -> None:
    (shell.home / ".bashrc").write_text("echo hello; echo oops >&2; false\n")
    result = shell.run("echo done")
    assert (result.state, result.tail) == ("ok", ["hello", "oops", "done"])


@pytest.mark.parametrize(("rc", "code"), [("exit 3", 3), ("exit 0", 0), ("exec true", 0), ("set -e; false", 1)], ids=str)
def test_login_files_that_end_the_shell_are_no_success(shell: Shell, rc: str, code: int) -> None:
    shell.run("true")  # what an earlier step left must not count
    (shell.home / ".bashrc").write_text(rc + "\n")
    result = shell.run("touch $O/ran")
    assert (result.state, result.rc) == ("failed", code)
    assert result.tail[-1] == steps.NEVER_BEGAN % code
    assert not (shell.folder / "ran").exists()


def test_a_shell_that_may_not_overwrite_files_is_no_failure(shell: Shell) -> None:
    (shell.home / ".bashrc").write_text("set -o noclobber\n")
    assert [shell.run("true").state for _ in range(2)] == ["ok", "ok"]


def test_a_missing_home_is_the_one_of_the_user_database(shell: Shell) -> None:
    del shell.env["HOME"]
    assert shell.run("[ -d ~ ]").state == "ok"


def test_stdin_is_at_its_end(shell: Shell) -> None:
    assert shell.run("read line || echo nothing; cat").state == "ok"
    assert shell.shown == "nothing\n"


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("echo '{{.Names}} {% raw %}' \"it's\" \\$HOME", "{{.Names}} {% raw %} it's $HOME\n"),
        ("cat <<X\nseveral\n\n  lines \"'\\\\\nX", "several\n\n  lines \"'\\\n"),
        ("printf %s \udcff\udc80é | od -An -tx1", " ff 80 c3 a9\n"),
        ("x=" + "y" * 200_000 + "; echo ${#x}", "200000\n"),
        ("echo a \\\n  b", "a b\n"),
        ("# nothing but a comment", ""),
        ("printf 'a\\nb'", "a\nb"),
    ],
    ids=["template", "heredoc", "no UTF-8", "200 KB", "continued", "comment", "no newline"],
)
def test_a_command_arrives_byte_by_byte(shell: Shell, command: str, output: str) -> None:
    assert shell.run(command).state == "ok"
    assert shell.shown == output


# ---- how it ends
@pytest.mark.parametrize(
    ("command", "rc"),
    [
        ("true", 0), ("false", 1), ("exit 255", 255), ("no-such-program", 127), ("kill -9 $BASHPID", 137),
        ("kill -9 $$", 137), ("sleep 9 & kill -15 $!; wait $!", 143), ("(", 2), ("set -e; false; true", 1),
    ],
)  # fmt: skip
def test_the_exit_code_is_that_of_a_shell(shell: Shell, command: str, rc: int) -> None:
    result = shell.run(command)
    assert (result.rc, result.state) == (rc, "ok" if rc == 0 else "failed")


def test_exit_says_nothing_of_logging_out(shell: Shell) -> None:
    (shell.home / ".bash_logout").write_text("echo logout\n")
    assert shell.run("echo x; exit 4").tail == ["x"]


def test_a_check_of_ours_goes_first_and_may_end_it(shell: Shell) -> None:
    result = shell.run("touch $O/ran", check="echo wrong Ray >&2; exit 91; ")
    assert (result.state, result.rc, result.tail) == ("failed", 91, ["wrong Ray"])
    assert not (shell.folder / "ran").exists()


def test_a_daemon_that_keeps_its_output_open_holds_nobody(shell: Shell) -> None:
    began = time.monotonic()
    result = shell.run("(sleep 61 & echo $! > $O/pid); echo started")
    assert (result.state, result.tail) == ("ok", ["started"])
    assert time.monotonic() - began < 5
    os.kill(int((shell.folder / "pid").read_text()), signal.SIGKILL)  # alive: a step that ended well leaves its daemons


def test_the_end_of_a_step_wakes_who_waits_for_it(shell: Shell) -> None:
    step = Step(LoginShell(command_of("sleep 0.2", shell.env), str(shell.log)), str(shell.log))
    step.start()
    began = time.monotonic()
    while step.look() is None:
        step.rest(30.0)
    assert time.monotonic() - began < 20.0
    step.close()


def test_without_a_sign_of_its_end_it_is_looked_at_now_and_then(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    assert shell.run("sleep 0.1; exit 3").rc == 3
    monkeypatch.delattr(os, "pidfd_open")
    assert shell.run("sleep 0.1; exit 4").rc == 4


def test_a_step_out_of_time_is_ended_and_says_what_it_printed(shell: Shell) -> None:
    result = shell.run("echo begun; sleep 62", timeout_s=0.5)
    assert (result.state, result.tail) == ("timeout", ["begun"])
    assert 0.5 <= result.seconds < 3


def test_a_cancelled_step_is_stopped(shell: Shell) -> None:
    result = shell.run("echo begun; sleep 62", cancelled=lambda: "begun" in shell.shown)
    assert result.state == "stopped"


def test_no_step_runs_on_when_its_watch_breaks(shell: Shell) -> None:
    login = LoginShell(command_of("sleep 62", shell.env), str(shell.log))
    step = Step(login, str(shell.log))
    step.start()
    with pytest.raises(ZeroDivisionError):
        steps.watch(step, lambda: 1 / 0, lambda: False, lambda text: None)
    assert login.poll() is not None


def test_a_shell_that_does_not_show_its_mark_yet_is_ended_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    login = LoginShell(command_of("sleep 62", shell.env), str(shell.log))
    step = Step(login, str(shell.log))
    step.start()
    monkeypatch.setattr(processes, "marked", lambda *_: [])
    with pytest.raises(ZeroDivisionError):
        steps.watch(step, lambda: 1 / 0, lambda: False, lambda text: None)
    assert login.poll() is not None


# ---- what becomes of its output
def test_bash_never_complains_of_its_terminal(shell: Shell) -> None:
    for _ in range(5):
        result = shell.run("sleep 0.05; bash --login -i -c 'echo inner'")
        assert (shell.shown, result.tail) == ("inner\n", ["inner"])


def test_output_comes_while_it_runs_and_characters_are_never_cut(shell: Shell) -> None:
    shell.run("for i in 1 2 3; do printf '\\303'; sleep 0.25; printf '\\251'; done")
    assert shell.shown == "ééé"


def test_the_tail_is_fit_for_a_terminal(shell: Shell) -> None:
    lines = shell.run("seq 100; printf '\\033[31m%0600d\\r\\a\\377\\n' 7").tail
    assert len(lines) == steps.TAIL_LINES
    assert lines[-3] == "100"
    assert lines[-2:] == ["0" * 499 + "7", "?\ufffd"]


def test_very_much_output_keeps_its_end(shell: Shell) -> None:
    result = shell.run("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo the end")
    assert result.tail[-1] == "the end"
    assert shell.shown.endswith("the end\n")
    assert "bytes left out, see the log]" in shell.shown
    assert len(shell.shown) < 2_000_000
    assert shell.log.stat().st_size > 20_000_000


def test_the_log_and_the_command_are_ours_alone(shell: Shell) -> None:
    shell.run("echo secret")
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in shell.folder.glob("01-*")}
    assert (modes[".log"], modes[".sh"]) == (0o600, 0o600)


def test_a_log_that_the_step_removed_is_no_traceback(shell: Shell) -> None:
    result = shell.run(f"rm {shell.log}")
    assert result.tail == [f"(the log {shell.log} cannot be read: No such file or directory)"]


# ---- what the machine may refuse
def test_an_environment_that_is_too_large_is_a_sentence(shell: Shell) -> None:
    shell.env["X"] = "x" * 200_000
    with pytest.raises(NodeError, match=r"cannot start a command: /bin/bash: Argument list too long"):
        shell.run("true")


def test_a_missing_folder_is_a_sentence(shell: Shell) -> None:
    shell.log = shell.folder / "none" / "x.log"
    with pytest.raises(NodeError, match=r"cannot start a command: .*/none/x.log: No such file"):
        shell.run("true")


@pytest.mark.skipif(not shutil.which("ps"), reason="needs ps")
def test_a_command_is_not_seen_in_the_process_list(shell: Shell) -> None:
    shell.run("ps -e -o args; : password=hunter2")
    assert "hunter2" not in shell.shown


def test_steps_are_found_by_their_mark_before_there_is_a_process(shell: Shell) -> None:
    command = command_of("echo $RAYCTL_STEP_RUN", shell.env)
    mark = command.mark
    step = Step(LoginShell(command, str(shell.log)), str(shell.log))
    step.start()
    eventually(lambda: step.look() is not None)
    assert step.output(last=True) == mark + "\n"
    step.close()


@pytest.mark.parametrize(
    ("name", "text", "times"),
    [
        (".profile", "", 1),
        (".profile", 'if [ "$BASH" ]; then\n  if [ -f ~/.bashrc ]; then\n    . ~/.bashrc\n  fi\nfi\n', 1),
        (".bash_profile", 'source "$HOME/.bashrc"\n', 1),
        (".bash_profile", "[ -f ~/.bashrc ] && . ~/.bashrc\n", 1),
        (".profile", "# . ~/.bashrc would be read here\n", 1),
        (".bash_login", "echo ~/.bashrc > /dev/null\n", 1),
        (".bash_profile", ". ~/.bashrc\n. ~/.bashrc\n", 2),
        ("nothing", "", 1),
    ],
)
def test_bashrc_is_read_once_whatever_the_login_files_do(name: str, text: str, times: int, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("echo read >> ~/count\n")
    (tmp_path / name).write_text(text)
    script = tmp_path / "step.sh"
    script.write_text("true\n")
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    argv = steps.login_shell(str(script), str(tmp_path / "begun"))
    done = subprocess.run(argv, env=environment, capture_output=True, check=False, start_new_session=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "count").read_text() == "read\n" * times
