# SPDX-License-Identifier: Apache-2.0
"""A worker that lost its head stops its own Ray and gives its host back, by itself; nothing less makes it do so.

A socket stands in for the head's GCS, a `sleep` for Ray.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from claim_bench import Host, myself, request
from node_bench import PYTHONS, Bench, Message, eventually

from rayctl.node import claim, leaving, orphan, processes, ray, state, watch
from rayctl.node.orphan import Absence, Order, Watch

SHORT_S, LONG_S = 0.5, 3600.0
Marked = Callable[..., subprocess.Popen[bytes]]


class Head:
    """What takes connections in place of a GCS, and may stop to."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def reopen(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", self.port))


class Worker:
    """A worker's host with rayctl's claim on it."""

    def __init__(self, bench: Bench, head: Head) -> None:
        self.bench, self.head = bench, head
        self.mark = f"{bench.cluster_id}/{bench.name}"

    def plan(self, timeout_s: float | None, *steps: str, kind: str = "worker", **changes: Any) -> dict[str, Any]:
        start = {"name": "start", "command": "sleep $NAP >/dev/null 2>&1 &", "timeout_s": None, "env": {}, "checks": False}
        wanted = {
            "kind": kind, "digest": "d", "commands": [start], "env": {}, "address": "127.0.0.1", "port": 1, "processes": [],
            "policy": "auto", "want_ray": "", "ports": [], "temp_dir": str(self.bench.out),
        }  # fmt: skip
        times = {} if timeout_s is None else {"orphan_timeout_s": timeout_s}
        return self.bench.plan(*steps, ray=wanted, **times, **changes)

    def up(self, timeout_s: float | None, *steps: str, incarnation: str = "h1", **changes: Any) -> Message:
        """Bring it up with this time."""
        answer = {"ok": True, "address": "127.0.0.1", "port": self.head.port, "incarnation": incarnation, "versions": ""}
        outcome = self.bench.open(self.plan(timeout_s, *steps, **changes), {"head": answer}).done()
        assert not outcome["failed"], outcome
        return outcome

    def watches(self) -> list[int]:
        """The pids of what looks after the head."""
        return [process.pid for process in processes.marked(self.mark, (processes.WATCH,))]

    def ray(self) -> list[int]:
        """The pids of its Ray."""
        return [process.pid for process in self.bench.sleepers()]

    @property
    def note(self) -> str:
        """What is told of the node after its end."""
        path = Path(f"{self.bench.folder}.log")
        return path.read_text() if path.exists() else ""


@pytest.fixture
def head() -> Iterator[Head]:
    made = Head()
    yield made
    made.close()


@pytest.fixture
def python() -> str:
    """The interpreter that carries out the worker's runner."""
    return sys.executable


@pytest.fixture
def worker(bench_of: Callable[[str], Bench], python: str, head: Head) -> Iterator[Worker]:
    made = Worker(bench_of(python), head)
    yield made
    processes.stop(made.mark, order=(), variables=leaving.ALL)


@pytest.fixture
def claimed(worker: Worker, shared_host: Host) -> Host:
    """The worker's host, which is claimed for it."""
    take(worker, shared_host)
    return shared_host


def take(worker: Worker, host: Host) -> None:
    wanted = request(cluster_id=worker.bench.cluster_id, node=worker.bench.name, node_kind="worker")
    claim.take(str(worker.bench.state_dir), wanted, str(host.place))


@pytest.fixture
def marked() -> Iterator[Marked]:
    """Processes that bear a mark."""
    children = []

    def start(**env: str) -> subprocess.Popen[bytes]:
        children.append(subprocess.Popen(["sleep", "60"], env=env, start_new_session=True))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()


# ---- giving up
@pytest.mark.parametrize("python", PYTHONS)
def test_without_its_head_a_worker_stops_its_ray_and_gives_its_host_back(worker: Worker, head: Head, claimed: Host) -> None:
    worker.up(SHORT_S, claimed=True)
    assert len(worker.ray()) == len(worker.watches()) == 1
    head.close()
    eventually(lambda: not worker.watches())
    assert worker.ray() == []
    assert not claimed.file().exists()
    assert list(worker.bench.state_dir.iterdir()) == [Path(f"{worker.bench.folder}.log")]
    why = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ the head took no connection at 127.0.0.1:{head.port} for \d+ s: "
    assert re.fullmatch(why + "its Ray was stopped and the host released\n", worker.note)


def test_what_it_tells_goes_with_the_next_end_of_the_node(worker: Worker, claimed: Host, head: Head) -> None:
    worker.up(SHORT_S, claimed=True)
    head.close()
    eventually(lambda: not worker.watches())
    head.reopen()
    take(worker, claimed)
    assert worker.up(LONG_S, claimed=True)["ray"] == "it was not started yet"
    assert worker.note
    assert leaving.release(str(worker.bench.state_dir), worker.bench.cluster_id, str(claimed.place)) == []
    assert not worker.bench.state_dir.exists()


