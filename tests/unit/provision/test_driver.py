# SPDX-License-Identifier: Apache-2.0
"""The driver's own promises: nothing secret is handed to ansible-runner, and no folder outlives its run for long."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rayctl.node import processes
from rayctl.provision import driver
from rayctl.provision.driver import Driver, Playbook


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class FakeRunner:
    """Stands in for `ansible_runner.run`: keeps what it was called with and the environment at that moment."""

    def __init__(self, events: list[dict[str, Any]] | None = None) -> None:
        self.status, self.events = "successful", events or []
        self.called: dict[str, Any] = {}
        self.environ: dict[str, str] = {}
        self.folder, self.folder_mode = Path(), 0
        self.files: dict[str, tuple[str, int]] = {}

    def run(self, **kwargs: Any) -> FakeRunner:
        self.called, self.environ = kwargs, dict(os.environ)
        self.folder_mode = Path(kwargs["private_data_dir"]).stat().st_mode & 0o777
        self.folder = Path(kwargs["private_data_dir"])
        self.files = {path.name: (path.read_text(), path.stat().st_mode & 0o777) for path in self.folder.iterdir()}
        for event in self.events:
            kwargs["event_handler"](event)
        return self


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> FakeRunner:
    import ansible_runner

    fake = FakeRunner()
    monkeypatch.setattr(ansible_runner, "run", fake.run)
    return fake


def play(**changes: Any) -> driver.Outcome:
    book = Playbook("up", Path("/nowhere/cluster.yaml"), **changes)
    return Driver(book, on_message=lambda message: None).run()


def test_what_may_be_secret_is_kept_from_the_runner(runner: FakeRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalr")
    monkeypatch.setenv("MY_TOKEN", "t0ken")
    play()
    for given in (runner.environ, runner.called["envvars"]):
        assert not {"AWS_SECRET_ACCESS_KEY", "MY_TOKEN"} & set(given)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "wJalr", "it is only away while the runner looks"


def test_host_keys_stay_checked_and_only_our_inventory_plugin_is_asked(runner: FakeRunner) -> None:
    play()
    assert runner.called["envvars"]["ANSIBLE_HOST_KEY_CHECKING"] == "True"
    assert runner.called["envvars"]["ANSIBLE_INVENTORY_ENABLED"] == "rayctl.ray.rayctl"
    assert "/nowhere/cluster.yaml" in runner.files["cluster.rayctl.yml"][0]


def test_a_home_with_a_dollar_in_its_name_arrives_at_ansible_as_it_is(runner: FakeRunner) -> None:
    """Ansible expands variables in the path of an inventory, once."""
    play()
    words = shlex.split(runner.called["cmdline"])
    folder, _, file = words[words.index("-i") + 1].partition("/")
    assert runner.called["envvars"][folder.removeprefix("$")] == str(runner.folder)
    assert file in runner.files


def test_a_password_for_sudo_is_in_a_private_file_alone(runner: FakeRunner) -> None:
    play(become_password="zebra crossing")
    assert runner.files["become-password"] == ("zebra crossing", 0o600)
    words = shlex.split(runner.called["cmdline"])
    assert words[words.index("--become-password-file") + 1].endswith("/become-password")
    assert "zebra" not in repr((runner.called, runner.environ, Playbook("up", Path("/c.yaml"), become_password="zebra")))
    play()
    assert "become-password" not in runner.files


@pytest.mark.parametrize("name", ["ANSIBLE_BECOME_PASS", "ANSIBLE_SUDO_PASS", "ANSIBLE_SSH_PASSWORD", "ANSIBLE_PRIVATE_KEY"])
def test_a_secret_of_ansibles_is_kept_from_the_runner_too(
    runner: FakeRunner, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "zebra")
    play()
    assert "zebra" not in repr((runner.environ, runner.called["envvars"]))


def test_ansible_asks_nothing_at_a_terminal_that_nobody_sees(runner: FakeRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_BECOME_ASK_PASS", "True")
    play()
    assert {**runner.environ, **runner.called["envvars"]}["ANSIBLE_BECOME_ASK_PASS"] == "False"


def test_the_command_line_holds_flags_of_ours_and_no_user_data(runner: FakeRunner) -> None:
    play(limit=("a", "b"), check=True, diff=True, tags=("setup",), variables={"rayctl_restart": "never"})
    words = shlex.split(runner.called["cmdline"])
    assert "--check" in words and "--diff" in words
    assert words[words.index("--limit") + 1] == "a,b"
    assert words[words.index("--tags") + 1] == "setup"
    assert words[words.index("-e") + 1] == "rayctl_restart=never"


def test_the_folder_of_a_run_is_private_and_gone_afterwards(runner: FakeRunner, home: Path) -> None:
    play()
    assert runner.folder_mode == 0o700
    assert list((home / "ansible").iterdir()) == []


def test_a_killed_run_is_tidied_up_by_the_next_one_and_a_living_one_is_not(runner: FakeRunner, home: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    me = processes.find(os.getpid())
    assert me is not None
    (home / "ansible").mkdir(parents=True, mode=0o700)
    for name in (f"{dead.pid}-1-abc", f"{me.pid}-{me.started}-def", f"{me.pid}-{me.started + 1}-ghi", "notes"):
        (home / "ansible" / name).mkdir()
        (home / "ansible" / name / "command").write_text("{}")
    play()
    assert {path.name for path in (home / "ansible").iterdir()} == {f"{me.pid}-{me.started}-def", "notes"}


def test_failures_and_unreachable_hosts_are_told_apart(runner: FakeRunner) -> None:
    runner.events = [
        {"event": "runner_on_failed", "event_data": {"host": "a", "res": {"msg": "no"}}},
        {"event": "runner_on_failed", "event_data": {"host": "b", "ignore_errors": True, "res": {"msg": "never mind"}}},
        {"event": "runner_on_unreachable", "event_data": {"host": "c", "res": {"msg": "gone"}}},
        {"event": "runner_on_ok", "event_data": {"host": "d", "res": {"diff": [{"prepared": "x\n"}]}}},
    ]
    outcome = play()
    assert (outcome.failures, outcome.unreachable) == ({"a": "no"}, {"c": "gone"})
    assert outcome.diffs == {"d": [{"prepared": "x\n"}]}


def test_a_cancel_asks_first_and_kills_only_when_that_did_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    asked: list[int] = []
    monkeypatch.setattr(driver.time, "monotonic", lambda: now)
    monkeypatch.setattr(driver, "_playbooks_of", lambda pid: [4242])
    monkeypatch.setattr(driver.os, "kill", lambda pid, number: asked.append(pid))
    run = Driver(Playbook("up", Path("/c.yaml")), on_message=lambda message: None)
    assert not run._asks_to_stop()
    run.cancel()
    assert not run._asks_to_stop()
    now += driver.GRACE_S - 0.1
    assert not run._asks_to_stop()
    now += 0.2
    assert run._asks_to_stop()
    assert asked == [4242], "one SIGTERM, not one at each look"


def test_a_time_limit_ends_the_run_like_a_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(driver.time, "monotonic", lambda: now)
    monkeypatch.setattr(driver, "_playbooks_of", lambda pid: [])
    run = Driver(Playbook("up", Path("/c.yaml")), on_message=lambda message: None, timeout_s=60)
    now = 59.0
    assert not run._asks_to_stop()
    now = 61.0
    run._asks_to_stop()
    now += driver.GRACE_S + 1
    assert run._asks_to_stop()
