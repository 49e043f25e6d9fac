# SPDX-License-Identifier: Apache-2.0
"""One writer of a cluster on this controller."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from rayctl.errors import Busy
from rayctl.state import private
from rayctl.state.holder import Holder
from rayctl.state.lock import hold

HOLD = """
    import sys
    from pathlib import Path
    from rayctl.state.lock import hold
    with hold(Path(sys.argv[1]), owner_text="rayctl up demo", timeout_s=30, token=sys.argv[2]) as lock:
        print("held" if not lock.handed_down else "handed down", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clusters" / "demo" / "lock"


def hold_elsewhere(children, path: Path, token: str = "theirs") -> subprocess.Popen[str]:
    child = children.start(HOLD, path, token)
    assert child.stdout.readline() == "held\n"
    return child


def is_free(path: Path, token: str = "") -> bool:
    try:
        with hold(path, owner_text="the test", timeout_s=0, token=token):
            return True
    except Busy:
        return False


def test_two_racing_writers_never_write_beside_each_other(path: Path, children) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from rayctl.state.lock import hold
        counter = Path(sys.argv[2])
        for _ in range(15):
            with hold(Path(sys.argv[1]), owner_text="rayctl up", timeout_s=60, sleep=lambda _: time.sleep(0.001)):
                seen = int(counter.read_text())
                time.sleep(0.002)
                counter.write_text(str(seen + 1))
    """
    counter = path.parent.parent / "counter"
    private.private_dir(path.parent)
    counter.write_text("0")
    writers = [children.start(program, path, counter) for _ in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert counter.read_text() == "30"


def test_waiter_is_told_for_whom_and_then_leaves_with_the_holders_name(path: Path, children, clock) -> None:
    child = hold_elsewhere(children, path)
    told: list[Holder] = []
    with (
        pytest.raises(Busy, match=rf"rayctl up demo \(pid {child.pid}, .*Waited 60 s"),
        hold(path, owner_text="rayctl down", timeout_s=60, on_wait=told.append, clock=clock, sleep=clock.sleep),
    ):
        pytest.fail("entered a lock that another process holds")
    assert [(holder.pid, holder.operation) for holder in told] == [(child.pid, "rayctl up demo")]
    assert clock.now == pytest.approx(1060)


def test_waiter_gets_the_lock_when_its_holder_is_done(path: Path, children) -> None:
    child = hold_elsewhere(children, path)

    def let_go(_: Holder) -> None:
        child.communicate("\n", timeout=30)

    with hold(path, owner_text="rayctl down", timeout_s=30, on_wait=let_go) as lock:
        assert not lock.handed_down
    assert child.returncode == 0


def test_lock_of_a_killed_holder_is_free_at_once(path: Path, children) -> None:
    child = hold_elsewhere(children, path)
    assert not is_free(path)
    child.kill()
    child.wait()
    assert is_free(path)


def test_threads_and_nested_calls_exclude_each_other_too(path: Path) -> None:
    with hold(path, owner_text="rayctl up", timeout_s=0):
        assert not is_free(path)
    assert is_free(path)


def test_lock_is_given_back_after_an_error(path: Path) -> None:
    with pytest.raises(RuntimeError), hold(path, owner_text="rayctl up", timeout_s=0):
        raise RuntimeError
    assert is_free(path)
    assert [child.name for child in path.parent.iterdir()] == ["lock"]


def test_program_started_by_a_killed_holder_does_not_keep_the_lock(path: Path, children) -> None:
    child = children.start(
        """
        import subprocess, sys
        from pathlib import Path
        from rayctl.state.lock import hold
        with hold(Path(sys.argv[1]), owner_text="rayctl up", timeout_s=0):
            play = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, close_fds=False)
            print(play.pid, flush=True)
            sys.stdin.readline()
        """,
        path,
    )
    play = int(child.stdout.readline())
    child.kill()
    child.wait()
    try:
        assert is_free(path)
    finally:
        os.kill(play, signal.SIGKILL)


def test_play_that_got_the_descriptor_keeps_a_killed_holders_lock(path: Path, children) -> None:
    child = children.start(
        """
        import subprocess, sys
        from pathlib import Path
        from rayctl.state.lock import hold
        with hold(Path(sys.argv[1]), owner_text="rayctl up", timeout_s=0) as lock:
            play = subprocess.Popen([sys.executable, "-c", "input()"], stdout=subprocess.DEVNULL, pass_fds=(lock.fd,))
            print(play.pid, flush=True)
            play.wait()
        """,
        path,
    )
    child.stdout.readline()
    child.kill()
    child.wait()
    assert not is_free(path)
    child.stdin.close()  # it was the play's too: its input ends
    with hold(path, owner_text="the test", timeout_s=30) as lock:
        assert lock.fd is not None


def test_play_that_got_the_descriptor_keeps_the_lock_of_a_holder_that_left(path: Path) -> None:
    with hold(path, owner_text="rayctl up", timeout_s=0) as lock:
        play = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(lock.fd,))
    try:
        assert not is_free(path)
    finally:
        play.communicate(timeout=30)
    assert is_free(path)


FORK = """
    import os, sys
    from pathlib import Path
    from rayctl.state.lock import hold
    try:
        with hold(Path(sys.argv[1]), owner_text="rayctl up", timeout_s=0):
            child = os.fork()
            if child == 0 and sys.argv[2] == "leaves":
                raise KeyboardInterrupt
            if child and sys.argv[2] == "leaves":
                os.waitpid(child, 0)
                print("forked", flush=True)
            if child == 0:
                print("forked", flush=True)
            sys.stdin.readline()
            os._exit(0)
    except KeyboardInterrupt:
        os._exit(0)
