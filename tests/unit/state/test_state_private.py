# SPDX-License-Identifier: Apache-2.0
"""What may be trusted on the disk, and what a crash leaves there."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rayctl.errors import RayctlError, StateRefused
from rayctl.state import private

GiveAway = Callable[[Path], None]
OLD = b"old" * 1000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A stored file in its private folder."""
    path = tmp_path / "state" / "file"
    private.store(path, OLD)
    return path


@pytest.fixture
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("generous_umask")
def test_whatever_is_made_is_private_under_any_umask(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    private.store(path, b"x")
    private.create(path.with_name("new"), b"x")
    os.close(private.open_lock(path.with_name("lock")))
    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]
    assert {mode(child) for child in path.parent.iterdir()} == {0o600}


def test_folder_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    assert private.private_dir(folder) == folder
    assert mode(folder) == 0o700


def test_file_that_others_can_read_is_closed_to_them(file: Path) -> None:
    file.chmod(0o644)
    assert private.load(file) == OLD
    assert mode(file) == 0o600


@pytest.mark.parametrize("open_mode", [0o770, 0o702, 0o777, 0o1777])
def test_folder_that_others_can_write_is_refused(file: Path, open_mode: int) -> None:
    file.parent.chmod(open_mode)
    with pytest.raises(StateRefused, match="can be written by others") as caught:
        private.private_dir(file.parent)
    assert f"chmod go-rwx {file.parent}" in caught.value.hint
    with pytest.raises(StateRefused):
        private.load(file)


@pytest.mark.parametrize("open_mode", [0o660, 0o602])
def test_file_that_others_can_write_is_refused(file: Path, open_mode: int) -> None:
    file.chmod(open_mode)
    with pytest.raises(StateRefused, match="can be written by others"):
        private.load(file)


def test_planted_foreign_file_is_refused_by_name_of_its_owner(file: Path, give_away: GiveAway) -> None:
    give_away(file)
    with pytest.raises(StateRefused, match=f"{file} belongs to 54321, not to ") as caught:
        private.load(file)
    assert "sudo chown" in caught.value.hint


def test_planted_foreign_lock_is_refused(file: Path, give_away: GiveAway) -> None:
    give_away(file)
    with pytest.raises(StateRefused, match="belongs to 54321"):
        private.open_lock(file)


def test_nothing_is_read_from_or_written_to_a_foreign_folder(file: Path, give_away: GiveAway) -> None:
    give_away(file.parent)
    for use in (lambda: private.load(file), lambda: private.store(file, b"x"), lambda: private.private_dir(file.parent)):
        with pytest.raises(StateRefused, match="belongs to 54321"):
            use()
    assert file.read_bytes() == OLD


def test_symlinked_folder_is_refused(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file.parent)
    with pytest.raises(StateRefused, match="is a symlink or no folder"):
        private.load(link / "file")


def test_folder_that_points_nowhere_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StateRefused, match="is a symlink or no folder"):
        private.private_dir(link)


