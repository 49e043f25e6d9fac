# SPDX-License-Identifier: Apache-2.0
"""What a play is told, what is learnt from it, and how it is stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rayctl.provision import driver
from rayctl.provision.driver import Driver, Playbook
from rayctl.provision.progress import FOLDER

DONE = {"event": "done", "changed": True, "failed": False, "message": "", "step": None}


class FakeAnsible:
    """Stands in for an `AnsibleProcess`: keeps what it was told, and ends by itself after so many looks."""

    def __init__(self, folder: Path, events: list[dict[str, Any]] | None = None, looks: int = 1) -> None:
        self.folder, self.sink, self.events, self.status = folder, folder / "sink", events or [], "successful"
        self.looks, self.words, self.stops = looks, [], 0
        self.files: dict[str, tuple[str, int]] = {}
        folder.mkdir(exist_ok=True)
        self.sink.touch()

    def play(self, words: list[str]) -> None:
        self.words = words
        self.files = {path.name: (path.read_text(), path.stat().st_mode & 0o777) for path in self.folder.iterdir()}

    def ended(self, patience_s: float) -> bool:
        self.looks -= 1
        return self.looks < 0

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def ansible(tmp_path: Path) -> FakeAnsible:
    return FakeAnsible(tmp_path / "run")


def play(ansible: FakeAnsible, **changes: Any) -> driver.Outcome:
    book = Playbook("up", Path("/nowhere/cluster.yaml"), **changes)
    return Driver(book, on_message=lambda message: None).run(ansible)  # type: ignore[arg-type]


def test_the_inventory_names_the_cluster_file_and_what_was_said_beside_it(ansible: FakeAnsible) -> None:
    play(ansible, overrides={"max_workers": 3})
    assert "/nowhere/cluster.yaml" in ansible.files["cluster.rayctl.yml"][0]
    assert "max_workers: 3" in ansible.files["cluster.rayctl.yml"][0]


def test_a_home_with_a_dollar_in_its_name_arrives_at_ansible_as_it_is(ansible: FakeAnsible) -> None:
    """Ansible expands variables in the path of an inventory, once."""
    play(ansible)
    folder, _, file = ansible.words[ansible.words.index("-i") + 1].partition("/")
    assert folder == f"${FOLDER}"
    assert file in ansible.files


def test_a_password_for_sudo_is_in_a_private_file_alone(ansible: FakeAnsible, tmp_path: Path) -> None:
    play(ansible, become_password="zebra crossing")
    assert ansible.files["become-password"] == ("zebra crossing", 0o600)
    assert ansible.words[ansible.words.index("--become-password-file") + 1].endswith("/become-password")
    assert "zebra" not in repr((ansible.words, Playbook("up", Path("/c.yaml"), become_password="zebra")))
    other = FakeAnsible(tmp_path / "other")
    play(other)
    assert "become-password" not in other.files


def test_the_command_line_holds_flags_of_ours_and_no_user_data(ansible: FakeAnsible) -> None:
    play(ansible, limit=("a", "b"), check=True, diff=True, tags=("setup",), variables={"ray_node_restart": "never"})
    words = ansible.words
    assert words[0] == "rayctl.ray.up"
    assert "--check" in words and "--diff" in words
    assert words[words.index("--limit") + 1] == "a,b"
    assert words[words.index("--tags") + 1] == "setup"
    assert words[words.index("-e") + 1] == "ray_node_restart=never"


def test_failures_and_unreachable_hosts_are_told_apart(ansible: FakeAnsible) -> None:
    ansible.events = [
        {"event": "runner_on_failed", "event_data": {"host": "a", "res": {"msg": "no"}}},
        {"event": "runner_on_failed", "event_data": {"host": "b", "ignore_errors": True, "res": {"msg": "never mind"}}},
        {"event": "runner_on_unreachable", "event_data": {"host": "c", "res": {"msg": "gone"}}},
        {"event": "runner_on_ok", "event_data": {"host": "d", "res": {"diff": [{"prepared": "x\n"}]}}},
    ]
    outcome = play(ansible)
    assert (outcome.failures, outcome.unreachable) == ({"a": "no"}, {"c": "gone"})
    assert outcome.diffs == {"d": [{"prepared": "x\n"}]}


# ---- when it is over
def told(ansible: FakeAnsible, *hosts: str) -> None:
    """These hosts have told of their end."""
    with ansible.sink.open("a") as sink:
        sink.writelines(json.dumps({**DONE, "host": host}) + "\n" for host in hosts)


def test_once_all_hosts_have_told_ansibles_own_end_is_not_waited_for(ansible: FakeAnsible) -> None:
    ansible.looks = 10**6
    told(ansible, "a", "b")
    outcome = play(ansible, limit=("a", "b"))
    assert outcome.status == "successful"
    assert set(outcome.nodes) == {"a", "b"}
    assert ansible.stops == 0


@pytest.mark.parametrize("more", [{"diff": True}, {"check": True}])
def test_what_only_ansible_knows_is_waited_for(ansible: FakeAnsible, more: dict[str, Any]) -> None:
    told(ansible, "a")
    ansible.events = [{"event": "runner_on_ok", "event_data": {"host": "a", "res": {"diff": [{"prepared": "x\n"}]}}}]
    assert play(ansible, limit=("a",), **more).diffs == {"a": [{"prepared": "x\n"}]}


def test_a_host_that_told_nothing_is_waited_for(ansible: FakeAnsible) -> None:
    told(ansible, "a")
    ansible.events = [{"event": "runner_on_unreachable", "event_data": {"host": "b", "res": {"msg": "gone"}}}]
    assert play(ansible, limit=("a", "b")).unreachable == {"b": "gone"}


# ---- stopping
def test_it_is_stopped_after_a_cancel_for_as_long_as_it_lives(ansible: FakeAnsible) -> None:
    run = Driver(Playbook("up", Path("/c.yaml")), on_message=lambda message: None)
    assert not run._is_over()
    run.cancel()
    ansible.looks = 3
    run.run(ansible)  # type: ignore[arg-type]
    assert ansible.stops == 3


def test_a_time_limit_ends_the_run_like_a_cancel(ansible: FakeAnsible, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(driver.time, "monotonic", lambda: now)
    run = Driver(Playbook("up", Path("/c.yaml")), on_message=lambda message: None, timeout_s=60)
    now = 59.0
    assert not run._is_over()
    now = 61.0
    assert run._is_over()
    assert run.run(ansible).status == "timeout"  # type: ignore[arg-type]
    assert ansible.stops == 1


def test_the_status_is_the_cancels_or_ansibles(ansible: FakeAnsible, tmp_path: Path) -> None:
    assert play(ansible).status == "successful"
    cancelled = Driver(Playbook("up", Path("/c.yaml")), on_message=lambda message: None)
    cancelled.cancel()
    assert cancelled.run(FakeAnsible(tmp_path / "b")).status == "canceled"  # type: ignore[arg-type]


def test_a_problem_of_ours_stops_it(ansible: FakeAnsible) -> None:
    ansible.looks = 10**6

    def full(_: list[str]) -> None:
        raise OSError("no space left")

    ansible.play = full  # type: ignore[assignment, method-assign]
    with pytest.raises(OSError, match="no space"):
        play(ansible)
    assert ansible.stops == 1
