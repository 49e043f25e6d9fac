# SPDX-License-Identifier: Apache-2.0
"""Who is at work: processes told apart, deaths told for sure, waiting told with names."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from rayctl.errors import Busy
from rayctl.state import files, holder, paths
from rayctl.state.holder import Holder, myself, same_process, surely_dead, wait_for


def of_child(child: subprocess.Popen[str]) -> Holder:
    started = holder._start_ticks(child.pid)
    assert started is not None
    return replace(myself("rayctl up"), pid=child.pid, started=started)


def test_living_process_is_not_dead() -> None:
    assert not surely_dead(myself("rayctl up"))


def test_ended_process_is_dead_even_before_its_parent_noticed(children) -> None:
    child = children.start("input()")
    named = of_child(child)
    assert not surely_dead(named)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert surely_dead(named), "a zombie"
    child.wait()
    assert surely_dead(named), "reaped"


def test_another_process_under_the_same_number_is_not_the_holder() -> None:
    me = myself("rayctl up")
    assert surely_dead(replace(me, started=me.started - 1))
    assert not same_process(me, replace(me, started=me.started - 1))


def test_process_of_another_host_container_or_boot_is_never_called_dead() -> None:
    assert not surely_dead(replace(myself("rayctl up"), pid=2**22 + 1, place="another boot/pid:[1]"))


def test_start_is_found_behind_a_program_name_with_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    fields = " ".join(["S", *map(str, range(4, 22)), "4711", "23"])
    (folder / "stat").write_text(f"7 (odd) name (1) {fields}\n")
    monkeypatch.setattr(holder, "PROC", tmp_path)
    assert holder._start_ticks(7) == 4711


def test_same_process_is_known_under_another_operation() -> None:
    assert same_process(myself("rayctl up"), myself("rayctl down"))


def test_holder_reads_as_a_person_would_say_it() -> None:
    named = Holder("rayctl up demo", pid=812, user="anna", host="laptop", since=0.0)
    assert re.fullmatch(r"rayctl up demo \(pid 812, anna@laptop, since (1969-12-31|1970-01-01) \d\d:\d\d:00\)", str(named))
    assert str(holder.UNKNOWN) == "another rayctl"


def test_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError(54321)

    monkeypatch.setattr(holder.getpass, "getuser", nameless)
    assert myself("rayctl up").user == f"uid {os.getuid()}"


def test_controller_keeps_its_identity(tmp_path: Path) -> None:
    path = paths.controller_file(tmp_path / "home")
    assert holder.controller_id(path) == holder.controller_id(path)
    assert holder.controller_id(path) != holder.controller_id(path.with_name("other.json"))
    assert files.read(path, "controller", 1) == {"id": holder.controller_id(path)}


def test_uptime_is_the_kernels() -> None:
    told = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(holder.uptime() - told) < 5


def test_waiter_gets_it_once_it_is_free_and_was_told_each_holder_once(clock) -> None:
    anna, bert = Holder("rayctl up", pid=1), Holder("rayctl down", pid=2)
    answers = iter([anna, anna, bert, bert, "mine"])
    told: list[Holder] = []
    got = wait_for(lambda: next(answers), timeout_s=60, on_wait=told.append, every_s=0.5, clock=clock, sleep=clock.sleep)
    assert (got, told, clock.now) == ("mine", [anna, bert], 1002.0)


def test_waiter_ends_on_time_and_names_the_holder(clock) -> None:
    anna = Holder("rayctl up demo", pid=812, user="anna", host="laptop")
    with pytest.raises(Busy, match=r"rayctl up demo \(pid 812, anna@laptop, .*\) is at work .* Waited 60 s") as caught:
        wait_for(lambda: anna, timeout_s=60, on_wait=id, every_s=7, clock=clock, sleep=clock.sleep)
    assert clock.now == 1060.0
    assert caught.value.exit_code == 5
    assert "--lock-timeout" in caught.value.hint
    assert "end process 812 on laptop" in caught.value.hint


def test_who_does_not_want_to_wait_is_not_told_to(clock) -> None:
    told: list[Holder] = []
    with pytest.raises(Busy) as caught:
        wait_for(lambda: holder.UNKNOWN, timeout_s=0, on_wait=told.append, every_s=1, clock=clock, sleep=clock.sleep)
    assert (told, clock.now) == ([], 1000.0)
    assert "Waited" not in caught.value.message
    assert "end process" not in caught.value.hint


def test_state_is_imported_without_the_slow_libraries(children) -> None:
    program = "import sys, rayctl.state.keeper, rayctl.state.cluster; print('pydantic' in sys.modules)"
    assert children.run(program) == "False\n"
