# SPDX-License-Identifier: Apache-2.0
"""What a scaler has on its head: whole or not there at all, and swept when nothing needs it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rayctl.node import scaler_folder, scaler_home, state
from rayctl.node.state import NodeError

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
MARKER = "rayctl:1-2"
A, B, C = "a" * 16, "b" * 16, "c" * 16


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(scaler_folder, "TRY", "import greeting")
    return Path(scaler_folder.path_of("~/.rayctl/demo"))


def wheel(folder: Path, name: str = "greeting-1-py3-none-any.whl", **files: str) -> str:
    (folder / "wheels").mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "wheels" / name, "w") as archive:
        for path, text in (files or {"greeting.py": "WORD = 'hello'"}).items():
            archive.writestr(path.replace("__in__", "/"), text)
    return name


def make(folder: Path, digest: str, *wheels: str) -> str:
    return scaler_folder.environment(str(folder), digest, sys.executable, VERSION, wheels)


def test_the_key_is_made_once_and_anew_for_another_cluster(folder: Path) -> None:
    key = scaler_folder.public_key(str(folder), MARKER)
    assert key.startswith("ssh-ed25519 AAAA")
    assert len(key.split()) == 2
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert scaler_folder.public_key(str(folder), MARKER) == key
    assert scaler_folder.public_key(str(folder), "rayctl:other") != key
    (folder / "key").unlink()
    assert scaler_folder.public_key(str(folder), "rayctl:other") != key


def test_an_environment_is_an_interpreter_with_the_packages_and_no_others(folder: Path) -> None:
    data = {
        "more-1.data__in__purelib__in__more__in__part.py": "X = 1",
        "more-1.data__in__scripts__in__more": "#!",
        "more-1.dist-info__in__METADATA": "",
    }
    place = make(folder, A, wheel(folder), wheel(folder, "more-1-py3-none-any.whl", **data))
    look = "import greeting, more.part, sys; print(greeting.WORD, more.part.X, sys.prefix); import yaml"
    done = subprocess.run([f"{place}/bin/python", "-c", look], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["hello", "1", place]
    assert "No module named 'yaml'" in done.stderr, "what is installed for others is not seen"
    assert not list(Path(place).rglob("scripts"))
    before = os.stat(place).st_mtime_ns
    assert make(folder, A) == place
    assert os.stat(place).st_mtime_ns == before


def test_an_environment_that_does_not_work_is_not_there(folder: Path) -> None:
    with pytest.raises(NodeError, match=r"rayctl does not run there .*: .*No module named 'greeting'"):
        make(folder, A)
    broken = wheel(folder, "broken-1-py3-none-any.whl")
    (folder / "wheels" / broken).write_bytes(b"PK half")
    with pytest.raises(NodeError, match="did not arrive whole"):
        make(folder, A, broken)
    assert os.listdir(folder) == ["wheels"]


def test_a_bundle_holds_from_one_moment_to_the_next(folder: Path) -> None:
    assert scaler_folder.bundle(str(folder), A, {"cluster.yaml": "one"}, [C])
    assert (folder / "current" / "cluster.yaml").read_text() == "one"
    assert stat.S_IMODE((folder / "current" / "cluster.yaml").stat().st_mode) == 0o600
    assert not scaler_folder.bundle(str(folder), A, {"cluster.yaml": "one"}, [C])
    assert scaler_folder.bundle(str(folder), B, {"cluster.yaml": "two"}, [])
    assert (folder / "current" / "cluster.yaml").read_text() == "two"
    assert scaler_folder.bundle(str(folder), A, {"cluster.yaml": "is not written again"}, [C])
    assert (folder / "current" / "cluster.yaml").read_text() == "one"


@pytest.mark.parametrize("digest", ["../../../etc", "", "x" * 16, 3])
def test_what_is_no_digest_names_no_folder(folder: Path, digest: str) -> None:
    with pytest.raises(NodeError, match="is no digest"):
        scaler_folder.bundle(str(folder), digest, {}, [])
    with pytest.raises(NodeError, match="is no digest"):
        make(folder, digest)


def test_sweeping_leaves_what_the_kept_bundles_need(folder: Path) -> None:
    for digest, contents in ((A, ["1" * 8, "2" * 8]), (B, ["2" * 8]), (C, ["3" * 8])):
        scaler_folder.bundle(str(folder), digest, {}, contents)
    for content in ("1" * 8, "2" * 8, "3" * 8):
        (folder / "mounts" / content / "content").mkdir(parents=True)
        (folder / "mounts" / content / "content" / "file").write_text("")
        (folder / "mounts" / content / "content").chmod(0o500)
    names = [wheel(folder), wheel(folder, "old-1-py3-none-any.whl")]
    for name in ("environment-" + A, "environment-" + B, ".environment-9", ".bundle-9"):
        (folder / name).mkdir()
    scaler_folder.sweep(str(folder), B, (C, B), names[:1])
    assert sorted(os.listdir(folder)) == ["bundle-" + B, "bundle-" + C, "current", "environment-" + B, "mounts", "wheels"]
    assert sorted(os.listdir(folder / "mounts")) == ["2" * 8, "3" * 8]
    assert os.listdir(folder / "wheels") == names[:1]


def test_removal_follows_no_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("")
    (folder / "link").symlink_to(tmp_path / "theirs")
    state.remove(str(folder))
    assert not folder.exists()
    assert (tmp_path / "theirs" / "file").exists()


def test_a_folder_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "scaler").mkdir(parents=True)
    (state / "scaler").chmod(0o777)
    with pytest.raises(NodeError, match="can be written by others"):
        scaler_folder.path_of(str(state))


# ---- the scaler's own RAYCTL_HOME
RECORD = {"name": "demo", "cluster_id": "id-1", "config_path": "x", "created": 5.0, "sequences": {"cpu": 3}}


def test_the_home_knows_the_cluster_its_token_and_its_hosts(folder: Path) -> None:
    (folder.parent / "token").write_text("f" * 64)
    (folder.parent / "token").chmod(0o600)
    home = Path(scaler_home.prepare(str(folder), str(folder.parent), RECORD, "h1 ssh-ed25519 A\n"))
    place = home / "clusters" / "demo"
    assert json.loads((place / "cluster.json").read_text()) == {"version": 1, "kind": "cluster", **RECORD}
    assert (place / "token").read_text() == "f" * 64
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_numbers_that_the_scaler_gave_are_not_given_again(folder: Path) -> None:
    def sequences(**given: int) -> dict[str, int]:
        home = scaler_home.prepare(str(folder), str(folder.parent), {**RECORD, "created": 9.0, "sequences": given}, "")
        kept = json.loads(Path(home, "clusters", "demo", "cluster.json").read_text())
        found: dict[str, int] = kept["sequences"]
        return found

    assert sequences(cpu=3, gpu=7) == {"cpu": 3, "gpu": 7}
    assert sequences(cpu=5, gpu=1) == {"cpu": 5, "gpu": 7}


def test_host_keys_of_the_controller_win_and_those_pinned_here_stay() -> None:
    here = "h1 ssh-ed25519 OLD\nh9 ssh-ed25519 NINE\n"
    assert scaler_home.merged(here, "h1 ssh-ed25519 NEW\nh2 ssh-rsa TWO\n") == (
        "h1 ssh-ed25519 NEW\nh2 ssh-rsa TWO\nh9 ssh-ed25519 NINE\n"
    )
    assert scaler_home.merged(here, "") == here
