# SPDX-License-Identifier: Apache-2.0
"""Which processes count as ours, in which order they end, and that nothing else is ever signalled.

Stand-ins bear Ray's names: copies of `sleep` and `bash` called raylet, gcs_server and so on.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pythons
from hypothesis import given
from hypothesis import strategies as st

from rayctl.node import processes
from rayctl.node.processes import Process

# not the same in each run: tests that run beside these must not end each other's stand-ins
MARK = f"{uuid.uuid4()}/demo-worker-0"
OTHER = f"{MARK}0"
INTERPRETERS = [sys.executable, *pythons.pyenv(range(8, 14))]
# tells what it gets, and whether it obeys; the loop's own `sleep` is a child in the same session
TALKATIVE = 'trap "echo ${0##*/} >> $LOG; exit" TERM; echo ready >> "$READY"; while :; do sleep 0.02; done'
STUBBORN = 'trap "" TERM; echo ready >> "$READY"; while :; do sleep 0.02; done'
# as Ray's agents do: same session, but nothing left of the environment
LOSES_ITS_ENVIRONMENT = '"$D/raylet" 60 & exec -c "$D/agent" 60'

Start = Callable[..., subprocess.Popen[bytes]]


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a stand-in in a session of its own: `start("raylet", RAYCTL_NODE=...)`, or with a `script` for a copy of bash."""
    children: list[subprocess.Popen[bytes]] = []
    base = {
        "PATH": os.environ["PATH"],
        "LOG": str(tmp_path / "log"),
        "READY": str(tmp_path / "ready"),
        "D": str(tmp_path / "sleep"),
    }

    def start(name: str, *, script: str = "", **env: str) -> subprocess.Popen[bytes]:
        program = copy(tmp_path, name, "bash" if script else "sleep")
        argv = [program, "-c", script, program] if script else [program, "60"]
        ready = len(read(tmp_path / "ready"))
        child = subprocess.Popen(argv, env=base | env, start_new_session=True)
        children.append(child)
        # the kernel shows the new environment last; a script may by now have become something else
        eventually(lambda: script or b"LOG=" in Path(f"/proc/{child.pid}/environ").read_bytes())
        if "READY" in script:
            eventually(lambda: len(read(tmp_path / "ready")) > ready)
        return child

    yield start
    for child in children:
        for process in processes.snapshot():
            if process.session == child.pid:
                os.kill(process.pid, signal.SIGKILL)
        child.wait()


def copy(folder: Path, name: str, program: str) -> str:
    """A program under another name, in a folder of such copies."""
    source, target = shutil.which(program), folder / program / name
    assert source
    target.parent.mkdir(exist_ok=True)
    return str(target if target.exists() else shutil.copy(source, target))


