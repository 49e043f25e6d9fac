# SPDX-License-Identifier: Apache-2.0
"""The wheels for a head: whole and the same each time, without a network where that can be, and with words where it cannot."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from rayctl.errors import RayctlError, Refused
from rayctl.provision.headscaler import wheeldigest, wheelhouse, wheels
from rayctl.provision.headscaler.target import Target, chosen

ABI = f"cp{sys.version_info[0]}{sys.version_info[1]}"
HERE = Target(sys.executable, sys.version_info[:3], "cpython", "linux-x86_64", "glibc 2.40", ABI)
ELSEWHERE = Target("/usr/bin/python3.13", (3, 13, 1), "cpython", "linux-aarch64", "glibc 2.28", "cp313")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was asked, in the place of pip; its answer is an error."""
    asked = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(words)
        return subprocess.CompletedProcess(words, 1, "", "ERROR: no such host\n")

    monkeypatch.setattr(wheelhouse.subprocess, "run", run)
    return asked


# ---- which wheels fit
@pytest.mark.parametrize(("wheel", "fits"), [
    ("a-1-py3-none-any.whl", True),
    ("a-1-py2.py3-none-any.whl", True),
    ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
    ("a-1-cp310-abi3-manylinux2014_x86_64.whl", True),
    ("a-1-cp311-cp311-manylinux_2_34_x86_64.whl", False),  # built for a newer C library
    ("a-1-cp312-cp312-manylinux_2_17_x86_64.whl", False),
    ("a-1-cp311-cp311-manylinux_2_17_aarch64.whl", False),
    ("a-1-cp311-cp311-musllinux_1_1_x86_64.whl", False),
    ("a-1-cp311-cp311-linux_x86_64.whl", False),  # built for the very machine it was built on
])  # fmt: skip
def test_a_wheel_fits_by_python_processor_and_c_library(wheel: str, fits: bool) -> None:
    assert Target("/p", (3, 11, 2), "cpython", "linux-x86_64", "glibc 2.31", "cp311").takes(wheel) is fits


def test_a_musl_system_takes_wheels_for_musl_alone() -> None:
    target = Target("/p", (3, 12, 2), "cpython", "linux-aarch64", "musl 1.2", "cp312")
    assert target.takes("a-1-cp312-cp312-musllinux_1_1_aarch64.whl")
    assert not target.takes("a-1-cp312-cp312-manylinux_2_17_aarch64.whl")


# ---- wheels of what is installed
def test_a_wheel_packed_again_is_the_one_that_was_installed_less_what_the_installer_added(tmp_path: Path) -> None:
    click = metadata.distribution("click")
    wheels.write(wheels.repacked(click), tmp_path / "click.whl")
    wheels.write(wheels.repacked(click), tmp_path / "again.whl")
    assert (tmp_path / "click.whl").read_bytes() == (tmp_path / "again.whl").read_bytes()
    with zipfile.ZipFile(tmp_path / "click.whl") as found:
        names = found.namelist()
        info = next(name.partition("/")[0] for name in names if ".dist-info/" in name)
        record = {row[0]: row[2] for row in csv.reader(io.StringIO(found.read(f"{info}/RECORD").decode()))}
        assert "click/core.py" in names
        assert found.read("click/core.py") == Path(str(click.locate_file("click/core.py"))).read_bytes()
        assert set(record) == set(names)
        assert record["click/core.py"] == str(found.getinfo("click/core.py").file_size)
    assert not [name for name in names if name.endswith(".pyc") or name.endswith("INSTALLER") or ".." in name]
    assert wheels.name_of(click) == f"click-{click.version}-py3-none-any.whl"


def test_rayctls_own_wheel_has_the_collection_and_says_what_it_needs(tmp_path: Path) -> None:
    wheels.write(wheels.own(), tmp_path / "rayctl.whl")
    with zipfile.ZipFile(tmp_path / "rayctl.whl") as found:
        names = found.namelist()
        text = found.read(next(name for name in names if name.endswith("METADATA"))).decode()
    for name in (
        "rayctl/node/front.py", "ansible_collections/rayctl/ray/playbooks/up.yml",
        "ansible_collections/rayctl/ray/roles/ray_scaler/tasks/main.yml",
        "ansible_collections/rayctl/ray/plugins/action/scaler.py", "ansible_collections/rayctl/ray/plugins/inventory/rayctl.py",
    ):  # fmt: skip
        assert name in names, name
    assert "Requires-Dist: ansible-core" in text
    assert not [name for name in names if name.startswith("tests") or name.endswith(".pyc")]


def test_installed_from_a_wheel_rayctl_is_the_same_as_in_a_checkout(tmp_path: Path) -> None:
    """Else two people, one with each, would renew a head's environment in turns."""
    wheels.write(wheels.own(), tmp_path / "rayctl.whl")
    with zipfile.ZipFile(tmp_path / "rayctl.whl") as found:
        found.extractall(tmp_path / "site")
    assert not wheels.is_checkout(tmp_path / "site")
    assert wheels.digest(dict(wheels.own_files(tmp_path / "site"))) == wheels.digest(dict(wheels.own_files()))


