# SPDX-License-Identifier: Apache-2.0
"""What every operation begins with: one writer, the cluster that was met before, commands that can be pasted."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from rayctl.errors import Busy, ConfigError, Refused
from rayctl.operations import leases
from rayctl.state import cluster, holder, lease, paths


def test_second_writer_is_told_for_whom_it_waits_and_gives_up(desk: Any) -> None:
    with desk.session().one_writer(0), pytest.raises(Busy) as caught, desk.session("down").one_writer(0):
        pass
    assert caught.value.exit_code == 5
    assert "rayctl up demo" in caught.value.message
    assert "--lock-timeout" in caught.value.hint


def test_a_lease_in_the_environment_of_another_cluster_lets_nobody_in(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both writers run inside of one step of some cluster: they must not take each other for the same operation."""
    monkeypatch.setenv(lease.TOKEN_VARIABLE, "f" * 32)
    with desk.session().one_writer(0), pytest.raises(Busy), desk.session().one_writer(0):
        pass


def test_writer_takes_the_lease_on_the_head_and_gives_it_back(desk: Any) -> None:
    desk.machines.identity = "id-1"
    head = desk.machines.add("demo-head-1")
    store = lease.FileLeaseStore(desk.machines.folder / head.name / "lease.json")
    session = desk.session()
    with session.one_writer(0):
        assert store.read().lease is None, "who has changed nothing yet holds up nobody elsewhere"
        session.take_lease()
        held = store.read().lease
        assert held is not None
        assert held.expires > store.read().now
        assert held.owner.operation == "rayctl up demo"
    freed = store.read().lease
    assert freed is not None
    assert freed.expires == 0


def elsewhere(desk: Any, store: lease.FileLeaseStore) -> lease.Lease:
    """Another controller takes the lease."""
    seen = store.read()
    other = holder.Holder("rayctl up demo", pid=1, host="other", controller="another")
    got = lease.acquire(seen.lease, other, seen.now, seen.boot_id, token=lease.LeaseToken.new())
    assert isinstance(got, lease.Lease)
    assert store.compare_and_set(seen.generation, got)
    return got


def test_what_was_planned_while_another_wrote_is_void(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.machines.identity = "id-1"
    head = desk.machines.add("demo-head-1")
    store = lease.FileLeaseStore(desk.machines.folder / head.name / "lease.json")
    session = desk.session()
    with session.one_writer(30):
        taken = elsewhere(desk, store)
        freed = lease.release(taken, taken)
        assert freed is not None
        # when it is told that we wait for it
        monkeypatch.setattr(desk.kept, "write", lambda _: store.compare_and_set(taken.generation, freed))
        with pytest.raises(leases.Overtaken):
            session.take_lease()
        session.take_lease()  # it is ours by now


def test_nobody_plans_while_another_controller_writes(desk: Any) -> None:
    desk.machines.identity = "id-1"
    head = desk.machines.add("demo-head-1")
    elsewhere(desk, lease.FileLeaseStore(desk.machines.folder / head.name / "lease.json"))
    with pytest.raises(Busy, match="other"), desk.session().one_writer(0):
        pytest.fail("it was let in")


def test_a_lost_lease_stops_whoever_asks_before_changing_something(desk: Any) -> None:
    desk.machines.identity = "id-1"
    desk.machines.add("demo-head-1")
    session = desk.session()
    with session.one_writer(0):
        session.take_lease()
        session.check_lease()
        session._writer.keeper.lost.set()
        with pytest.raises(Busy, match="was lost"):
            session.check_lease()


def test_another_cluster_of_the_same_name_is_refused_before_anything_happens(desk: Any) -> None:
    desk.machines.identity = "id-1"
    with desk.session().one_writer(0):
        pass
    desk.machines.identity = "id-2"
    with pytest.raises(Refused, match="another cluster of the same name") as caught, desk.session("down").one_writer(0):
        pytest.fail("it was let in")
    assert "--accept-other-cluster" in caught.value.hint


def test_another_cluster_of_the_same_name_can_be_accepted_once_and_for_all(desk: Any) -> None:
    for identity, accept in (("id-1", False), ("id-2", True), ("id-2", False)):
        desk.machines.identity = identity
        with desk.session().one_writer(0, accept_other=accept):
            pass
    known = cluster.load(paths.record_file(desk.home, "demo"))
    assert known is not None
    assert known.cluster_id == "id-2"


def test_a_cluster_that_was_taken_down_elsewhere_is_no_stranger_when_it_comes_back(desk: Any) -> None:
    desk.machines.identity = "id-1"
    with desk.session().one_writer(0):
        pass
    desk.machines.identity = None
    session = desk.session()
    with session.one_writer(0):
        assert session.record("id-3").cluster_id == "id-3"


def test_commands_for_people_survive_a_shell(desk: Any) -> None:
    desk.file = desk.file.rename(desk.folder / "it's a $file.yaml")
    session = desk.session(cluster_name="other")
    words = shlex.split(session.command("exec", "ray status"))
    assert words == ["rayctl", "exec", str(desk.file), "-n", "other", "ray status"]


def test_the_name_of_the_file_needs_no_flag(desk: Any) -> None:
    assert "-n" not in desk.session(min_workers=1).command("down")


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("docker: {image: 'rayproject/ray:latest'}\n", "`docker` block is not built yet"),
        ("auth: {become: true}\n", "auth.become"),
    ],
)
def test_blocks_that_are_not_built_are_refused(desk: Any, block: str, says: str) -> None:
    desk.file.write_text(desk.file.read_text() + block)
    with pytest.raises(Refused, match=says) as caught:
        desk.session().refuse_what_is_not_built()
    assert "nothing was touched" in caught.value.message


def test_docker_without_an_image_is_no_docker(desk: Any) -> None:
    desk.file.write_text(desk.file.read_text() + "docker: {image: ''}\n")
    desk.session().refuse_what_is_not_built()


def test_missing_local_files_are_an_error_with_their_lines(desk: Any) -> None:
    desk.file.write_text(desk.file.read_text() + "file_mounts: {~/x: gone}\nauth: {ssh_private_key: no.pem}\n")
    with pytest.raises(ConfigError) as caught:
        desk.session().require_local_files()
    assert [problem.line for problem in caught.value.problems] == [7, 8]
    assert caught.value.exit_code == 2
