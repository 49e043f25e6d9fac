# SPDX-License-Identifier: Apache-2.0
"""A node goes, and nothing of it stays; what is not ours is not touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from claim_bench import ANNA, BOB, Host, as_user, killed_at, needs_root
from node_bench import eventually

from rayctl.node import control, leaving, processes, state

Marked = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def marked() -> Iterator[Marked]:
    """Processes that bear a node's mark."""
    children = []

    def start(mark: str, variable: str = processes.RAY) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(["sleep", "60"], env={variable: mark}, start_new_session=True)
        children.append(child)
        eventually(lambda: processes.marked(mark, (variable,)))
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()


def release(host: Host, cluster: str = "demo", cluster_id: str = "id-demo") -> list[str] | None:
    return leaving.release(host.state_dir(cluster), cluster_id, str(host.place))


def fill(host: Host, cluster: str = "demo") -> None:
    """What runs leave in a node's folder and in the one that all machines with this home share."""
    folder = host.folder(cluster)
    (folder / "logs").mkdir()
    (folder / "logs" / "01-setup.log").write_text("")
    (folder.parent / "files").mkdir()
    for path in (folder / "state.json", folder.parent / "token", folder.parent / "env", folder.parent / "files" / "job.py"):
        path.write_text("")


def test_nothing_stays(host: Host, marked: Marked) -> None:
    host.taken()
    fill(host)
    ray, step = marked("id-demo/h1"), marked("id-demo/h1", processes.STEP)
    assert release(host) == []
    assert (ray.wait(), step.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
    assert list(host.place.iterdir()) == []
    assert list((host.homes / str(os.geteuid())).iterdir()) == []


def test_the_runner_ends_first(host: Host) -> None:
    host.taken()
    runner = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE)
    assert runner.stdout is not None
    runner.stdout.readline()
    found = processes.find(runner.pid)
    assert found is not None
    status = {"version": 1, "pid": found.pid, "started": found.started, "step": "", "step_run": ""}
    state.write(str(host.folder() / control.STATUS), status)
    assert release(host) == []
    assert runner.wait() == -signal.SIGTERM
    runner.communicate()


def test_a_second_release_is_a_success_that_does_nothing(host: Host) -> None:
    host.taken()
    assert release(host) == []
    assert release(host) is None


def test_a_kill_at_any_moment_is_made_good_by_the_next_release(host: Host) -> None:
    call = 1
    host.taken()
    fill(host)
    while killed_at(call, lambda: release(host)):
        call += 1
        release(host)
        assert list(host.place.iterdir()) == []
        assert not host.folder().exists()
        host.taken()
        fill(host)
    assert call > 8


def test_what_another_cluster_of_ours_has_is_not_touched(host: Host, marked: Marked) -> None:
    host.taken(cluster="other", cluster_id="id-other")
    ray = marked("id-other/h1")
    before = host.file().read_text()
    assert release(host) is None
    assert release(host, "other", "id-of-someone-else") is None
    assert ray.poll() is None
    assert host.file().read_text() == before
    assert host.folder("other").exists()


def test_a_cluster_that_lost_the_host_takes_only_its_own_folder_along(host: Host) -> None:
    host.taken(ttl_s=0.0)
    host.taken(cluster="other", cluster_id="id-other")
    assert release(host) == []
    assert not host.folder().exists()
    assert host.folder("other").exists()
    assert host.file().exists()


def test_processes_that_do_not_end_are_named_and_keep_the_claim(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.taken()
    monkeypatch.setattr(processes, "stop", lambda mark, variables: [processes.Process(7, 1, "raylet", 7)])
    assert release(host) == ["raylet (pid 7)"]
    assert host.file().exists()
    assert host.folder().exists()


def test_a_lost_public_half_stops_no_release(host: Host) -> None:
    host.taken()
    host.file().unlink()
    assert release(host) == []
    assert not host.folder().exists()


def test_other_machines_with_the_same_home_keep_what_they_share(host: Host) -> None:
    host.taken()
    fill(host)
    shared = host.folder().parent
    (shared / "0123456789abcdef").mkdir()
    assert release(host) == []
    assert sorted(path.name for path in shared.iterdir()) == ["0123456789abcdef", "env", "files", "token"]


def test_what_people_put_beside_it_stays(host: Host) -> None:
    host.taken()
    fill(host)
    (host.folder().parent / "notes").write_text("")
    assert release(host) == []
    assert [path.name for path in host.folder().parent.iterdir()] == ["notes"]


def test_links_are_removed_and_not_followed(host: Host, tmp_path: Path) -> None:
    host.taken()
    (tmp_path / "precious").write_text("")
    (host.folder() / "folder").symlink_to(tmp_path)
    (host.folder() / "file").symlink_to(tmp_path / "precious")
    assert release(host) == []
    assert (tmp_path / "precious").exists()


def test_a_link_in_the_folders_place_is_refused(host: Host, tmp_path: Path) -> None:
    host.taken()
    host.folder().rename(tmp_path / "real")
    host.folder().symlink_to(tmp_path / "real")
    with pytest.raises(state.NodeError, match="is a symlink"):
        release(host)
    assert (tmp_path / "real" / "claim.json").exists()


def test_a_folder_that_others_can_write_to_is_refused(host: Host) -> None:
    host.taken()
    host.folder().chmod(0o777)
    with pytest.raises(state.NodeError, match="can be written by others"):
        release(host)
    assert host.folder().exists()


@needs_root
def test_another_users_claim_is_not_touched(host: Host) -> None:
    as_user(ANNA, host.taken)
    before = json.loads(host.file(ANNA).read_text())
    assert as_user(BOB, lambda: release(host)) is None
    assert json.loads(host.file(ANNA).read_text()) == before
