# SPDX-License-Identifier: Apache-2.0
"""`ansible-playbook` by hand does what `rayctl up` does: the same digests, the same processes, honest check mode."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable
from typing import Any

import pytest
from playbook_bench import BIN, ROOT, Bench, interrupt

pytestmark = [pytest.mark.ansible, pytest.mark.slow]
Until = Callable[..., Any]


def names(bench: Bench) -> list[str]:
    return [node["name"] for node in bench.status()["nodes"]]


def test_from_nothing_to_up_and_a_second_run_changes_nothing(bench: Bench) -> None:
    first = bench.play()
    assert first.returncode == 0, first.stdout + first.stderr
    nodes = names(bench)
    assert len(nodes) == 3
    assert all(first.recap[name]["changed"] == 1 for name in nodes)
    assert bench.ran() == sorted(nodes)
    # what looks like a template arrived as written
    assert (bench.out / "text").read_text() == "{{ lookup('pipe', 'id') }} {{.Names}}\n"
    assert (bench.folder / "target" / "data.txt").read_text() == "one\n"

    second = bench.play()
    assert second.returncode == 0
    assert [counts["changed"] for counts in second.recap.values()] == [0, 0, 0, 0]

    by_wrapper = bench.rayctl("up", "-y", str(bench.file))
    assert by_wrapper.returncode == 0, by_wrapper.stderr
    assert "nothing changed" in by_wrapper.stdout
    assert bench.ran() == sorted(nodes)


def test_after_the_wrapper_a_playbook_has_nothing_to_do(bench: Bench) -> None:
    assert bench.rayctl("up", "-y", str(bench.file)).returncode == 0
    done = bench.play()
    assert done.returncode == 0
    assert {counts["changed"] for counts in done.recap.values()} == {0}


def test_check_mode_touches_nothing_and_says_what_would_be(bench: Bench) -> None:
    empty = bench.play("--check", "--diff")
    assert empty.returncode == 0
    assert "launch the head (head)" in empty.stdout
    assert "launch 2 workers (worker)" in empty.stdout
    assert names(bench) == []

    assert bench.play().returncode == 0
    source = bench.folder / "source" / "data.txt"
    source.write_text("two\n")
    source.chmod(0o755)
    bench.file.write_text(bench.file.read_text().replace("sleep 0.1", "sleep 0.2"))
    foreseen = bench.play("--check", "--diff")
    assert foreseen.returncode == 0
    assert "data.txt (0755)" in foreseen.stdout
    assert "two" not in foreseen.stdout, "contents of mounts are no business of a diff"
    assert "would be started" in foreseen.stdout
    assert (bench.folder / "target" / "data.txt").read_text() == "one\n"
    done = bench.play()
    assert {name: c["changed"] for name, c in foreseen.recap.items()} == {name: c["changed"] for name, c in done.recap.items()}
    assert bench.play("--check").recap[names(bench)[0]]["changed"] == 0


def test_limit_to_one_worker_leaves_the_others_alone(bench: Bench) -> None:
    assert bench.play().returncode == 0
    before = bench.ran()
    one = names(bench)[2]
    bench.file.write_text(bench.file.read_text().replace("echo $RAYCTL_STEP", "echo x$RAYCTL_STEP"))
    done = bench.play("--limit", one)
    assert done.returncode == 0, done.stdout
    assert list(done.recap) == [one]
    assert sorted(set(bench.ran()) | set(before)) == sorted(before)
    assert bench.ran().count(one) == 2


def test_limit_to_a_worker_of_a_cluster_without_a_head_fails_with_a_reason(bench: Bench) -> None:
    done = bench.play("--limit", "ray_worker")
    assert done.returncode != 0
    assert names(bench) == []


@pytest.mark.parametrize(("tag", "copied", "ran"), [("mounts", True, False), ("setup", False, True), ("start", False, False)])
def test_tags_choose_phases(bench: Bench, tag: str, copied: bool, ran: bool) -> None:
    assert bench.run("ansible-playbook", "-i", str(bench.file), "playbooks/up.yml", "--tags", "launch").returncode == 0
    done = bench.play("--tags", tag)
    assert done.returncode == 0, done.stdout
    assert (bench.folder / "target").exists() is copied
    assert bool(bench.ran()) is ran
    assert {node["problem"] is None for node in bench.status()["nodes"]} == {tag == "start"}


def test_tags_on_a_cluster_without_nodes_are_an_error(bench: Bench) -> None:
    done = bench.play("--tags", "setup")
    assert done.returncode != 0
    assert "no nodes yet" in done.stdout


def test_an_inventory_that_is_no_cluster_is_an_error(bench: Bench) -> None:
    """Without the plugin Ansible's own yaml plugin takes the file and makes groups of its keys."""
    done = bench.play(env={"ANSIBLE_INVENTORY_ENABLED": "auto,yaml,ini"})
    assert done.returncode != 0
    assert "There are no rayctl groups in this inventory" in done.stdout


