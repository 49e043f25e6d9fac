# SPDX-License-Identifier: Apache-2.0
"""How the scaler is kept running: a unit's text, the supervisor's patience, what there is to run it with."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from pathlib import Path

import pytest
from node_bench import eventually

from rayctl.node import processes, scaler_launch, scaler_ops, scaler_probe, scaler_service
from rayctl.node.scaler_service import SUPERVISED, SYSTEM, USER, Service
from rayctl.node.state import NodeError


# ---- units
def service(tmp_path: Path, *words: str) -> Service:
    return Service("demo", f"id-{tmp_path.name}", str(tmp_path / "state"), str(tmp_path / "home"), sys.executable, words)


def test_a_unit_gives_every_word_as_it_is(tmp_path: Path) -> None:
    text = service(tmp_path, "-c", 'print("100% $HOME \\ ")\n', "{file}").unit(SYSTEM)
    assert r'''"-c" "print(\"100%% $$HOME \\ \")\n" "{file}"''' in text
    assert f'Environment="RAYCTL_HOME={tmp_path}/home"\n' in text
    assert "User=" in text
    assert "WantedBy=multi-user.target" in text
    assert "RestartPreventExitStatus=3\n" in text
    assert "User=" not in service(tmp_path).unit(USER)


def test_a_unit_is_one_login_users_and_one_clusters() -> None:
    assert scaler_service.unit_name("a-b_C") == f"rayctl-scaler-{os.geteuid()}-a-b_C.service"


# ---- the supervisor
def test_it_waits_longer_each_time_and_begins_anew_after_a_long_run() -> None:
    pauses = [1.0]
    for _ in range(8):
        pauses.append(scaler_launch.next_pause(pauses[-1], 0.1))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert scaler_launch.next_pause(60.0, 61.0) == 1.0


@pytest.mark.parametrize(("code", "runs"), [(0, 1), (3, 1), (5, 3), (1, 3)])
def test_it_starts_again_what_neither_ended_nor_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, runs: int
) -> None:
    monkeypatch.setattr(scaler_launch, "next_pause", lambda *_: 0.0)
    monkeypatch.setattr(scaler_launch.signal, "signal", lambda *_: None)
    script = f'echo run >> {tmp_path}/runs; [ "$(wc -l < {tmp_path}/runs)" -lt 3 ] || exit 0; exit {code}'
    assert scaler_launch.Supervisor(["/bin/sh", "-c", script]).run() in (0, code)
    assert len((tmp_path / "runs").read_text().splitlines()) == runs


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service on a machine without systemd."""
    monkeypatch.setattr(scaler_service, "BOOTED", str(tmp_path / "nowhere"))
    monkeypatch.setattr(scaler_service, "WATCH_S", 0.5)
    root = Path(scaler_launch.__file__).parents[2]
    monkeypatch.setattr(Service, "environment", property(lambda self: {
        "PATH": os.environ["PATH"], "RAYCTL_HOME": self.home, "RAYCTL_SCALER": self.cluster_id, "PYTHONPATH": str(root),
    }))  # fmt: skip
    (tmp_path / "state" / "scaler").mkdir(parents=True, mode=0o700)
    (tmp_path / "state").chmod(0o700)
    return service(tmp_path, "-c", "import time; print('here', flush=True); time.sleep(60)")


def ended(wanted: Service) -> bool:
    return scaler_service.remove(wanted.cluster, wanted.cluster_id, wanted.state_dir) == []


def test_without_systemd_a_process_of_its_own_outlives_whoever_started_it(supervised: Service, tmp_path: Path) -> None:
    output = tmp_path / "state" / "scaler" / "output"
    assert scaler_service.ensure(supervised, restart=True) == {"kind": SUPERVISED, "restarted": True}
    try:
        assert scaler_service.running(supervised.state_dir, SUPERVISED)
        assert scaler_service.ensure(supervised, restart=False)["restarted"] is False
        eventually(lambda: output.read_text() == "here\n")
        first = scaler_service._who(supervised.state_dir, "daemon.json")
        assert scaler_service.ensure(supervised, restart=True)["restarted"]
        second = scaler_service._who(supervised.state_dir, "daemon.json")
        assert first and second and first["pid"] != second["pid"]
        assert not processes.alive(first["pid"], first["started"])
        assert processes.find(second["pid"]).session != os.getsid(0)  # type: ignore[union-attr]
        eventually(lambda: output.read_text() == "here\nhere\n")
    finally:
        assert ended(supervised)
    assert not processes.alive(second["pid"], second["started"])
    assert not processes.marked(supervised.cluster_id, ("RAYCTL_SCALER",))