def read(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def pids(found: list[Process]) -> set[int]:
    return {process.pid for process in found}


def names(found: list[Process]) -> list[str]:
    return sorted(process.name for process in found)


def test_a_process_is_found_by_its_whole_mark_only(start: Start) -> None:
    ours = start("raylet", RAYCTL_NODE=MARK)
    start("raylet", RAYCTL_NODE=OTHER)
    start("raylet", RAYCTL_NODE=MARK[:-1])
    start("raylet", X_RAYCTL_NODE=MARK)
    start("raylet", RAYCTL_STEP=MARK)
    start("raylet", X=f"RAYCTL_NODE={MARK}")
    assert pids(processes.marked(MARK)) == {ours.pid}


def test_each_asked_for_variable_marks(start: Start) -> None:
    node, step = start("raylet", RAYCTL_NODE=MARK), start("dockerd", RAYCTL_STEP=MARK)
    assert pids(processes.marked(MARK, ("RAYCTL_STEP",))) == {step.pid}
    assert pids(processes.marked(MARK, ("RAYCTL_NODE", "RAYCTL_STEP"))) == {node.pid, step.pid}


def test_a_process_that_lost_its_environment_is_found_by_its_session(start: Start, tmp_path: Path) -> None:
    for name in ("raylet", "agent"):
        copy(tmp_path, name, "sleep")
    leader = start("starter", script=LOSES_ITS_ENVIRONMENT, RAYCTL_NODE=MARK)
    eventually(lambda: names(processes.marked(MARK)) == ["agent", "raylet"])
    assert leader.pid in pids(processes.marked(MARK))


def test_a_session_mate_with_another_nodes_mark_is_not_ours(start: Start, tmp_path: Path) -> None:
    copy(tmp_path, "raylet", "sleep")
    start("starter", script=f'RAYCTL_NODE={OTHER} "$D/raylet" 60 & "$D/raylet" 60', RAYCTL_NODE=MARK)
    eventually(lambda: names(processes.marked(OTHER)) == ["raylet"])
    theirs = pids(processes.marked(OTHER))
    eventually(lambda: names(processes.marked(MARK)) == ["raylet", "starter"])
    assert not theirs & pids(processes.marked(MARK))


def test_a_marked_process_in_a_session_of_its_own_is_found(start: Start, tmp_path: Path) -> None:
    copy(tmp_path, "worker", "sleep")
    leader = start("starter", script='setsid "$D/worker" 60 & wait', RAYCTL_NODE=MARK)
    eventually(lambda: names(processes.marked(MARK)) == ["starter", "worker"])
    worker = next(process for process in processes.marked(MARK) if process.name == "worker")
    assert worker.session != leader.pid
    assert processes.stop(MARK, grace_s=0.5) == []


def test_neither_the_caller_nor_its_session_is_ever_ours(tmp_path: Path) -> None:
    code = (
        "import subprocess, processes as p; mate = subprocess.Popen(['sleep', '60']);"
        f"assert p.marked({MARK!r}) == [] and p.stop({MARK!r}) == []; assert mate.poll() is None; mate.kill(); mate.wait()"
    )
    run_alone(sys.executable, code, RAYCTL_NODE=MARK)


def test_raylet_ends_first_then_gcs_server_and_the_rest_is_killed(start: Start, tmp_path: Path) -> None:
    for name in ("gcs_server", "agent", "raylet"):
        start(name, script=TALKATIVE, RAYCTL_NODE=MARK)
    assert processes.stop(MARK) == []
    assert read(tmp_path / "log") == ["raylet", "gcs_server"]
    assert processes.marked(MARK) == []


def test_what_ignores_a_request_is_killed_after_its_grace(start: Start) -> None:
    stubborn = start("raylet", script=STUBBORN, RAYCTL_NODE=MARK)
    began = time.monotonic()
    assert processes.stop(MARK, grace_s=0.3) == []
    assert 0.3 <= time.monotonic() - began < 3
    assert stubborn.wait() == -signal.SIGKILL


def test_session_mates_end_even_when_all_marked_processes_went_before_them(start: Start, tmp_path: Path) -> None:
    for name in ("raylet", "agent"):
        copy(tmp_path, name, "sleep")
    leader = start("starter", script=LOSES_ITS_ENVIRONMENT, RAYCTL_NODE=MARK)
    eventually(lambda: names(processes.marked(MARK)) == ["agent", "raylet"])
    assert processes.stop(MARK) == []
    assert leader.wait() == -signal.SIGKILL


def test_a_foreign_ray_is_never_touched(start: Start) -> None:
    ours = start("raylet", RAYCTL_NODE=MARK)
    foreign = [start("raylet"), start("gcs_server", RAYCTL_NODE=OTHER), start("raylet", RAYCTL_STEP=MARK)]
    assert processes.stop(MARK) == []
    assert ours.wait() == -signal.SIGTERM
    assert [child.poll() for child in foreign] == [None, None, None]


def test_stop_of_nothing_is_done_at_once() -> None:
    began = time.monotonic()
    assert processes.stop(MARK) == []
    assert time.monotonic() - began < 1


def test_a_pid_that_was_given_to_someone_else_is_left_alone(start: Start) -> None:
    child = start("raylet")
    process = processes.find(child.pid)
    assert process is not None
    assert processes.end([process._replace(started=process.started - 1)], grace_s=0.1) == []
    assert processes.alive(child.pid, process.started)
    assert processes.end([process]) == []
    assert child.wait() == -signal.SIGTERM


def test_end_kills_what_does_not_obey(start: Start) -> None:
    child = start("step", script=STUBBORN)
    process = processes.find(child.pid)
    assert process is not None
    assert processes.end([process], grace_s=0.1) == []
    assert child.wait() == -signal.SIGKILL


def test_zombies_are_not_alive() -> None:
    child = subprocess.Popen(["true"])
    eventually(lambda: processes.find(child.pid) is None)
    assert child.pid not in pids(processes.snapshot())
    child.wait()


def test_names_with_brackets_and_blanks_are_read_whole(start: Start) -> None:
    child = start("ray) S 1 (x")
    process = processes.find(child.pid)
    assert process is not None
    assert (process.name, process.session) == ("ray) S 1 (x", child.pid)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.9"), (socket.AF_INET6, "::1")])
def test_the_listener_of_a_port_is_found(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        port = listener.getsockname()[1]
        assert processes.who_listens(port) is None
        listener.listen()
        holder = processes.who_listens(port)
        assert holder is not None
        assert holder.pid == os.getpid()


def test_the_near_end_of_a_connection_is_no_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        assert processes.who_listens(client.getsockname()[1]) is None


def test_a_machine_id_is_read_from_the_first_file_that_holds_one(tmp_path: Path) -> None:
    torn, good = tmp_path / "torn", tmp_path / "good"
    torn.write_text("uninitialized\n")
    good.write_text("0123456789abcdef0123456789abcdef\n")
    assert processes.machine_id([str(tmp_path / "none"), str(torn), str(good)]) == "0123456789abcdef0123456789abcdef"


def test_a_machine_without_an_id_gets_a_lasting_one() -> None:
    assert processes.machine_id([]) == processes.machine_id([])
    assert len(processes.machine_id([])) == 32


def test_uptime_and_boot_id_are_the_kernels() -> None:
    before = processes.uptime()
    assert 0 < before <= processes.uptime()
    assert len(processes.boot_id()) == 36
    assert processes.boot_id() == processes.boot_id()


@given(st.integers(min_value=2**22 + 1, max_value=2**31))
def test_pids_that_no_machine_has_are_not_alive(pid: int) -> None:
    assert processes.find(pid) is None
    assert not processes.alive(pid, 0)


@pytest.mark.parametrize("python", INTERPRETERS)
def test_it_works_alone_on_every_supported_python(python: str, start: Start) -> None:
    child = start("raylet", RAYCTL_NODE=MARK)
    code = (
        "import os, processes as p, typing; typing.get_type_hints(p.Process);"
        f"found = p.marked({MARK!r}); pid = {child.pid};"
        "assert [(q.pid, q.name, q.session) for q in found] == [(pid, 'raylet', pid)];"
        "assert p.alive(pid, found[0].started); assert len(p.machine_id()) == 32; p.uptime(); p.boot_id();"
        f"assert p.who_listens(1) is None; assert p.stop({MARK!r}) == []"
    )
    run_alone(python, code)
    assert child.wait() == -signal.SIGTERM


def run_alone(python: str, code: str, **env: str) -> None:
    """Run code that sees the module and the standard library only, in a session of its own."""
    home = str(Path(processes.__file__).parent)
    argv = [python, "-S", "-c", f"import sys; sys.path.append({home!r}); {code}"]
    done = subprocess.run(
        argv, check=False, env=os.environ | env, start_new_session=True, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
