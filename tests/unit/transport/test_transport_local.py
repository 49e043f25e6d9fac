# SPDX-License-Identifier: Apache-2.0
"""Commands on this machine: the caller's environment, quoting that nothing spoils, exit codes as a shell's."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayctl.errors import StateRefused
from rayctl.node import control, processes, state
from rayctl.providers.base import Connection
from rayctl.transport import local
from rayctl.transport.base import MARK, Ends
from rayctl.transport.local import LocalTransport, copy_without_noise

NOISE = b"bash: cannot set terminal process group (-1): Inappropriate ioctl for device\nbash: no job control in this shell\n"
DRIVER = textwrap.dedent("""
    import sys
    from rayctl.providers.base import Connection
    from rayctl.transport.local import LocalTransport
    env = dict(word.split("=", 1) for word in sys.argv[2:])
    connection = Connection("local", "", "/nonexistent", env={"FROM_NODE": "n"}, path_prefix=("/opt/ray/bin",))
    sys.exit(LocalTransport(connection).run(sys.argv[1], env))
""")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run(home: Path, command: str, *env: str, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as `rayctl exec` does, in a process without a terminal."""
    argv = [sys.executable, "-c", DRIVER, command, *env]
    environment = {"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}
    return subprocess.run(
        argv, input=stdin, env=environment, capture_output=True, check=False, timeout=60, start_new_session=True
    )


def outcome(home: Path, command: str, *env: str, stdin: bytes = b"", **more: str) -> tuple[int, bytes, bytes]:
    done = run(home, command, *env, stdin=stdin, **more)
    return done.returncode, done.stdout, done.stderr


# ---- exit codes
@pytest.mark.parametrize(
    ("command", "code"),
    [("true", 0), ("exit 1", 1), ("exit 125", 125), ("exit 255", 255), ("no-such-program", 127), ("/etc/passwd", 126)],
)
def test_the_exit_code_is_the_commands(home: Path, command: str, code: int) -> None:
    assert run(home, command).returncode == code


@pytest.mark.parametrize("command", ["kill -{} $$", "kill -{} $BASHPID", "sh -c 'kill -{} $$'"])
def test_a_death_by_signal_is_told_as_by_a_shell(home: Path, command: str) -> None:
    assert run(home, command.format(9)).returncode == 128 + signal.SIGKILL


# ---- input and output
def test_input_and_output_are_bytes_and_errors_stay_apart(home: Path) -> None:
    data = bytes(range(256)) * 1000
    assert outcome(home, "cat; echo oops >&2", stdin=data) == (0, data, b"oops\n")


def test_bash_does_not_complain_of_its_terminal(home: Path) -> None:
    assert outcome(home, "true") == (0, b"", b"")


def test_much_on_stderr_arrives_whole(home: Path) -> None:
    assert len(run(home, "head -c 3000000 /dev/zero >&2").stderr) == 3_000_000


@pytest.mark.parametrize("child", ["sleep 30", "yes >&2"])
def test_a_background_child_that_keeps_stderr_does_not_hold_the_command(home: Path, child: str) -> None:
    began = time.monotonic()
    code, out, _ = outcome(home, f"timeout 30 {child} >/dev/null & disown; echo x")
    assert (code, out) == (0, b"x\n")
    assert time.monotonic() - began < 20


# ---- what it sees
def test_the_environment_is_the_callers_with_the_nodes_and_the_commands_on_top(home: Path) -> None:
    code, out, _ = outcome(
        home, 'echo "$CALLER $FROM_NODE $X ${PATH%%:*} ${RAYCTL_NODE-none} ${ANSIBLE_X-none}"', "X=it's {{x}} $Y",
        CALLER="c", RAYCTL_NODE="a/b", ANSIBLE_X="1",
    )  # fmt: skip
    assert (code, out) == (0, b"c n it's {{x}} $Y /opt/ray/bin none none\n")


def test_login_files_are_read_and_their_noise_is_the_users(home: Path) -> None:
    (home / ".bash_profile").write_text("export A=1\n")
    (home / ".bashrc").write_text("export B=2; echo hello; echo oops >&2\n")
    assert outcome(home, "echo $A$B") == (0, b"hello\n12\n", b"oops\n")


def test_login_files_that_end_the_shell_end_the_command(home: Path) -> None:
    (home / ".bashrc").write_text("exit 9\n")
    assert outcome(home, "echo never") == (9, b"", b"")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=4)
)
def test_words_that_were_quoted_once_arrive_as_they_were(home: Path, words: list[str]) -> None:
    code, out, _ = outcome(home, "printf '%s\\0' " + shlex.join(words), LC_ALL="C.UTF-8")
    assert (code, out) == (0, "".join(word + "\0" for word in words).encode())


def test_positional_parameters_are_none(home: Path) -> None:
    assert outcome(home, 'echo "$# $*"')[1] == b"0 \n"


# ---- the caller's environment
def test_what_belongs_to_our_tools_is_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ["RAYCTL_NODE", "ANSIBLE_FORKS", "AWX_X", "RUNNER_X", "RAY_ADDRESS", "RAY_JOB_ID", "RAY_AUTH_TOKEN"]
    for name in [*ours, "RAY_BACKEND_LOG_LEVEL", "MY_ANSIBLE_X"]:
        monkeypatch.setenv(name, "x")
    found = local.caller_environment()
    assert not set(ours) & set(found)
    assert {"RAY_BACKEND_LOG_LEVEL", "MY_ANSIBLE_X", "PATH"} <= set(found)


