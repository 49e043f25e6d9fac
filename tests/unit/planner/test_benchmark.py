# SPDX-License-Identifier: Apache-2.0
"""The planner's benchmark says what it measured in a form that others can check."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
KEYS = {"ratio_ray_v2", "ratio_ray_v1", "objective_vs_best_ray", "objective_vs_lp", "price", "machines", "unplaced"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last line of a small case, and its dump."""
    dump = tmp_path_factory.mktemp("bench") / "dump.json"
    words = ["--case", "10,3,100", "--gangs", "4", "--seed", "2", "--repeat", "1", "--json", "--dump", dump]
    done = subprocess.run(
        [sys.executable, "bench/planner.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(done.stdout.splitlines()[-1]), json.loads(dump.read_text())


@pytest.mark.slow
def test_the_last_line_has_the_figures(run: tuple[dict[str, Any], dict[str, Any]]) -> None:
    told, _ = run
    assert told.keys() >= KEYS
    assert told["unplaced"] == 0
    assert told["objective_vs_best_ray"] <= 1
    assert 1 <= told["objective_vs_lp"] < 1.2
    assert told["violations"] == []


@pytest.mark.slow
def test_the_dump_accounts_for_everything(run: tuple[dict[str, Any], dict[str, Any]]) -> None:
    told, dump = run
    scenario, plans = dump["scenario"], dump["plans"]
    assert set(plans) == {"rayctl", "ray_v1", "ray_v2"}
    ours = plans["rayctl"]
    price = sum(scenario["node_types"][name]["price"] * count for name, count in ours["launch"].items())
    assert price == pytest.approx(told["price"])
    assert scenario["machine_overhead"] == 0.02
    placed: Counter[int] = Counter()
    new: Counter[str] = Counter()
    for entry in ours["placement"]:
        new[entry["type"]] += entry["machines"] if entry["node"] is None else 0
        for index, each in entry["holds"]:
            placed[index] += each * entry["machines"]
    assert placed == {index: demand["count"] for index, demand in enumerate(scenario["demands"])}
    assert all(new[name] <= count for name, count in ours["launch"].items())
    assert [len(places) for places in ours["gangs"]] == [len(gang["bundles"]) for gang in scenario["gangs"]]