def test_neither_is_it_under_limit_where_the_first_play_does_not_run(bench: Bench) -> None:
    done = bench.play("--limit", "some-worker-1", env={"ANSIBLE_INVENTORY_ENABLED": "auto,yaml,ini"})
    assert done.returncode != 0
    assert "There are no rayctl groups in this inventory" in done.stdout + done.stderr


def test_a_broken_cluster_file_is_a_sentence_and_no_traceback(bench: Bench) -> None:
    bench.file.write_text(bench.file.read_text().replace("max_workers: 2", "max_wrokers: 2"))
    done = bench.play()
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "max_wrokers" in text
    assert "max_workers" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("form", ["pointer", "line"])
def test_from_a_folder_without_our_configuration(bench: Bench, form: str) -> None:
    elsewhere = bench.folder / "team"
    elsewhere.mkdir()
    inventory = bench.file
    if form == "pointer":
        inventory = elsewhere / "demo.rayctl.yml"
        inventory.write_text(
            "plugin: rayctl.ray.rayctl\ncluster: ../cluster.yaml\nkeyed_groups: [{key: rayctl_type, prefix: our}]\n"
        )
    else:
        bench.file.write_text("plugin: rayctl.ray.rayctl\n" + bench.file.read_text())
    env = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")}
    done = bench.play(cwd=elsewhere, inventory=inventory, book="rayctl.ray.up", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    nodes = names(bench)
    assert all(done.recap[name]["changed"] == 1 for name in nodes)
    graph = bench.run("ansible-inventory", "-i", str(inventory), "--graph", cwd=elsewhere, env=env).stdout
    for group in ("ray_head", "ray_worker", "ray_type_worker", "ray_status_running"):
        assert f"@{group}:" in graph
    assert ("@our_worker:" in graph) is (form == "pointer")


def test_become_on_a_node_that_is_this_machine_is_refused(bench: Bench) -> None:
    done = bench.play("-b")
    assert done.returncode == 2
    assert "This node is on this machine, where steps run as you: remove become." in done.stdout + done.stderr
    assert bench.ran() == []


def test_a_failing_step_is_told_with_its_last_lines_and_the_next_run_resumes_there(bench: Bench) -> None:
    text = bench.file.read_text()
    bench.file.write_text(text.replace("head_start", "head_setup_commands: ['echo so it goes; exit 3']\nhead_start"))
    done = bench.play()
    assert done.returncode == 2
    assert "so it goes" in done.stdout
    assert "exit code 3" in done.stdout
    bench.file.write_text(text)
    assert bench.play().returncode == 0
    assert bench.ran() == sorted(names(bench)), "steps that were done are not done again"


def test_down_ends_everything(bench: Bench) -> None:
    assert bench.play().returncode == 0
    done = bench.play(book="playbooks/down.yml")
    assert done.returncode == 0, done.stdout
    assert done.recap["localhost"]["changed"] == 1
    assert names(bench) == []
    assert bench.play(book="playbooks/down.yml").recap["localhost"]["changed"] == 0


def test_a_running_playbook_keeps_other_writers_away(bench: Bench, until: Until) -> None:
    bench.file.write_text(bench.file.read_text().replace("echo $RAYCTL_STEP", "sleep 4; echo $RAYCTL_STEP"))
    by_hand = subprocess.Popen(
        [BIN / "ansible-playbook", "-i", bench.file, "playbooks/up.yml"], cwd=ROOT, env=bench.env,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        until((bench.out / "text").exists)
        second = bench.rayctl("up", "-y", "--lock-timeout", "0", str(bench.file))
        assert second.returncode == 5, second.stderr
        assert "playbook" in second.stderr
    finally:
        out, _ = by_hand.communicate(timeout=60)
    assert by_hand.returncode == 0, out
    until(lambda: bench.rayctl("up", "-y", "--lock-timeout", "5", str(bench.file)).returncode == 0)


def test_ctrl_c_ends_the_steps_on_the_nodes(bench: Bench, until: Until) -> None:
    bench.file.write_text(bench.file.read_text().replace("echo $RAYCTL_STEP", "echo $$ > pid; sleep 300; echo $RAYCTL_STEP"))
    by_hand = subprocess.Popen(
        [BIN / "ansible-playbook", "-i", bench.file, "playbooks/up.yml"], cwd=ROOT, env=bench.env,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    until(lambda: len([n for n in bench.status()["nodes"] if n["busy"] and n["steps_done"] == 1]) == 3)
    interrupt(by_hand)
    out, _ = by_hand.communicate(timeout=15)
    assert by_hand.returncode != 0
    until(lambda: not any(node["busy"] for node in bench.status()["nodes"]), 5)
    assert bench.ran() == []
    assert "Traceback" not in out


def test_the_wheel_carries_the_collection(bench: Bench) -> None:
    """Installed in a fresh environment, from any folder, without configuration."""
    folder = bench.folder / "wheel"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([folder / "venv/bin/pip", "install", "-q", wheel], check=True, capture_output=True)
    bench.bin = folder / "venv" / "bin"
    bench.env["PATH"] = f"{bench.bin}:{bench.env['PATH']}"
    bench.file.write_text("plugin: rayctl.ray.rayctl\n" + bench.file.read_text())
    done = bench.play(cwd=bench.folder, book="rayctl.ray.up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.play(cwd=bench.folder, book="rayctl.ray.up").recap[names(bench)[0]]["changed"] == 0
    up = bench.run("rayctl", "up", "-y", str(bench.file), cwd=bench.folder)
    assert up.returncode == 0, up.stderr
    assert "nothing changed" in up.stdout


def test_the_collection_alone_says_what_it_needs(bench: Bench) -> None:
    """`ansible-galaxy collection build` ships plugins and playbooks only; without the Python package it says so."""
    folder = bench.folder / "galaxy"
    assert bench.run("ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(folder)).returncode == 0
    (archive,) = folder.glob("rayctl-ray-*.tar.gz")
    listing = subprocess.run(["tar", "tzf", archive], capture_output=True, text=True, check=True).stdout.split()
    tops = {entry.split("/")[0] for entry in listing}
    assert tops <= {
        "README.md", "CHANGELOG.md", "LICENSE", "LICENSES", "galaxy.yml", "meta", "playbooks", "roles", "plugins",
        "inventory_plugins", "MANIFEST.json", "FILES.json",
    }  # fmt: skip
    assert "plugins/inventory/rayctl.py" in listing or "plugins/inventory" in listing
    installed = folder / "collections"
    done = bench.run("ansible-galaxy", "collection", "install", "--offline", "-p", str(installed), str(archive))
    assert done.returncode == 0, done.stderr
    (installed / "shadow").mkdir()
    (installed / "shadow" / "rayctl.py").write_text("raise ImportError('not installed')\n")
    env = {"ANSIBLE_COLLECTIONS_PATH": str(installed), "PYTHONPATH": str(installed / "shadow")}
    bench.file.write_text("plugin: rayctl.ray.rayctl\n" + bench.file.read_text())
    alone = bench.play(cwd=bench.folder, book="rayctl.ray.up", env=env)
    assert alone.returncode != 0
    assert "needs the Python package rayctl" in alone.stdout + alone.stderr
