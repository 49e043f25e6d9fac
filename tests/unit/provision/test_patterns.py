# SPDX-License-Identifier: Apache-2.0
"""rsync's exclude patterns: a table of what rsync leaves out, and where rsync is installed, rsync itself as the judge."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rayctl.provision.patterns import merge_file, rules

FOLDERS = {"a", "a/b", "src", "src/a", "x y", "build", "src/build"}


def left_out(pattern: str, path: str) -> bool:
    return any(rule.excludes(path, path in FOLDERS) for rule in rules([pattern]))


@pytest.mark.parametrize(
    ("pattern", "out", "kept"),
    [
        # a name, anywhere
        ("a", "a src/a", "b xa ax src"),
        ("*.pyc", "m.pyc src/m.pyc .pyc", "m.py m.pyc.txt"),
        ("?", "a src/a", "ab src"),
        # a folder, not a file of that name
        ("build/", "build src/build", "src/build.py buildx"),
        ("x y/", "x y", "x"),
        # from the top
        ("/a", "a", "src/a"),
        ("/*.txt", "n.txt", "src/n.txt"),
        # several parts: the end of a path
        ("a/b", "a/b src/a/b", "b a xa/b"),
        ("/a/b", "a/b", "src/a/b"),
        ("a/*", "a/b src/a/c", "a a/b/c src"),
        ("*/b", "a/b src/x/b", "b"),
        # across folders
        ("**/b", "b a/b src/a/b", "ab"),
        ("a/**", "a/b a/b/c src/a/b", "a b"),
        ("/a/**/c", "a/b/c a/b/x/c", "a/c src/a/b/c"),
        ("**", "a a/b/c", ""),
        ("a/***", "a a/b a/b/c", "src b"),
        ("/src/***", "src src/a/b", "a"),
        # sets
        ("[ab]", "a b src/b", "c ab"),
        ("[a-c].txt", "b.txt", "d.txt"),
        ("[!a]", "b", "a"),
        ("[^a]", "b", "a"),
        ("x[!b]y", "xay", "x/y xby"),
        ("[]a]", "] a", "b"),
        ("[[:digit:]]*", "1 1a", "a1"),
        ("[a&&b|~-]", "a & b | ~ -", "c"),
        ("[z-a]", "", "z a -"),
        ("[", "", "["),
        # a backslash counts only where there is something to take back
        (r"\*", "*", "a"),
        (r"a\b", r"a\b", "ab"),
        (r"a\b*", "abc ab", r"a\b"),
        # what regular expressions would read otherwise
        ("a.b", "a.b", "axb"),
        ("a+(b)|c$", "a+(b)|c$", "aab c"),
        ("/", "", "a"),
        ("", "", "a"),
    ],
)
def test_what_is_left_out(pattern: str, out: str, kept: str) -> None:
    # one path of the table holds a blank
    paths = [out] if out in FOLDERS else out.split()
    assert [path for path in paths if not left_out(pattern, path)] == []
    assert [path for path in kept.split() if left_out(pattern, path)] == []


def test_a_patterns_file_counts_from_its_own_folder_on() -> None:
    found = merge_file("# a comment\n; another\n\n*.log\n/top\r\nname \n", "src/")
    out = {path for path in ("src/x.log", "src/a/x.log", "src/top", "src/name ") if any(r.excludes(path, False) for r in found)}
    assert out == {"src/x.log", "src/a/x.log", "src/top", "src/name "}
    for path in ("x.log", "src/a/top", "src/name", "top", "other/top"):
        assert not any(rule.excludes(path, False) for rule in found)


def test_a_patterns_file_may_name_its_own_folder_in_a_path() -> None:
    """rsync compares whole paths unless a pattern begins with a slash."""
    (rule,) = merge_file("src/x", "src/")
    assert rule.excludes("src/x", False)


ALPHABET = st.sampled_from(["a", "b", "*", "**", "?", "/", "[ab]", "[!a]", "***", ".", "x"])
NAMES = st.lists(st.sampled_from(["a", "b", "x", "ab", "a.b"]), min_size=1, max_size=3).map("/".join)


@given(st.lists(ALPHABET, max_size=8).map("".join), NAMES, st.booleans())
def test_every_pattern_can_be_asked(pattern: str, path: str, is_folder: bool) -> None:
    for rule in rules([pattern]):
        assert rule.excludes(path, is_folder) in (True, False)


@given(st.text(max_size=12), NAMES)
def test_no_text_is_too_odd_for_a_pattern(pattern: str, path: str) -> None:
    for rule in (*rules([pattern]), *merge_file(pattern, "a/")):
        rule.excludes(path, False)


@pytest.mark.slow
@pytest.mark.usefixtures("rsync")
@settings(max_examples=200)
@given(st.lists(ALPHABET, min_size=1, max_size=6).map("".join), st.sets(NAMES, min_size=1, max_size=6))
def test_rsync_leaves_out_the_same(pattern: str, names: set[str]) -> None:
    # three stars have a meaning behind a last slash only; elsewhere nobody writes them
    assume("***" not in pattern.removesuffix("/***"))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "s"), Path(folder, "t")
        for name in sorted(names):
            (source / name).mkdir(parents=True, exist_ok=True)
            (source / name / "file").touch()
        subprocess.run(["rsync", "-a", "--exclude", pattern, f"{source}/", str(target)], check=True)
        ours, kept = rules([pattern]), set()

        def walk(at: Path, prefix: str) -> None:
            for item in at.iterdir():
                relative = prefix + item.name
                if not any(rule.excludes(relative, item.is_dir()) for rule in ours):
                    kept.add(relative)
                    if item.is_dir():
                        walk(item, relative + "/")

        walk(source, "")
        assert {str(path.relative_to(target)) for path in target.rglob("*")} == kept
