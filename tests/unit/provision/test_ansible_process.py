# SPDX-License-Identifier: Apache-2.0
"""A real Ansible that loads itself: it plays, or goes without a trace; nothing secret is handed to ansible-runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rayctl.node import processes
from rayctl.provision import ansible_process
from rayctl.provision.ansible_process import AnsibleProcess

pytestmark = [pytest.mark.ansible, pytest.mark.slow]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - copy: {{content: "{{{{ lookup('env', 'RAYCTL_OWNER') }}}}", dest: {target}}}
      delegate_to: localhost
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def ansible() -> Iterator[AnsibleProcess]:
    made = AnsibleProcess()
    yield made
    made.close()


def living(folder: Path) -> list[int]:
    """Processes that belong to the run in this folder."""
    found = []
    for process in processes.snapshot():
        words = ansible_process._content(Path(f"/proc/{process.pid}/cmdline")).split(b"\0")
        found += [process.pid] if os.fsencode(folder) in words else []
    return found


def until(is_so: Callable[[], object], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(is_so())


def test_without_a_play_it_goes_at_once_and_leaves_nothing(home: Path) -> None:
    ansible = AnsibleProcess()
    folder = ansible.folder
    assert folder.stat().st_mode & 0o777 == 0o700
    ansible.close()
    assert living(folder) == []
    assert list((home / "ansible").iterdir()) == []
    ansible.close()  # once more does no harm


def test_it_plays_what_it_is_told_and_its_folder_goes_with_it(ansible: AnsibleProcess, tmp_path: Path, home: Path) -> None:
    book, target = tmp_path / "play.yml", tmp_path / "made"
    book.write_text(PLAY.format(target=target))
    ansible.play([str(book), "-i", "localhost,"])
    assert ansible.ended(60)
    assert ansible.status == "successful", ansible.events
    me = processes.find(os.getpid())
    assert me is not None
    assert target.read_text() == f"{me.pid}/{me.started}"
    assert {event["event"] for event in ansible.events} >= {"playbook_on_start", "runner_on_ok", "playbook_on_stats"}
    ansible.close()
    assert list((home / "ansible").iterdir()) == []


def test_what_ansible_says_of_a_play_that_cannot_be_is_kept(ansible: AnsibleProcess) -> None:
    ansible.play(["/nowhere/play.yml"])
    assert ansible.ended(60)
    assert ansible.status == "failed"
    assert any("/nowhere/play.yml" in event.get("stdout", "") for event in ansible.events)


def test_it_ends_with_its_wrapper_though_that_was_killed(home: Path) -> None:
    code = f"import time; from {AnsibleProcess.__module__} import *; print(AnsibleProcess().folder, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as wrapper:
        assert wrapper.stdout is not None
        folder = Path(wrapper.stdout.readline().strip())
        assert until(lambda: living(folder)), "it is just being started"
        wrapper.send_signal(signal.SIGKILL)
    assert until(lambda: not living(folder))
    assert folder.is_dir()
    AnsibleProcess().close()
    assert not folder.exists(), "the next one tidies up"


def test_a_ctrl_c_at_the_terminal_is_not_for_it(ansible: AnsibleProcess) -> None:
    assert until(lambda: living(ansible.folder))
    (pid,) = living(ansible.folder)
    assert until(lambda: os.getsid(pid) == pid)


def test_what_may_be_secret_is_kept_from_what_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "ANSIBLE_BECOME_PASS", "ANSIBLE_SSH_PASSWORD", "ANSIBLE_PRIVATE_KEY")
    for name in names:
        monkeypatch.setenv(name, "zebra")
    ansible = AnsibleProcess()
    try:
        (written,) = ansible.folder.glob("artifacts/*/command")
        env = json.loads(written.read_text())["env"]
        assert not set(names) & set(env)
        assert "HOME" in env and env["ANSIBLE_STDOUT_CALLBACK"] == "awx_display"
        for file in ansible.folder.rglob("*"):
            assert file.is_dir() or b"zebra" not in file.read_bytes(), file
    finally:
        ansible.close()
    assert os.environ["MY_TOKEN"] == "zebra"


def test_host_keys_stay_checked_nothing_is_asked_and_only_our_inventory_plugin_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANSIBLE_BECOME_ASK_PASS", "True")
    env = ansible_process._environment(tmp_path, tmp_path / "sink")
    assert env["ANSIBLE_HOST_KEY_CHECKING"] == "True"
    assert env["ANSIBLE_BECOME_ASK_PASS"] == "False"
    assert env["ANSIBLE_INVENTORY_ENABLED"] == "rayctl.ray.rayctl"


def test_folders_of_killed_runs_are_swept_and_those_of_living_ones_are_not(home: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    me = processes.find(os.getpid())
    assert me is not None
    (home / "ansible").mkdir(parents=True, mode=0o700)
    for name in (f"{dead.pid}-1-abc", f"{me.pid}-{me.started}-def", f"{me.pid}-{me.started + 1}-ghi", "notes"):
        (home / "ansible" / name).mkdir()
        (home / "ansible" / name / "command").write_text("{}")
    ansible_process.sweep()
    assert {path.name for path in (home / "ansible").iterdir()} == {f"{me.pid}-{me.started}-def", "notes"}


def test_a_runner_that_cannot_begin_is_a_failure_that_is_told(ansible: AnsibleProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_runner.runner import Runner

    def full(_: Runner) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Runner, "run", full)
    broken = AnsibleProcess()
    broken.play(["play.yml"])
    assert broken.ended(10)
    assert (broken.status, [event["stdout"] for event in broken.events]) == ("failed", ["No space left on device"])
    broken.close()


def test_it_is_asked_first_and_killed_only_when_that_did_not_help(
    ansible: AnsibleProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    sent: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(ansible_process.time, "monotonic", lambda: now)
        patched.setattr(ansible, "_signal", sent.append)
        for later in (0.0, ansible_process.GRACE_S - 0.1):
            now = 1000.0 + later
            ansible.stop()
            assert sent == [signal.SIGTERM], "one, not one at each look"
        now = 1000.0 + ansible_process.GRACE_S + 0.1
        ansible.stop()
        assert sent == [signal.SIGTERM, signal.SIGKILL]


def test_one_that_plays_heeds_the_question(ansible: AnsibleProcess, tmp_path: Path) -> None:
    book = tmp_path / "play.yml"
    book.write_text("- {hosts: localhost, connection: local, gather_facts: false, tasks: [{pause: {seconds: 600}}]}")
    ansible.play([str(book), "-i", "localhost,"])
    assert not ansible.ended(1.5)
    ansible.stop()
    assert ansible.ended(ansible_process.GRACE_S)
