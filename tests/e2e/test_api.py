# SPDX-License-Identifier: Apache-2.0
"""The Python API, on a cluster on this machine: the calls of Ray's SDK, and what they raise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rayctl import api
from rayctl.errors import NodesFailed, Refused, UsageError
from rayctl.events import Event
from rayctl.operations.proposal import Action

pytestmark = [pytest.mark.ansible, pytest.mark.slow]


@pytest.fixture
def here(standin: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in's home is this process's too."""
    for name in ("RAYCTL_HOME", "PATH"):
        monkeypatch.setenv(name, standin.env[name])
    monkeypatch.chdir(standin.folder)
    return standin


def test_a_clusters_life_by_calls(here: Any, capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    assert {node.action for node in api.plan(here.file).nodes} == {Action.LAUNCH}
    result = api.create_or_update_cluster(here.file, on_event=heard.append)
    assert len(result.changed) == 3
    assert heard[0].kind == "operation_started"
    assert heard[-1].data["status"] == "ok"
    assert api.plan("demo").changes == (), "its name will do"

    head, workers = api.get_head_node_ip(here.file), api.get_worker_node_ips(here.file)
    assert head.startswith("127.0.0.")
    assert len(workers) == 2
    assert [node.address for node in api.status(here.file).nodes] == [head, *workers]

    assert api.run_on_cluster(here.file, cmd="echo hello; echo oops >&2", with_output=True) == "hello\n"
    assert api.run_on_cluster(here.file, cmd="echo to ours") == ""
    assert "to ours" in capfd.readouterr().out
    with pytest.raises(api.CommandFailed) as failed:
        api.run_on_cluster(here.file, cmd="echo before; exit 7", with_output=True)
    assert (failed.value.code, failed.value.output) == (7, "before\n")

    (here.folder / "data").write_text("x")
    api.rsync(here.file, source="data", target=f"{here.folder}/far/data")
    api.rsync(here.file, source=f"{here.folder}/far/data", target="back", down=True)
    assert (here.folder / "back").read_text() == "x"

    assert len(api.teardown_cluster(here.file, workers_only=True).ended) == 2
    with pytest.raises(api.CommandFailed):
        api.run_on_cluster(here.file, cmd="false", stop=True)
    assert api.status(here.file).nodes == ()


def test_a_mapping_is_a_cluster_too(here: Any) -> None:
    (here.folder / "app").mkdir()
    config = {**yaml.safe_load(here.file.read_text()), "file_mounts": {f"{here.folder}/there": "app"}}
    filled = api.fillout_defaults(config)
    assert filled["available_node_types"]["worker"]["min_workers"] == 2
    assert api.bootstrap_config(here.file)["max_workers"] == filled["max_workers"]
    api.create_or_update_cluster(config)
    assert (here.folder / "there").is_dir(), "relative paths count from here"
    assert api.run_on_cluster("demo", cmd="echo by name", with_output=True) == "by name\n"
    api.teardown_cluster(config)


def test_what_contradicts_itself_is_refused_before_anything_is_touched(here: Any) -> None:
    with pytest.raises(Refused, match="--stop cannot wait"):
        api.run_on_cluster(here.file, cmd="true", tmux=True, stop=True)
    with pytest.raises(UsageError, match="contradict"):
        api.create_or_update_cluster(here.file, no_restart=True, restart_only=True)
    with pytest.raises(UsageError, match="restart is one of"):
        api.UpOptions(restart="allways")


def test_what_goes_wrong_is_raised_with_all_that_is_known(here: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        api.create_or_update_cluster(tmp_path / "gone.yaml")
    with pytest.raises(UsageError):
        api.fillout_defaults({"cluster_name": "x", "provider": {"type": "embedded"}, "max_wrokers": 1})
    here.write("echo no more disk; exit 3")
    with pytest.raises(NodesFailed) as failed:
        api.create_or_update_cluster(here.file)
    assert failed.value.failures[0].tail == ("no more disk",)


def test_the_page_s_example_runs(here: Any, capfd: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "from-ray-up.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    assert here.file.name == "cluster.yaml"
    exec(compile(example, "from-ray-up.md", "exec"), {})
    printed = capfd.readouterr().out.splitlines()
    assert [line for line in printed if line.isdecimal()], "what nproc says"
    assert api.status(here.file).nodes == ()
