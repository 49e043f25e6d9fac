# SPDX-License-Identifier: Apache-2.0
"""`rayctl simulate`, from its words to the table, the JSON, the picture and the snapshots."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import golden
import pytest

from rayctl.cli.main import main
from rayctl.planner import plan, snapshot

ROOT = Path(__file__).parents[3]
TRACES = ("burst", "day")
CLUSTER = ("--cluster", "examples/simulated.yaml")
Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs rayctl through its real entry, in the checkout."""
    monkeypatch.chdir(ROOT)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))

    def call(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["rayctl", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return call


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("width", [160, 60])
def test_the_table_of_an_example(
    name: str, width: int, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run("simulate", f"examples/traces/{name}.jsonl", *CLUSTER) == 0
    text = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    golden.compare(f"simulate/{name}-{width}", f"{text}\n")


@pytest.mark.parametrize("name", TRACES)
def test_the_json_of_an_example(name: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("simulate", f"examples/traces/{name}.jsonl", *CLUSTER, "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["kind"], found["cluster"]) == (1, "rayctl-simulation", "simulated")
    assert found["totals"]["cost"] == found["points"][-1]["cost"] > 0
    assert [kind for kind in found["kinds"] if kind["submitted"] != kind["done"]] == []
    assert found["left"] == []
    assert found["guessed"] == []


def test_the_picture_is_a_png_and_the_same_each_time(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [tmp_path / "1.png", tmp_path / "2.png"]
    for picture in pictures:
        assert run("simulate", "examples/traces/burst.jsonl", *CLUSTER, "--plot", str(picture)) == 0
    data = pictures[0].read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (1200, 960)
    assert 20_000 < len(data) < 300_000
    assert data == pictures[1].read_bytes()


@pytest.mark.parametrize("until", ["0", "1", "300"])
def test_a_picture_of_next_to_nothing(until: str, run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"version": 1, "kind": "rayctl-demand-trace"}\n')
    assert run("simulate", str(empty), *CLUSTER, "--until", until, "--plot", str(tmp_path / "p.png")) == 0


def test_without_matplotlib_a_plot_is_refused_before_anything_is_simulated(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("rayctl.simulation.plot.find_spec", lambda name: None if name == "matplotlib" else real(name))
    assert run("simulate", "examples/traces/burst.jsonl", *CLUSTER, "--plot", str(tmp_path / "p.png")) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: a plot needs matplotlib, which is not installed.\n  fix: pip install 'rayctl[plot]'\n"


def test_snapshots_can_be_explained_and_decide_the_same_again(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "deep" / "snapshots"
    assert run("simulate", "examples/traces/burst.jsonl", *CLUSTER, "--snapshots", str(folder)) == 0
    files = sorted(folder.iterdir())
    assert [path.name for path in files[:2]] == ["turn-000000.json", "turn-000012.json"]
    kept = [snapshot.load(path.read_bytes()) for path in files]
    assert all(plan(one.snapshot) for one in kept)
    assert kept[1].taken_at == "1970-01-01T00:01:00+00:00"
    assert run("explain", str(files[1])) == 0


WRONG = {
    "no trace": (["gone.jsonl", *CLUSTER], "gone.jsonl: error: cannot be read: No such file or directory"),
    "no cluster file": (["examples/traces/burst.jsonl"], "Missing option '--cluster'"),
    "unknown cluster": (["examples/traces/burst.jsonl", "--cluster", "nosuch"], "nosuch is no file, and no cluster"),
    "unknown resources": (
        ["examples/traces/burst.jsonl", "--cluster", "examples/minimal.yaml"], "does not say what a node of the type worker",
    ),
    "no place for a picture": (["examples/traces/burst.jsonl", *CLUSTER, "--plot", "/proc/no/p.png"], "cannot be written"),
    "no place for snapshots": (["examples/traces/burst.jsonl", *CLUSTER, "--snapshots", "/proc/no"], "cannot be written"),
    "no interval": (["examples/traces/burst.jsonl", *CLUSTER, "--interval", "0"], "--interval"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_bad_usage(name: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words, said = WRONG[name]
    assert run("simulate", *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_a_file_without_prices_has_them_guessed_and_says_so(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "cluster_name: demo\nprovider: {type: embedded}\n"
        "available_node_types: {head: {resources: {CPU: 0}}, w: {min_workers: 1, resources: {CPU: 4}}}\n"
    )
    trace = tmp_path / "t.jsonl"
    trace.write_text('{"version": 1, "kind": "rayctl-demand-trace"}\n')
    assert run("simulate", str(trace), "--cluster", str(file), "--boot", "10", "--setup", "5") == 0
    assert "an hour: head 0.034 (guessed), w 0.136 (guessed)" in capsys.readouterr().out