def test_a_node_without_a_claim_only_stops_its_ray(worker: Worker, head: Head) -> None:
    worker.up(SHORT_S, "echo a >> $O/ran")
    head.close()
    eventually(lambda: not worker.watches())
    assert worker.ray() == []
    assert worker.note.endswith("its Ray was stopped\n")
    head.reopen()
    worker.up(LONG_S, "echo a >> $O/ran")
    assert worker.bench.traces() == ["a"], "what was set up stays set up"


def test_nobody_elses_processes_are_touched(worker: Worker, head: Head, marked: Marked) -> None:
    others = [
        marked(), marked(**{processes.RAY: f"{worker.bench.cluster_id}/other"}), marked(**{processes.WATCH: "other/node"}),
        marked(**{processes.STEP: worker.mark}),
    ]  # fmt: skip
    worker.up(SHORT_S)
    head.close()
    eventually(lambda: not worker.watches())
    assert [other.poll() for other in others] == [None] * 4


# ---- one per node, as the plan wants it
def test_a_second_run_changes_nothing_and_starts_no_second_one(worker: Worker) -> None:
    worker.up(LONG_S)
    before = worker.watches()
    assert worker.up(LONG_S)["changed"] is False
    assert worker.watches() == before


def test_one_that_was_killed_is_started_anew_and_ray_is_left_alone(worker: Worker) -> None:
    worker.up(LONG_S)
    before, ray_before = worker.watches(), worker.ray()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: not worker.watches())
    assert worker.bench.check(worker.plan(LONG_S), {"head": {"ok": True, "incarnation": "h1"}})["changed"] is True
    outcome = worker.up(LONG_S)
    assert (outcome["changed"], outcome["ray"]) == (True, None)
    assert len(worker.watches()) == 1
    assert worker.watches() != before
    assert worker.ray() == ray_before


@pytest.mark.parametrize("time", [None, 0.0])
def test_without_a_time_there_is_none(worker: Worker, time: float | None) -> None:
    assert worker.up(time)["changed"] is True
    assert worker.watches() == []
    assert worker.up(time)["changed"] is False


def test_another_time_takes_the_place_of_the_first_and_ray_is_left_alone(worker: Worker) -> None:
    worker.up(LONG_S)
    before, ray_before = worker.watches(), worker.ray()
    assert worker.up(LONG_S + 1)["changed"] is True
    assert len(worker.watches()) == 1
    assert worker.watches() != before
    worker.up(None)
    assert (worker.watches(), worker.ray()) == ([], ray_before)


def test_a_head_at_another_place_is_the_one_that_is_looked_after(worker: Worker, head: Head) -> None:
    worker.up(SHORT_S)
    worker.head = Head()
    worker.up(SHORT_S, incarnation="h2")
    assert len(worker.watches()) == 1
    head.close()
    with pytest.raises(AssertionError, match="come to that"):
        eventually(lambda: not worker.watches(), within_s=4 * SHORT_S)
    worker.head.close()
    eventually(lambda: not worker.watches())


def test_one_that_the_nodes_state_does_not_know_of_ends_too(worker: Worker) -> None:
    worker.up(LONG_S)
    (worker.bench.folder / "state.json").unlink()
    before = worker.watches()
    worker.up(LONG_S)
    assert len(worker.watches()) == 1
    assert worker.watches() != before


def test_one_whose_runner_died_before_it_gave_it_its_code_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", watch.BOOT], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode != 0


def test_one_that_does_not_start_is_told(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BOOT", "import sys; sys.stdin.buffer.read(); sys.exit('no luck')")
    known = state.NodeState(str(worker.bench.folder), worker.bench.cluster_id, worker.bench.name)
    state.make_private(str(worker.bench.folder))
    with pytest.raises(state.NodeError, match=r"did not start: no luck. `scaler.orphan_timeout: 0` does without"):
        watch.keep(watch.Work(worker.plan(LONG_S), known, None), "127.0.0.1", 1)  # type: ignore[arg-type]


# ---- what it is to others
def test_it_holds_nothing_of_whoever_started_it(worker: Worker) -> None:
    worker.bench.env["SECRET"] = "s3cret"
    worker.up(LONG_S)
    (pid,) = worker.watches()
    assert Path(f"/proc/{pid}/environ").read_bytes() == f"{processes.WATCH}={worker.mark}".encode() + b"\0"
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")} == {os.devnull}
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) == pid


def test_it_outlives_the_nodes_ray_and_ends_with_the_node(worker: Worker, claimed: Host) -> None:
    worker.up(LONG_S, claimed=True)
    assert processes.stop(worker.mark) == []
    assert (len(worker.watches()), worker.ray()) == (1, [])
    assert leaving.release(str(worker.bench.state_dir), worker.bench.cluster_id, str(claimed.place)) == []
    assert worker.watches() == []


def test_a_claim_that_ran_out_is_not_held_by_it(worker: Worker, claimed: Host) -> None:
    worker.up(LONG_S, claimed=True)
    processes.stop(worker.mark)
    claimed.change(expires=1.0)
    claimed.taken(cluster="other", cluster_id="id-other")


