# SPDX-License-Identifier: Apache-2.0
"""What is measured to be wrong with Ray's launcher, tried with the Ray that is installed here, and with ours beside it.

The transcripts are kept in tests/ux/golden/defects, and are part of docs/ray-up-defects.md.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from .beside import Beside
from .clusters import BIN, Cluster, note
from .rig.box import wait_for

UP = ("up", "-y", "cluster.yaml")
NOW = "setup", "starts"  # what leaves a note
OLD = {
    "cluster_name": "lab", "min_workers": 1, "max_workers": 2, "initial_workers": 1, "autoscaling_mode": "default",
    "target_utilization_fraction": 0.8, "idle_timeout_minutes": 5, "head_node": {}, "worker_nodes": {},
}  # fmt: skip


@pytest.fixture
def both(cluster: Cluster) -> Beside:
    made = Beside(cluster)
    made.meet()
    return made


def test_d1_stop_ends_the_cluster_and_not_the_head_alone(both: Beside) -> None:
    head = both.lab["h1"]
    both.unseen("ray", *UP)
    both.ray("exec", "--stop", "cluster.yaml", "echo it ran", telling="^it ran|No such command|will power off", coded=False)
    wait_for(lambda: not head.running(), 20, "h1 is off")
    both.tell("h1 is off; nothing was ended on h2 and h3")
    both.anew()
    both.write(head_start_ray_commands=[DAEMON], worker_start_ray_commands=[DAEMON])
    both.rayctl("exec", "-q", "--start", "--stop", "cluster.yaml", "echo it ran")
    both.tell(f"all hosts are on, and what was started runs on {_where(both, RUNS)}")
    both.ends("D1")


def test_d2_an_exit_code_is_the_commands_own(both: Beside) -> None:
    both.unseen("ray", *UP)
    both.unseen("rayctl", *UP)
    both.ray("exec", "cluster.yaml", "exit 7", telling="^Error|^  ssh")
    both.rayctl("exec", "cluster.yaml", "exit 7")
    both.ends("D2")


def test_d3_arguments_arrive_as_given(both: Beside) -> None:
    (both.folder / "show.py").write_text("import sys; print(sys.argv[1:])\n")
    both.lab["h1"].exec("ln -s python3 /usr/bin/python")
    both.unseen("ray", *UP)
    both.unseen("rayctl", *UP)
    both.ray("submit", "cluster.yaml", "show.py", "--", "--name", "a b", telling="^Running .python|^\\[")
    both.rayctl("submit", "cluster.yaml", "show.py", "--", "--name", "a b")
    both.ends("D3")


def test_d4_minimum_numbers_are_heeded(both: Beside) -> None:
    both.unseen("ray", *UP)
    both.unseen("rayctl", *UP)
    both.ray("down", "-y", "--keep-min-workers", "cluster.yaml", telling="worker|head|nodes")
    both.rayctl("down", "-y", "--keep-min-workers", "cluster.yaml")
    both.unseen("rayctl", "down", "-y", "cluster.yaml")
    both.write(min_workers=0, scaler={"run_on": "off"})
    both.rayctl("up", "-y", "--quiet", "--min-workers", "1", "cluster.yaml")
    both.rayctl("get-worker-ips", "cluster.yaml")
    both.ends("D4")


def test_d5_fewer_workers_than_addresses(both: Beside) -> None:
    both.ray(*UP, "--max-workers", "1", telling="^Traceback|Error")
    both.rayctl("up", "-y", "--quiet", "--max-workers", "1", "cluster.yaml")
    both.rayctl("get-worker-ips", "cluster.yaml")
    both.ends("D5")


def test_d6_files_of_earlier_years(both: Beside) -> None:
    head, worker = both.lab["h1"].ip, both.lab["h2"].ip
    provider = {"type": "local", "head_ip": head, "worker_ips": [worker]}
    start = {"head_start_ray_commands": [note("starts")], "worker_start_ray_commands": [note("starts")]}
    both.write_keys(OLD | start | {"provider": provider, "auth": both.cluster.auth})
    both.ray(*UP, telling="Error|not allowed|unexpected")
    both.rayctl("validate", "cluster.yaml")
    both.rayctl("up", "-y", "--quiet", "cluster.yaml")
    both.ends("D6")


def test_d7_a_second_up_changes_nothing(both: Beside) -> None:
    both.unseen("ray", *UP)
    before = both.cluster.counts("starts")["h1"]
    both.ray(*UP, telling="Starting the Ray runtime|restart")
    both.tell(f"the head's start commands {_ran(both.cluster.counts('starts')['h1'] - before)}")
    both.unseen("rayctl", *UP)
    before = both.cluster.counts("starts")["h1"]
    both.rayctl(*UP)
    both.tell(f"the head's start commands {_ran(both.cluster.counts('starts')['h1'] - before)}")
    both.ends("D7")


def _ran(count: int) -> str:
    return {0: "did not run again", 1: "ran again"}.get(count, f"ran {count} times again")


def test_d8_another_ssh_key_changes_who_logs_in(both: Beside, tmp_path: Path) -> None:
    both.write(note("setup"))
    both.unseen("ray", *UP)
    both.unseen("rayctl", *UP)
    key = tmp_path / "other"
    key.write_bytes(both.lab.key.read_bytes())
    key.chmod(0o600)
    both.cluster.auth = {**both.cluster.auth, "ssh_private_key": str(key)}
    both.write(note("setup"))
    both.tell("the file names another key that the hosts know")
    for tool in ("ray", "rayctl"):
        before = [both.cluster.counts(name)["h1"] for name in NOW]
        if tool == "ray":
            both.ray("up", "-y", "--no-restart", "cluster.yaml", telling="Running setup commands|setting-up")
        else:
            both.rayctl("up", "-y", "--no-restart", "cluster.yaml")
        after = [both.cluster.counts(name)["h1"] for name in NOW]
        both.tell(f"set-up {_ran(after[0] - before[0])}")
        assert after[1] == before[1], "start commands did not run"
    both.text = both.text.replace(str(key), "OTHER-KEY")
    both.ends("D8")


def test_d10_all_hosts_of_the_file_are_the_clusters(both: Beside) -> None:
    (both.folder / "data").write_text("1\n")
    both.write(head_start_ray_commands=[DAEMON], worker_start_ray_commands=[DAEMON])
    both.ray("get-head-ip", "cluster.yaml", telling="^Traceback|Error")
    both.unseen("ray", *UP)
    both.ray("get-worker-ips", "cluster.yaml", telling="^10[.]")
    both.ray("rsync-up", "--all-nodes", "cluster.yaml", "data", "/home/ray/data", telling="^data")
    both.tell(f"the file is on {_where(both, 'ls /home/ray/data')}")
    both.ray("down", "-y", "cluster.yaml", telling="^Running|^Full command|Terminating")
    both.tell("h2 and h3 were told nothing")
    both.anew()
    both.rayctl("get-head-ip", "cluster.yaml")
    both.unseen("rayctl", *UP)
    both.rayctl("get-worker-ips", "cluster.yaml")
    both.rayctl("rsync-up", "--all-nodes", "cluster.yaml", "data", "/home/ray/data")
    both.tell(f"the file is on {_where(both, 'ls /home/ray/data')}; what was started runs on {_where(both, RUNS)}")
    both.rayctl("down", "-y", "cluster.yaml")
    both.tell(f"what was started runs on {_where(both, RUNS)}")
    both.ends("D10")


SLEEP = "sleep 86398"
DAEMON = f"{SLEEP} >/dev/null 2>&1 &"
RUNS = f"pgrep -fx {SLEEP!r}"


def _where(both: Beside, look: str) -> str:
    hosts = [host for host in ("h1", "h2", "h3") if both.lab[host].exec(look, check=False).returncode == 0]
    return ", ".join(hosts) or "no host"


def test_d11_nothing_in_a_public_folder_is_believed(both: Beside) -> None:
    public = both.folder / "ray-home"  # TMPDIR, where /tmp is on a person's machine
    both.unseen("ray", *UP)
    (cached,) = public.glob("ray-config-*")
    planted = cached.read_text().replace("[]", '["echo planted >> /home/ray/out/planted"]', 1)
    cached.write_text(planted.replace('"setup_commands": []', '"setup_commands": ["echo planted >> /home/ray/out/planted"]'))
    subprocess.run(["chown", "nobody", cached], check=True)
    both.tell("another user of this machine has written a set-up command into the configuration that is kept in /tmp")
    both.ray(*UP, telling="planted|config cache")
    assert both.cluster.counts("planted")["h1"] == 1
    both.tell("on the head, the command ran")
    before = set(public.iterdir())
    both.cluster.env["TMPDIR"] = str(public)
    both.rayctl("up", "-y", "--quiet", "cluster.yaml")
    both.tell(f"rayctl has left {len(set(public.iterdir()) - before) or 'nothing'} there")
    both.ends("D11")


def test_d12_set_up_runs_again_for_what_is_copied_and_for_nothing_else(both: Beside) -> None:
    app = both.folder / "app"
    app.mkdir()
    (app / "run").write_text("echo\n")
    both.write(note("setup"), file_mounts={"/home/ray/app": str(app)}, rsync_exclude=["*.log"])
    both.unseen("ray", *UP)
    both.unseen("rayctl", *UP)
    for what, change in (
        ("a file that is excluded was written", lambda: (app / "x.log").write_text("1\n")),
        ("a script was made executable", lambda: (app / "run").chmod(0o755)),
    ):
        change()
        both.tell(what)
        for tool in ("ray", "rayctl"):
            before = both.cluster.counts("setup")["h1"]
            both.unseen(tool, "up", "-y", "--no-restart", "cluster.yaml")
            after = both.cluster.counts("setup")["h1"]
            both.tell(f"`{tool} up --no-restart`: set-up {_ran(after - before)}")
    (app / "broken").symlink_to("nowhere")
    both.tell("a link to nowhere lies in the folder")
    both.ray(*UP, telling="^Traceback|Error")
    both.rayctl("up", "-y", "--quiet", "cluster.yaml")
    both.ends("D12")


def test_d13_a_file_is_checked_as_a_whole(both: Beside) -> None:
    provider = {"type": "local", "head_ip": both.lab["h1"].ip, "worker_ips": [both.lab["h2"].ip], "worker_ipz": []}
    both.write(provider=provider, min_workers=0, max_workers=1)
    both.ray(*UP, telling="worker_ipz")
    both.rayctl(*UP)
    both.ends("D13")


def test_d17_a_command_starts_at_once() -> None:
    took = {tool: min(_seconds(tool) for _ in range(3)) for tool in ("ray", "rayctl")}
    assert took["rayctl"] < 1.5
    assert took["ray"] > 2 * took["rayctl"]


def _seconds(tool: str) -> float:
    began = time.monotonic()
    subprocess.run([BIN / tool, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def test_d18_a_failure_tells_where_what_and_what_next(both: Beside) -> None:
    both.write("echo one", "echo '[Errno 28] No space left on device'; exit 3")
    both.ray(*UP, telling="SSH command failed|Failed to setup|^Error")
    both.rayctl("up", "-y", "--quiet", "cluster.yaml")
    both.ends("D18")


def test_17525_a_failed_command_leaves_nothing_that_is_in_the_way(both: Beside) -> None:
    both.write(note("first"), "exit 3")
    both.ray(*UP, telling="^Error")
    both.rayctl("up", "-y", "--quiet", "cluster.yaml")
    both.write(note("first"), note("second"))
    both.tell("the command is mended")
    for tool in ("ray", "rayctl"):
        before = both.cluster.counts("first")["h1"]
        both.unseen(tool, *UP)
        both.tell(f"`{tool} up`: the command before it {_ran(both.cluster.counts('first')['h1'] - before)}")
    both.ends("17525")