def test_a_daemon_that_ends_at_once_is_told_with_its_last_words(supervised: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaler_service, "WATCH_S", 10.0)
    broken = supervised._replace(words=("-c", "import sys; sys.exit('no such thing')"))
    with pytest.raises(NodeError, match="the scaler ended at once: no such thing"):
        scaler_service.ensure(broken, restart=True)
    assert ended(broken)


def test_a_daemon_that_is_slower_to_end_than_its_supervisor_ends_all_the_same(
    supervised: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaler_service, "END_S", 0.5)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(60)"
    scaler_service.ensure(supervised._replace(words=("-c", code)), restart=True)
    output = Path(supervised.state_dir) / "scaler" / scaler_launch.OUTPUT
    eventually(lambda: output.read_text() == "here\n")
    scaler_service.stop_supervisor(supervised.state_dir)
    assert not processes.marked(supervised.cluster_id, ("RAYCTL_SCALER",))


def test_its_removal_waits_for_an_installation_that_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "state" / "scaler"
    folder.mkdir(parents=True, mode=0o700)
    (tmp_path / "state").chmod(0o700)
    request = {
        "op": "scaler_remove", "state_dir": str(tmp_path / "state"), "cluster": "demo", "cluster_id": f"id-{tmp_path.name}",
        "marker": "rayctl:1", "apart": 0,
    }  # fmt: skip
    remover = threading.Thread(target=lambda: scaler_ops.ops.ANSWERS["scaler_remove"](request))
    installs = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(installs, fcntl.LOCK_EX)
        remover.start()
        remover.join(0.5)
        assert folder.exists()
    finally:
        os.close(installs)
    remover.join(30)
    assert not folder.exists()


def test_its_end_takes_along_what_it_started(supervised: Service) -> None:
    code = "import subprocess, time; subprocess.Popen(['sleep', '61'], start_new_session=True); time.sleep(60)"
    scaler_service.ensure(supervised._replace(words=("-c", code)), restart=True)
    eventually(lambda: len(processes.marked(supervised.cluster_id, ("RAYCTL_SCALER",))) == 3)
    assert ended(supervised)
    assert not processes.marked(supervised.cluster_id, ("RAYCTL_SCALER",))


# ---- what there is to run it with
def test_the_newest_python_is_taken_or_the_one_that_was_named() -> None:
    found = scaler_probe.probe("")
    assert tuple(found["python"]["version"]) >= (3, 11)
    assert found["python"]["abi"] == "cp{}{}".format(*found["python"]["version"])
    assert found["missing"] == []
    assert scaler_probe.probe(sys.executable)["python"]["version"] == list(sys.version_info[:3])


def test_an_environments_interpreter_names_the_one_below_it() -> None:
    found = scaler_probe.probe(str(Path(sys.prefix) / "bin" / "python"))["python"]["python"]
    assert Path(found).parent.parent == Path(sys.base_prefix)


@pytest.mark.parametrize(("script", "tried"), [
    ("""echo '{"version": [3, 9, 1], "implementation": "cpython"}'""", "cpython 3.9.1"),
    ("""echo '{"version": [3, 11, 1], "implementation": "pypy"}'""", "pypy 3.11.1"),
    ("exit 1", "not there"),
    ("echo garbage", "not there"),
])  # fmt: skip
def test_what_will_not_do_is_named(tmp_path: Path, script: str, tried: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    found = scaler_probe.probe(str(python))
    assert (found["python"], found["tried"]) == (None, tried)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(scaler_probe, "ELSEWHERE", ())
    assert scaler_probe.probe("")["missing"] == ["ssh", "ssh-keygen"]