def test_a_distribution_whose_files_are_gone_is_told(tmp_path: Path) -> None:
    info = tmp_path / "gone-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: gone\nVersion: 1\n")
    (info / "RECORD").write_text("gone.py,,\n")
    with pytest.raises(RayctlError, match="is missing, which gone was installed with"):
        wheels.repacked(metadata.Distribution.at(info))


# ---- the house
def test_for_the_same_python_no_network_is_asked(pip: list[list[str]]) -> None:
    plan = wheelhouse.plan(HERE)
    names = wheelhouse.names(wheelhouse.make(plan))
    assert not pip
    assert any(name.startswith("rayctl-") for name in names)
    assert {"ansible_core", "grpcio", "pydantic_core", "PyYAML"} <= {name.partition("-")[0] for name in names}
    assert len(names) == len(plan.installed) + 1
    assert all(HERE.takes(name) for name in names)


def test_a_house_is_made_once_and_old_ones_go(pip: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    del pip
    monkeypatch.setattr(wheels, "requirements", lambda: ["click"])
    first = wheelhouse.make(wheelhouse.plan(HERE))
    marked = first / "mark"
    marked.touch()
    assert wheelhouse.make(wheelhouse.plan(HERE)) == first
    assert marked.exists()
    for number in range(4):
        old = first.parent / f"old-{number}"
        old.mkdir()
        os.utime(old, (number, number))
    wheelhouse.make(wheelhouse.plan(HERE))
    houses = sorted(path.name for path in first.parent.iterdir() if path.is_dir())
    assert houses == sorted([first.name, "old-2", "old-3"])


def test_for_another_python_pip_is_asked_for_just_that_at_the_versions_here(pip: list[list[str]]) -> None:
    with pytest.raises(Refused) as refused:
        wheelhouse.make(wheelhouse.plan(ELSEWHERE))
    words = pip[0]
    assert words[1:4] == ["-m", "pip", "download"]
    assert "--only-binary=:all:" in words
    assert words[words.index("--python-version") + 1] == "3.13"
    assert "manylinux2014_aarch64" in words
    assert "manylinux_2_34_aarch64" not in words
    assert f"grpcio=={metadata.version('grpcio')}" in words
    assert not [word for word in words if word.startswith(("click", "http", "--index-url"))], "what fits is packed again"
    assert refused.value.message.endswith("cannot be had: ERROR: no such host")
    assert "run_on: controller" in refused.value.hint
    assert refused.value.exit_code == 3
    assert [path.name for path in wheeldigest.home().iterdir()] == ["given"], "nothing half is left"


def test_the_digest_changes_with_rayctl_itself_and_with_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "requirements", lambda: ["click"])
    file = tmp_path / "code.py"
    file.write_text("one")
    monkeypatch.setattr(wheels, "own", lambda: {"rayctl/code.py": file, "rayctl-1.dist-info/METADATA": b""})
    monkeypatch.setattr(wheels, "own_files", lambda: [("rayctl/code.py", file)])
    first = wheeldigest.digest_for(HERE)
    assert wheeldigest.digest_for(HERE) == first == wheelhouse.plan(HERE).digest
    assert wheeldigest.digest_for(ELSEWHERE) != first
    file.write_text("other")
    assert wheeldigest.digest_for(HERE) != first


def test_what_looks_as_it_did_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "requirements", lambda: ["click"])
    first = wheeldigest.digest_for(HERE)
    monkeypatch.setattr(wheelhouse, "plan", None)
    assert wheeldigest.digest_for(HERE) == first


# ---- a head that cannot
TOLD = {
    "python": "/usr/bin/python3.12",
    "version": [3, 12, 1],
    "implementation": "cpython",
    "platform": "linux-x86_64",
    "libc": "",
    "abi": "cp312",
}


def test_the_python_that_a_head_has_becomes_the_target() -> None:
    found = chosen({"python": TOLD, "tried": "", "missing": []}, "boss", "")
    assert (found.minor, found.machine, found.version) == ("3.12", "x86_64", (3, 12, 1))


@pytest.mark.parametrize(("probe", "asked", "said"), [
    ({"python": None, "tried": "cpython 3.9.2", "missing": []}, "", "Python 3.11 or newer; the newest there is cpython 3.9.2"),
    ({"python": None, "tried": "not there", "missing": []}, "/opt/p", "`scaler.python` names /opt/p, which is not there"),
    ({"python": TOLD, "tried": "", "missing": ["ssh", "ssh-keygen"]}, "", "ssh, ssh-keygen is not installed there"),
])  # fmt: skip
def test_a_head_that_cannot_run_it_is_refused_with_a_way_out(probe: dict[str, object], asked: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        chosen(probe, "boss", asked)
    assert said in refused.value.message
    assert "nothing was touched" in refused.value.message
    assert "run_on: controller" in refused.value.hint