def test_symlinked_file_is_refused_and_its_target_left_alone(file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    link = file.with_name("link")
    link.symlink_to(victim)
    with pytest.raises(StateRefused, match="is a symlink"):
        private.load(link)
    assert private.create(link, b"ours") is False
    private.store(link, b"ours")
    assert (victim.read_bytes(), link.read_bytes()) == (b"theirs", b"ours")


def test_pipe_in_the_place_of_a_file_is_refused_not_waited_for(file: Path) -> None:
    pipe = file.with_name("pipe")
    os.mkfifo(pipe)
    with pytest.raises(StateRefused, match="is no plain file"):
        private.load(pipe)


def test_what_is_not_there_is_none(tmp_path: Path, file: Path) -> None:
    assert private.load(file.with_name("other")) is None
    assert private.load(tmp_path / "no" / "such" / "file") is None


def test_create_makes_a_file_once(file: Path) -> None:
    new = file.with_name("new")
    assert private.create(new, b"first") is True
    assert private.create(new, b"second") is False
    assert private.load(new) == b"first"


def test_of_racing_processes_one_creates(file: Path, children) -> None:
    program = """
        import sys
        from pathlib import Path
        from rayctl.state import private
        sys.stdin.readline()
        print([private.create(Path(sys.argv[1]) / str(n), sys.argv[2].encode()) for n in range(50)])
    """
    racers = [children.start(program, file.parent, name) for name in "ab"]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    first, second = (eval(racer.stdout.readline()) for racer in racers)
    assert [one != other for one, other in zip(first, second, strict=True)] == [True] * 50
    assert [private.load(file.with_name(str(n))) for n in range(50)] == [b"a" if won else b"b" for won in first]


def test_reader_beside_two_racing_writers_sees_whole_files_only(file: Path, children) -> None:
    program = """
        import sys
        from pathlib import Path
        from rayctl.state import private
        for _ in range(150):
            private.store(Path(sys.argv[1]), sys.argv[2].encode() * 200_000)
    """
    writers = [children.start(program, file, name) for name in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        content = private.load(file)
        seen.add((content[:1], len(content), len(set(content))))
    assert seen <= {(b"o", 3000, 3), (b"a", 200_000, 1), (b"b", 200_000, 1)}
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [child.name for child in file.parent.iterdir()] == ["file"]


def test_full_disk_leaves_the_old_file_whole_and_nothing_else(file: Path, children) -> None:
    said = children.run(
        """
        import resource, sys
        from pathlib import Path
        from rayctl.errors import RayctlError
        from rayctl.state import private
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            private.store(Path(sys.argv[1]), b"new" * 100_000)
        except RayctlError as error:
            print(error.message, error.hint, sep="|")
        """,
        file,
    )
    assert said == (
        f"cannot write {file}: File too large. What it held before is whole.|Free some space and run the command again.\n"
    )
    assert file.read_bytes() == OLD
    assert [child.name for child in file.parent.iterdir()] == ["file"]


def kill_before_rename(children, file: Path) -> Path:
    """Have a writer killed once it wrote all of its content; returns what it left."""
    child = children.start(
        """
        import os, signal, sys
        from pathlib import Path
        from rayctl.state import private
        os.replace = lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL)
        private.store(Path(sys.argv[1]), b"new")
        """,
        file,
    )
    assert child.wait(timeout=60) == -signal.SIGKILL
    (leftover,) = set(file.parent.iterdir()) - {file}
    assert leftover.read_bytes() == b"new"
    return leftover


def test_kill_between_write_and_rename_leaves_the_old_file(file: Path, children) -> None:
    kill_before_rename(children, file)
    assert private.load(file) == OLD


def test_what_a_killed_writer_left_is_removed_when_it_is_surely_no_ones(file: Path, children) -> None:
    leftover = kill_before_rename(children, file)
    private.store(file, b"next")
    assert leftover.exists(), "another writer may be at it just now"
    os.utime(leftover, (0, 0))
    private.store(file, b"next")
    assert not leftover.exists()


def test_neighbours_files_are_not_swept(file: Path) -> None:
    neighbour = file.with_name(".file2.aaaaaaaaaaaa.tmp")
    neighbour.write_bytes(b"x")
    os.utime(neighbour, (0, 0))
    private.store(file, b"next")
    assert neighbour.exists()


def test_what_the_system_refuses_is_explained(file: Path) -> None:
    with pytest.raises(RayctlError, match=f"cannot make {file}/below: Not a directory") as caught:
        private.private_dir(file / "below")
    assert "RAYCTL_HOME" in caught.value.hint


def test_locked_keeps_others_out(file: Path, children) -> None:
    program = """
        import sys
        from pathlib import Path
        from rayctl.state import private
        counter, lock = Path(sys.argv[1]), Path(sys.argv[2])
        for _ in range(40):
            with private.locked(lock):
                private.store(counter, str(int(private.load(counter)) + 1).encode())
    """
    counter = file.with_name("counter")
    private.store(counter, b"0")
    writers = [children.start(program, counter, file.with_name("lock")) for _ in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert private.load(counter) == b"80"