"""


def test_fork_of_a_killed_holder_does_not_keep_the_lock(path: Path, children) -> None:
    child = children.start(FORK, path, "stays")
    assert child.stdout.readline() == "forked\n"
    assert not is_free(path)
    child.kill()
    child.wait()
    assert is_free(path)


def test_fork_that_leaves_the_block_does_not_free_its_parents_lock(path: Path, children) -> None:
    child = children.start(FORK, path, "leaves")
    assert child.stdout.readline() == "forked\n"
    assert not is_free(path)
    with pytest.raises(Busy, match="rayctl up"), hold(path, owner_text="the test", timeout_s=0):
        pytest.fail("entered a lock that another process holds")


def test_play_of_the_holder_enters_by_its_token_and_leaves_the_lock_alone(path: Path, children) -> None:
    with hold(path, owner_text="rayctl up", timeout_s=0, token="ours"):
        child = children.start(HOLD, path, "ours")
        assert child.stdout.readline() == "handed down\n"
        child.communicate("\n", timeout=30)
        assert not is_free(path)
        assert not is_free(path, token="another")
    assert is_free(path)


def test_orphaned_play_waits_like_everyone(path: Path, children) -> None:
    orphaned = hold_elsewhere(children, path, "orphan")
    note = path.with_name("lock.holder.json").read_bytes()
    orphaned.kill()
    orphaned.wait()
    with hold(path, owner_text="rayctl down", timeout_s=0):
        # the moment between another's lock and its note
        private.store(path.with_name("lock.holder.json"), note)
        assert not is_free(path, token="orphan")


def test_no_token_is_nobodys_token(path: Path) -> None:
    with hold(path, owner_text="rayctl up", timeout_s=0, token=""):
        assert not is_free(path, token="")


@pytest.mark.parametrize("note", [None, b"", b"{}", b'{"version": 99, "kind": "holder"}'])
def test_unreadable_note_is_no_reason_not_to_wait(path: Path, note: bytes | None) -> None:
    with hold(path, owner_text="rayctl up", timeout_s=0):
        path.with_name("lock.holder.json").unlink()
        if note is not None:
            private.store(path.with_name("lock.holder.json"), note)
        with pytest.raises(Busy, match=r"^another rayctl is at work"), hold(path, owner_text="x", timeout_s=0):
            pytest.fail("entered a lock that another process holds")
