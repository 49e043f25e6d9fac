# SPDX-License-Identifier: Apache-2.0
"""What is to be done about the scaler of a head, decided from what a look at the hosts told."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from rayctl.operations.scalerwork import Work
from rayctl.provision.headscaler import why
from rayctl.provision.headscaler.target import Target
from rayctl.provision.headscaler.wanted import Had, Wanted, environment, knows, lets_in
from rayctl.transport.glance import Glance

TARGET = Target("/usr/bin/python3.11", (3, 11, 2), "cpython", "linux-x86_64", "glibc 2.36", "cp311")
KEPT = {
    "version": 1, "kind": "scaler", "cluster_id": "id-1", "bundle": "b1", "environment": "e1", "target": asdict(TARGET),
    "asked": "", "key": "ssh-ed25519 AAAA", "contents": ["c1"], "service": "system", "alive": True,
}  # fmt: skip
WANTED = Wanted("id-1", "b1", "e1")


def had(**changes: Any) -> Had | None:
    return Had.of({**KEPT, **changes})


@pytest.mark.parametrize(("changes", "reason"), [
    ({}, ""),
    ({"cluster_id": "another's"}, why.INSTALL),
    ({"environment": "e0"}, why.RENEW),
    ({"environment": "e0", "bundle": "b0", "alive": False}, why.RENEW),
    ({"bundle": "b0"}, why.UPDATE),
    ({"alive": False}, why.START),
])  # fmt: skip
def test_why_something_is_done(changes: dict[str, Any], reason: str) -> None:
    assert WANTED.why(had(**changes)) == reason


@pytest.mark.parametrize("broken", [None, {}, {**KEPT, "target": "x"}, {**KEPT, "target": {}}, {"bundle": "b1"}])
def test_what_cannot_be_read_counts_as_none(broken: dict[str, Any] | None) -> None:
    assert Had.of(broken) is None
    assert WANTED.why(Had.of(broken)) == why.INSTALL


def test_what_is_kept_names_the_python_that_runs_it() -> None:
    found = had()
    assert found is not None
    assert found.target == TARGET


def test_an_environment_is_another_one_for_another_python() -> None:
    first = environment(TARGET, "w1")
    assert environment(replace(TARGET, python="/opt/python3.11"), "w1") != first
    assert environment(TARGET, "w2") != first
    assert environment(replace(TARGET, version=(3, 11, 9)), "w1") == first, "a small update of Python changes nothing"


def seen(*keys: str) -> Glance:
    return Glance("m", "b", 1.0, 1000, "ray", "h", keys=keys)


def test_a_host_lets_the_key_in_by_key_and_cluster() -> None:
    line = "no-pty ssh-ed25519 AAAA rayctl:id-1"
    assert lets_in(seen("no-pty ssh-rsa B rayctl:id-2", line), "id-1", "ssh-ed25519 AAAA")
    assert not lets_in(seen(line), "id-1", "ssh-ed25519 BBBB")
    assert not lets_in(seen(line), "id-1", "")
    assert not lets_in(seen(line), "d-1", "ssh-ed25519 AAAA")
    assert not lets_in(seen("no-pty xssh-ed25519 AAAA rayctl:id-1"), "id-1", "ssh-ed25519 AAAA")
    assert knows(seen(line), "id-1")
    assert not knows(seen(line), "id-2")


@pytest.mark.parametrize(("work", "lines"), [
    (Work(), []),
    (Work("h1", why.INSTALL, ("h1", "h2")), ["scaler: install it on h1", "scaler: let its key log in on h2"]),
    (Work("h1", why.UPDATE), ["scaler: hand it what changed, on h1; it goes on running"]),
    (Work("h1", why.RENEW), ["scaler: renew and restart it on h1, because rayctl changed, or what it needs"]),
    (Work("h1", why.START), ["scaler: start it on h1, because it does not run"]),
    (Work("h1", "", ("h3",)), ["scaler: let its key log in on h3"]),
    (Work("h1", leaves=True), ["scaler: remove it from h1, because the file lets it run elsewhere or nowhere"]),
])  # fmt: skip
def test_the_plan_says_it(work: Work, lines: list[str]) -> None:
    assert work.lines() == lines
    assert bool(work) is bool(lines)


def test_the_play_is_about_hosts_with_something_to_do_alone() -> None:
    assert Work("h1", why.INSTALL, ("h1", "h2")).names == ("h1", "h2")
    assert Work("h1", "", ("h3",)).names == ("h3",)