def test_under_a_wrapper_it_is_the_wrappers(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = subprocess.Popen(["sleep", "60"], env={"SECRET": "s=1", "RAYCTL_X": "x"})
    try:
        while processes.find(wrapper.pid) is None or b"SECRET" not in Path(f"/proc/{wrapper.pid}/environ").read_bytes():
            time.sleep(0.01)
        process = processes.find(wrapper.pid)
        assert process is not None
        monkeypatch.setenv(local.OWNER, f"{process.pid}/{process.started}")
        assert local.caller_environment() == {"SECRET": "s=1"}
        monkeypatch.setenv(local.OWNER, f"{process.pid}/{process.started + 1}")
        assert "SECRET" not in local.caller_environment()
    finally:
        wrapper.kill()
        wrapper.wait()


# ---- the noise filter
def filtered(*pieces: bytes) -> bytes:
    source, feed = os.pipe()
    sink, target = os.pipe()

    def write() -> None:
        for piece in pieces:
            os.write(feed, piece)
            time.sleep(0.01)
        os.close(feed)

    threading.Thread(target=write).start()
    copy_without_noise(source, target)
    os.close(target)
    with os.fdopen(sink, "rb") as out:
        os.close(source)
        return out.read()


@pytest.mark.parametrize("cut", [1, 5, 6, 7, 50, len(NOISE) - 1])
def test_the_two_lines_are_left_out_wherever_they_are_cut(cut: int) -> None:
    text = NOISE + b"\xff real\n"
    assert filtered(text[:cut], text[cut:]) == b"\xff real\n"


@pytest.mark.parametrize("text", [b"", b"bash: no", b"bash: no such file\n", b"x", b"b", b"\0" * 50_000])
def test_everything_else_is_passed_on_also_at_the_end(text: bytes) -> None:
    assert filtered(NOISE, text) == text
    assert filtered(text) == text


def test_a_reader_that_went_away_does_not_hold_the_writer() -> None:
    source, feed = os.pipe()
    sink, target = os.pipe()
    os.close(sink)
    copier = threading.Thread(target=copy_without_noise, args=(source, target))
    copier.start()
    for _ in range(20):
        os.write(feed, b"x" * 65536)  # more than a pipe holds
    os.close(feed)
    copier.join(10)
    assert not copier.is_alive()
    os.close(source)
    os.close(target)


# ---- the node's own folder
@pytest.fixture
def transport(tmp_path: Path) -> LocalTransport:
    return LocalTransport(Connection("local", "", str(tmp_path / "state"), python=(sys.executable,)))


def test_a_node_that_never_ran_anything_has_nothing_to_tell_or_cancel(transport: LocalTransport) -> None:
    seen = transport.probe("c/n")
    assert (seen["steps"], seen["ray"], seen["runner"]) == ([], None, None)
    assert transport.cancel() is False
    assert not Path(transport.connection.state_dir).exists()


def test_a_folder_that_cannot_be_trusted_is_refused_as_one_sentence(transport: LocalTransport) -> None:
    folder = Path(state.folder_of(transport.connection.state_dir))
    state.make_private(str(folder))
    control.publish(str(folder))
    folder.chmod(0o777)
    for call in (lambda: transport.probe("c/n"), transport.cancel):
        with pytest.raises(StateRefused, match="can be written by others"):
            call()


def test_a_file_is_put_where_only_its_owner_can_read_it(transport: LocalTransport, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("print()")
    path = Path(transport.put(tmp_path / "job.py"))
    assert path.read_text() == "print()"
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_conversation_is_opened_with_the_nodes_runner(transport: LocalTransport) -> None:
    channel = transport.open({"op": "probe", "state_dir": transport.connection.state_dir, "mark": "c/n"})
    assert next(iter(channel))["event"] == "done"
    assert channel.close() == 0


# ---- interrupting
def interrupted(command: str, home: Path) -> tuple[bool, int, bytes]:
    """Run a command with a mark, interrupt it once its `sleep 977` sleeps; whether it ended, its code, what it said.

    A shell that gets the signal while it makes a process may believe that it was for that process, as at a terminal.
    """
    transport, mark, ended = LocalTransport(Connection("local", "", "/nonexistent")), os.urandom(8).hex(), []
    ours, theirs = os.pipe()
    with Path(os.devnull).open("rb") as nothing:
        ends = Ends(nothing.fileno(), theirs, nothing.fileno())
        runner = threading.Thread(
            target=lambda: ended.append(transport.run(command, {MARK: mark, "HOME": str(home)}, ends=ends))
        )
        runner.start()
        asleep = sleeping(mark)
        gone = transport.interrupt(mark)
        with suppress(ProcessLookupError):
            os.kill(asleep, signal.SIGKILL)
        runner.join(10)
    os.close(theirs)
    said = b"".join(iter(lambda: os.read(ours, 100), b""))
    os.close(ours)
    return gone, ended[0], said


def sleeping(mark: str) -> int:
    """The pid of the `sleep 977` that has this mark, once it sleeps."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdigit() and (process / "cmdline").read_bytes() == b"sleep\x00977\x00":
                    state = (process / "stat").read_text().rpartition(") ")[2][0]
                    if mark.encode() in (process / "environ").read_bytes() and state == "S":
                        return int(process.name)
        time.sleep(0.01)
    raise AssertionError("nothing sleeps")


def test_an_interrupt_ends_what_runs(home: Path) -> None:
    assert interrupted("sleep 977; true", home)[0]


def test_what_a_trap_starts_is_not_interrupted(home: Path) -> None:
    script = "trap 'sleep 0.3; echo tidy; exit 5' INT; sleep 977"
    assert interrupted(f"bash -c {shlex.quote(script)}", home) == (True, 5, b"tidy\n")


def test_one_that_goes_on_all_the_same_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "INTERRUPT", local.INTERRUPT.replace("-lt 50", "-lt 3"))
    assert interrupted("bash -c 'trap \"\" INT; sleep 977'", home)[0] is False
