# SPDX-License-Identifier: Apache-2.0
"""Refs of real git repositories, found by their paths wherever git keeps them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rayctl.config import gitref
from rayctl.config.load import load


def git(folder: Path, *words: str) -> str:
    """Run git without anybody's settings."""
    settings = ("-c", "user.name=n", "-c", "user.email=e", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main")
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *settings, *words], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit on the branches main and feature/x."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "one")
    git(folder, "branch", "feature/x")
    return folder


def tip(repo: Path) -> str:
    return git(repo, "rev-parse", "HEAD")


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/feature/x"])
def test_a_ref_is_found_loose_and_packed(ref: str, repo: Path) -> None:
    assert gitref.commit(repo / ".git" / ref) == tip(repo)
    git(repo, "pack-refs", "--all")
    assert not (repo / ".git" / ref).exists()
    assert gitref.commit(repo / ".git" / ref) == tip(repo)


def test_a_loose_ref_is_newer_than_a_packed_one(repo: Path) -> None:
    git(repo, "pack-refs", "--all")
    git(repo, "commit", "--quiet", "--allow-empty", "--message", "two")
    assert gitref.commit(repo / ".git/refs/heads/main") == tip(repo) != gitref.commit(repo / ".git/refs/heads/feature/x")


@pytest.mark.parametrize("packed", [False, True])
def test_a_worktree_has_the_refs_of_its_repository(packed: bool, repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "--quiet", str(tmp_path / "tree"), "feature/x")
    if packed:
        git(repo, "pack-refs", "--all")
    assert (tmp_path / "tree" / ".git").is_file()
    assert gitref.commit(tmp_path / "tree/.git/refs/heads/main") == tip(repo)


@pytest.mark.parametrize("packed", [False, True])
def test_a_submodule_has_refs_of_its_own(packed: bool, repo: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(outer, "submodule", "--quiet", "add", str(repo), "sub")
    if packed:
        git(outer / "sub", "pack-refs", "--all")
    assert (outer / "sub" / ".git").is_file()
    assert gitref.commit(outer / "sub/.git/refs/heads/main") == tip(repo)


def test_a_symbolic_ref_is_followed(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(repo), "clone")
    assert (tmp_path / "clone/.git/refs/remotes/origin/HEAD").read_text().startswith("ref: ")
    assert gitref.commit(tmp_path / "clone/.git/refs/remotes/origin/HEAD") == tip(repo)


def test_symbolic_refs_in_a_circle_lead_nowhere(repo: Path) -> None:
    (repo / ".git/refs/heads/main").write_text("ref: refs/heads/main\n")
    assert gitref.commit(repo / ".git/refs/heads/main") is None


def test_a_bare_repository_has_refs_too(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")
    assert gitref.commit(tmp_path / "bare.git/refs/heads/main") == tip(repo)


def test_an_annotated_tag_is_what_git_says(repo: Path) -> None:
    git(repo, "tag", "--annotate", "--message", "m", "v1")
    git(repo, "pack-refs", "--all")
    assert gitref.commit(repo / ".git/refs/tags/v1") == git(repo, "rev-parse", "v1")


def test_what_is_no_ref_is_none(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "refs" / "heads").mkdir(parents=True)
    (tmp_path / "refs" / "heads" / "main").write_text("0" * 40)
    for path in (
        repo / ".git/refs/heads/gone",
        repo / ".git/HEAD",
        repo / ".git/refs/heads",
        repo / "file",
        tmp_path / "refs/heads/main",
    ):
        assert gitref.commit(path) is None


def test_a_packed_ref_is_no_missing_mount_source(repo: Path, tmp_path: Path) -> None:
    git(repo, "pack-refs", "--all")
    (tmp_path / "c.yaml").write_text(
        "cluster_name: c\n"
        "provider: {type: local, hosts: [{address: a}]}\n"
        "file_mounts: {/tmp/sha: repo/.git/refs/heads/main, /tmp/gone: repo/.git/refs/heads/gone}\n"
    )
    assert [problem.path for problem in load(tmp_path / "c.yaml").local_problems()] == ["file_mounts./tmp/gone"]