# ---- when it acts, with a clock of the test's
class Given:
    """A watch in this process, over a head and with a clock as the test wants them."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host, self.now, self.answers = host, 0.0, True
        host.taken(node_kind="worker")
        monkeypatch.setattr(ray, "answers", lambda *_: self.answers)
        monkeypatch.setattr(orphan.time, "monotonic", lambda: self.now)
        order = Order("id-demo", "h1", host.state_dir(), claimed=True, address="10.0.0.1", port=6379, timeout_s=600.0)
        self.watch = Watch(order, str(host.place))

    def turns(self, count: int, every_s: float = 10.0) -> bool:
        """Whether one of so many looks was the last."""
        for _ in range(count):
            self.now += every_s
            if self.watch.turn():
                return True
        return False

    @property
    def note(self) -> list[str]:
        path = Path(f"{self.host.folder()}.log")
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def given(host: Host, monkeypatch: pytest.MonkeyPatch) -> Given:
    made = Given(host, monkeypatch)
    assert not made.turns(3)
    return made


def test_it_gives_up_when_the_time_is_over_and_not_before(given: Given) -> None:
    given.answers = False
    assert not given.turns(59)
    assert given.host.file().exists()
    assert given.turns(1)
    assert not given.host.file().exists()


def test_a_head_that_comes_back_in_time_changes_nothing(given: Given) -> None:
    for _ in range(3):
        given.answers = False
        assert not given.turns(59)
        given.answers = True
        assert not given.turns(1)
    assert given.host.file().exists()
    assert given.note == []


def test_a_head_that_was_never_there_is_not_missed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Given(host, monkeypatch)
    given.answers = False
    assert not given.turns(1000)


def test_a_clock_that_jumps_is_no_time_without_a_head(given: Given) -> None:
    given.answers = False
    assert not given.turns(10, every_s=86400.0)


def test_beside_a_runner_it_does_nothing(given: Given) -> None:
    lock = state.take_lock(str(given.host.folder()))
    given.answers = False
    assert not given.turns(100)
    assert given.host.file().exists()
    os.close(lock)
    assert given.turns(1)


def test_whoever_renews_the_claim_gets_as_long_again(given: Given) -> None:
    given.answers = False
    assert not given.turns(59)
    given.host.record(myself())
    given.now += 100
    assert not given.turns(59)
    assert given.host.file().exists()
    assert given.turns(2)


def test_a_claim_that_is_renewed_while_it_gives_up_stays(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = processes.stop

    def stop_and_claim(*told: Any, **more: Any) -> list[processes.Process]:
        given.host.record(myself())
        return stop(*told, **more)

    monkeypatch.setattr(processes, "stop", stop_and_claim)
    given.answers = False
    assert not given.turns(60)
    assert given.host.file().exists()
    assert (given.host.folder() / "claim.json").exists()


@pytest.mark.parametrize("cluster", ["demo", "other"])
def test_where_another_cluster_of_the_same_user_took_the_host_it_ends_and_touches_nothing(given: Given, cluster: str) -> None:
    given.host.change(expires=1.0)
    assert not given.turns(1)
    given.host.taken(cluster=cluster, cluster_id="id-other")
    before = sorted(given.host.homes.rglob("*"))
    assert given.turns(1)
    mine = given.host.board.mine()
    assert mine is not None
    assert mine.cluster_id == "id-other"
    assert sorted(given.host.homes.rglob("*")) == before


def test_what_stands_in_the_way_is_tried_again_each_minute_and_told_once(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def refuse(*_: Any) -> None:
        tries.append(given.now)
        raise state.NodeError("cannot remove /home: Read-only file system")

    given.answers = False
    with monkeypatch.context() as disk:
        disk.setattr(leaving, "release", refuse)
        assert not given.turns(60 + 18)
    assert [later - earlier for earlier, later in itertools.pairwise(tries)] == [60.0] * 3
    (line,) = given.note
    assert line.endswith("but the node cannot be given up: cannot remove /home: Read-only file system")
    assert given.turns(6)


def test_a_state_folder_that_somebody_removed_is_no_obstacle(given: Given) -> None:
    subprocess.run(["rm", "-r", given.host.folder()], check=True)
    given.answers = False
    assert given.turns(60)
    assert not given.host.file().exists()


@pytest.mark.parametrize(
    ("looks", "seconds"),
    [
        ([(False, 0.0), (False, 99.0)], 0.0),
        ([(True, 0.0), (False, 10.0), (False, 20.0)], 20.0),
        ([(True, 0.0), (False, 10.0), (True, 20.0), (False, 30.0)], 10.0),
        ([(True, 0.0), (False, 9000.0)], 12.0),
    ],
    ids=["never there", "away", "back, and away", "slept"],
)
def test_for_how_long_a_head_is_away(looks: list[tuple[bool, float]], seconds: float) -> None:
    absence = Absence(12.0)
    assert [absence.look(*look) for look in looks][-1] == seconds
