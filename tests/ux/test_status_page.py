# SPDX-License-Identifier: Apache-2.0
"""What `status` shows of clusters small and big, word by word (see tests/golden.py), and what it makes of odd words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import golden
import pytest
import sights
from click.testing import CliRunner

from rayctl import api
from rayctl.cli.main import cli
from rayctl.cli.overview import Page
from rayctl.operations.status import ClusterStatus


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `rayctl status` prints of a cluster that looks like this."""

    def show(seen: ClusterStatus, *words: str, columns: int = 160) -> str:
        monkeypatch.setattr(api, "status", lambda *_, **__: seen)
        result = CliRunner(env={"COLUMNS": str(columns)}).invoke(cli, ["status", "c.yaml", *words], catch_exceptions=False)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    return show


@pytest.mark.parametrize(
    ("name", "sight", "columns", "words"),
    [
        ("four-nodes", "small", 80, ()),
        ("500-nodes", "many", 160, ()),
        ("500-nodes-80-columns", "many", 80, ()),
        ("failures-and-quarantine", "troubled", 120, ()),
        ("failures-60-columns", "troubled", 60, ()),
        ("four-nodes-40-columns", "small", 40, ("--probe",)),
    ],
)
def test_word_by_word(name: str, sight: str, columns: int, words: tuple[str, ...], shown: Any) -> None:
    golden.compare(f"status/{name}", shown(getattr(sights, sight)(), *words, columns=columns))


def test_many_are_500() -> None:
    assert len(sights.many().nodes) == 500
    assert len(sights.many().types) == 4


def test_verbose_names_all_nodes(shown: Any) -> None:
    text = shown(sights.many(), "-v")
    assert all(f"\n{node.name} " in text for node in sights.many().nodes)
    assert "need attention" not in text


def test_a_list_that_is_long_is_cut_and_says_so(shown: Any) -> None:
    seen = sights.many()
    nodes = [replace(node, counts_as="lost", stage="lost") if node.type == "gpu" else node for node in seen.nodes]
    text = shown(replace(seen, nodes=tuple(nodes), pending=seen.pending * 10))
    assert "\n103 of 500 nodes need attention; -v names all\n" in text
    assert "\nand 83 more\n" in text
    assert text.count("waiting: {") == 20
    assert "\n  and 10 more like this\n" in text


def test_a_big_cluster_without_trouble_says_that(shown: Any) -> None:
    text = shown(sights.seen([sights.node("cpu", n) for n in range(40)]))
    assert text.endswith("\n0 of 40 nodes need attention; -v names all\n")


def test_hosts_that_are_no_nodes_are_counted_beside(shown: Any) -> None:
    hosts = [sights.node("cpu", n, "", state="taken" if n < 3 else "free") for n in range(30)]
    text = shown(sights.seen([sights.node("head", 1), *hosts]))
    assert "\n1 of 1 nodes joined" in text
    assert text.endswith("hosts that are no nodes: 27 free, 3 taken\n")


@pytest.mark.parametrize(
    ("note", "says"),
    [
        ("none has told anything here", "\nscaler: none has told anything here\n"),
        ("silent for 2 min 00 s; its process (pid 4711) is gone", "\n  last word: the provider refuses us: ExpiredToken\n"),
    ],
)
def test_a_scaler_that_is_not_at_work_is_told_and_its_words_are_left_out(note: str, says: str, shown: Any) -> None:
    seen = replace(sights.troubled(), scaler_note=note)
    text = shown(seen if "silent" in note else replace(seen, scaler=None))
    assert says in text
    assert f"\nscaler: {note}\n" in text
    assert "failed:" not in text
    assert "quarantined:" not in text
    assert "why:" not in text


@pytest.mark.parametrize("left", [None, sights.scaler()])
def test_a_cluster_that_is_not_up_is_one_line_whatever_a_scaler_has_left(left: Any, shown: Any) -> None:
    seen = ClusterStatus("demo", None, "aws", "", "", (), 3, note="the cluster is not up", scaler=left, scaler_note="silent")
    assert shown(seen) == "demo (aws): the cluster is not up\n"


def test_without_nodes_a_scaler_at_work_still_has_its_say(shown: Any) -> None:
    seen = ClusterStatus("demo", None, "aws", "", "", (), 3, note="no head", at=sights.NOW, scaler=sights.troubled().scaler)
    text = shown(seen)
    assert "problem: the provider refuses us" in text
    assert "failed: 3 gpu" in text
    assert "NODE" not in text


def test_words_from_elsewhere_do_nothing_to_a_terminal(shown: Any) -> None:
    seen = sights.troubled()
    assert "\x1b[31mNo space" in seen.scaler.failures[3].reason
    text = shown(seen)
    assert "\x1b" not in text
    assert "exit code 1: No space left" in text
    assert "step 3/5 pip install -r [all].txt" in shown(sights.many()), "brackets are no markup"


def test_colors_say_what_is_bad_and_no_color_says_it_without(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    colored = shown(sights.many(), "--log-color", "true")
    assert "\x1b[31mlost" in colored
    assert "\x1b[33mpending" in colored
    assert "\x1b[3" not in shown(sights.many(), "--log-color", "false")


def test_numbers_are_whole_however_big(shown: Any) -> None:
    seen = sights.seen([sights.node("cpu", 1)])
    big = replace(seen.nodes[0], resources={"tokens": 12_345_678.0}, used={"tokens": 0.1 + 0.2})
    assert "0.3/12345678 tokens" in shown(replace(seen, nodes=(big,)))


def test_every_width_fits_or_cuts_nothing() -> None:
    for sight in (sights.small(), sights.many(), sights.troubled()):
        whole = {word for line in Page(sight, 500).lines() for word in line.plain.split()}
        for width in (40, 60, 80, 100, 120):
            found = {word.strip("():,") for line in Page(sight, width).lines() for word in line.plain.split()}
            names = {node.name for node in sight.nodes if node.name in whole}
            assert names <= found


def test_json_is_one_document(shown: Any) -> None:
    assert json.loads(shown(sights.many(), "--format", "json"))["types"][1]["states"]["running"] == 380
