# SPDX-License-Identifier: Apache-2.0
"""A node's shell: user data reaches it as it is, and what it answers is cut down to what tells why."""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayctl.provision import remote
from rayctl.provision.remote import Remote

WORDS = st.lists(st.text("ab '\"\\$%;=\t", max_size=6), max_size=5)


@pytest.mark.usefixtures("rsync")
@settings(max_examples=40)
@given(WORDS)
def test_rsync_splits_the_remote_shell_into_the_same_words_again(words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shell, seen = Path(folder, "shell"), Path(folder, "seen")
        shell.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" > {seen}\nexit 1\n")
        shell.chmod(0o755)
        to = Remote((str(shell), *words, "host"), dict(os.environ))
        subprocess.run(["rsync", "--rsh", to.shell, shell, f"{to.host}:."], capture_output=True, check=False)
        assert seen.read_text().split("\0")[: len(words) + 1] == [*words, "host"]


def test_an_address_with_colons_is_put_into_brackets() -> None:
    assert Remote(("ssh", "fe80::1"), {}).host == "[fe80::1]"
    assert Remote(("ssh", "me@h1"), {}).host == "me@h1"


@given(st.text("ab '\"\\$`!;&|<>*?~\n", min_size=1, max_size=8).filter(lambda text: text.strip("/")))
@settings(max_examples=60)
def test_a_path_reaches_the_shell_as_it_is(name: str) -> None:
    script = remote.script(f"printf %s {remote.words('~/' + name)}")
    found = subprocess.run(["sh", "-c", script], env={**os.environ, "HOME": "/h o"}, capture_output=True, text=True, check=True)
    assert found.stdout == f"/h o/{name}"


@pytest.mark.parametrize(
    ("path", "words"),
    [("~/x", '"${HOME:?}"/x'), ("x/y/", '"${HOME:?}"/x/y'), ("/a b", "'/a b'"), ("~", '"${HOME:?}"'), ("/", "/")],
)
def test_home_and_relative_paths_lie_below_the_home_folder(path: str, words: str) -> None:
    assert remote.words(path) == words


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("noise\nrayctl: a file is there\nrsync error: code 12\n", ("a file is there",)),
        ("rsync: mkstemp failed\nrsync error: some files (code 23)\n", ("rsync: mkstemp failed",)),
        ("rsync error: code 12\n", ("rsync error: code 12",)),
        ("1\n2\n3\n4\n5\n6\n", ("2", "3", "4", "5", "6")),
        ("", ()),
    ],
)
def test_of_what_was_printed_the_cause_is_told(printed: str, told: tuple[str, ...]) -> None:
    assert remote.told(io.BytesIO(printed.encode())) == told


def test_much_output_on_all_ends_blocks_nothing() -> None:
    found = remote.run(["sh", "-c", "cat; yes | head -c 300000 >&2"], os.environ, b"x" * 300_000)
    assert (found.status, len(found.output), found.errors[-1]) == (0, 300_000, "y")


def test_who_watches_hears_what_was_printed_last_while_it_runs() -> None:
    heard: list[str] = []
    found = remote.run(["sh", "-c", "printf 'one\\rtwo'; sleep 1.2; printf end"], os.environ, watch=heard.append)
    assert (found.status, found.output) == (0, b"one\rtwoend")
    assert set(heard) == {"one\rtwo"}


def test_who_is_interrupted_does_not_wait_for_its_end() -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        remote.run(["sleep", "20"], os.environ, watch=interrupted)
    assert time.monotonic() - began < 10
