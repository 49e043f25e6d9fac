# SPDX-License-Identifier: Apache-2.0
"""Commands on a cluster of real hosts: on one of them and on all, in terminals that stay, with ports and files."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rayctl.transport import masters

from .clusters import Cluster, daemon
from .rig.box import wait_for

ODD = "printf '%s|' 'a  b' \"it's\" '{{.Names}}' '$HOME' 'ü'"
SAID = "a  b|it's|{{.Names}}|$HOME|ü|"


@pytest.fixture
def there(cluster: Cluster) -> Cluster:
    """A cluster that is up."""
    cluster.up()
    return cluster


# ---- several nodes
def test_a_command_for_all_nodes_runs_once_on_each_and_equal_answers_are_told_once(there: Cluster) -> None:
    done = there.rayctl("exec", "--all-nodes", f"mkdir -p ~/out; echo run >> ~/out/all; {ODD}; echo; echo oops >&2")
    assert done.stdout == f"== h1, h2, h3, h4 (4 nodes)\n{SAID}\n"
    assert done.stderr == "oops\n"
    assert there.counts("all") == {"h1": 1, "h2": 1, "h3": 1, "h4": 1}


def test_different_answers_stand_apart_and_one_failure_is_the_exit_code(there: Cluster) -> None:
    done = there.rayctl("exec", "--workers", "hostname; [ $(hostname) != h3 ] || exit 9", code=1)
    assert done.stdout == "== h2\nh2\n== h3: exit code 9\nh3\n== h4\nh4\n"
    assert there.rayctl("exec", "--limit", "h2:h4:!h4", "hostname").stdout == "== h2\nh2\n"
    assert "names no node of this cluster" in there.rayctl("exec", "--limit", "h9", "true", code=125).stderr


def test_a_host_that_is_gone_holds_up_nobody_and_is_named(there: Cluster) -> None:
    there.lab["h3"].kill()
    began = time.monotonic()
    done = there.rayctl("exec", "-A", "hostname", code=1)
    assert time.monotonic() - began < 30
    assert re.findall("^== (.*)$", done.stdout, re.M) == ["h1", "h2", "h4"]
    assert "✗ h3" in done.stderr


def test_ctrl_c_ends_the_command_on_all_nodes(there: Cluster) -> None:
    child = there.start("rayctl", "exec", "-A", str(there.file), "sleep 976")
    hosts = [there.lab[name] for name in there.hosts]
    wait_for(lambda: all(any("sleep 976" in line for line in host.processes()) for host in hosts), 30, "it runs everywhere")
    child.send_signal(2)
    assert child.wait(30) == 130
    assert not [line for host in hosts for line in host.processes() if "sleep 976" in line]


def test_output_is_bytes_and_much_of_it_is_no_trouble(there: Cluster) -> None:
    done = subprocess.run(
        ["rayctl", "exec", "-A", str(there.file), "head -c 20000000 /dev/zero | tr '\\0' '\\377'"], env=there.env,
        cwd=there.folder, stdin=subprocess.DEVNULL, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == b"== h1, h2, h3, h4 (4 nodes)\n" + b"\xff" * 20_000_000 + b"\n"


def test_a_gigabyte_from_the_head_arrives_whole_and_is_kept_nowhere(there: Cluster) -> None:
    command = "head -c 1000000000 /dev/zero | tr '\\0' '\\377'"
    with subprocess.Popen(
        ["rayctl", "exec", str(there.file), command], env=there.env, cwd=there.folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        size, other, most = 0, 0, 0
        while block := child.stdout.read(1 << 20):
            size, other = size + len(block), other + len(block) - block.count(b"\xff")
            most = max(most, memory(child.pid))
    assert (child.returncode, size, other) == (0, 1_000_000_000, 0)
    assert most < 200e6


def memory(pid: int) -> float:
    """Bytes that a process holds; none once it has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def test_what_is_piped_through_the_head_comes_back_byte_by_byte(there: Cluster) -> None:
    data = os.urandom(30_000_000)
    done = subprocess.run(
        ["rayctl", "exec", str(there.file), "cat"], env=there.env, cwd=there.folder, input=data, capture_output=True, check=True
    )
    assert done.stdout == data
    assert done.stderr == b""


def test_the_exit_code_is_the_commands_own(there: Cluster) -> None:
    for code in (0, 1, 2, 7, 124, 125, 126, 127, 128, 130, 137, 143, 254, 255):
        done = there.rayctl("exec", f"exit {code}", code=code)
        assert (done.stdout, done.stderr) == ("", "")


def test_for_programs_each_answer_is_an_event_and_a_lost_connection_is_none(there: Cluster) -> None:
    def events(*words: str, code: int) -> list[dict[str, object]]:
        lines = there.rayctl("exec", "--format", "json", *words, code=code).stdout.splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == "command_ended"]

    (one,) = events("echo hi; exit 255", code=255)
    assert one["data"] == {"status": "failed", "exit_code": 255, "stdout": "hi\n", "stderr": ""}
    assert [event["node"] for event in events("-A", "true", code=0)] == ["h1", "h2", "h3", "h4"]
    (lost,) = events("sudo pkill -KILL -u ray sshd; sleep 60", code=125)
    assert isinstance(lost["data"], dict)
    assert (lost["data"]["status"], lost["data"]["exit_code"]) == ("unreachable", None)


# ---- terminals
@pytest.mark.parametrize("window", ["tmux", "screen"])
def test_a_command_in_a_window_outlives_the_connection_and_attach_finds_it(there: Cluster, window: str) -> None:
    done = there.rayctl("exec", f"--{window}", f"{ODD} > ~/said; V=7; export V")
    assert f"rayctl attach {there.file} --{window}" in done.stderr
    wait_for(lambda: there.head.exec("cat /home/ray/said", check=False).stdout == SAID, 30, "it ran")
    with Terminal(there, "attach", f"--{window}") as terminal:
        terminal.type("echo V=$V=$RAY_ADDRESS\n")
        assert terminal.shows(f"V=7={there.head.ip}:6379")


def test_attach_is_a_login_with_the_clusters_ray_and_the_terminals_size(there: Cluster) -> None:
    with Terminal(there, "attach") as terminal:
        terminal.type("hostname; stty size; echo $RAY_ADDRESS; exit 7\n")
        assert terminal.shows(f"{there.head.ip}:6379")
        assert "33 99" in terminal.seen
        assert terminal.ends() == 7
    with Terminal(there, "attach") as terminal:
        terminal.type("until sleep 0.05; [ \"$(stty size) $LINES\" = '50 133 50' ]; do :; done; echo now $LINES\n")
        assert terminal.grows(50, 133, until="now 50")
        terminal.type("sleep 973\n")
        wait_for(lambda: "sleep 973" in there.head.processes(), 30, "it sleeps")
        terminal.type("\x03echo code $?\n")
        assert terminal.shows("code 130")
        assert "job control" not in terminal.seen
    with Terminal(there, "attach", "--node-ip", there.workers[1].ip) as terminal:
        terminal.type("echo at=$(hostname)=; exit\n")
        assert terminal.shows("at=h3=")


class Terminal:
    """A `rayctl` command at a terminal of 33 lines and 99 columns."""

    def __init__(self, cluster: Cluster, verb: str, *words: str) -> None:
        self.argv, self.env = ["rayctl", verb, str(cluster.file), *words], {**cluster.env, "TERM": "xterm"}
        self.seen = ""

    def __enter__(self) -> Terminal:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(self.argv[0], self.argv, self.env)
        self.resize(33, 99)
        assert self.shows("$ ") or self.shows("# "), self.seen
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def grows(self, lines: int, columns: int, until: str) -> bool:
        """Whether the other side comes to know of a new size.

        Through a shared connection the first prompt may be seen before ssh listens for new sizes, and what comes then is lost
        with it: the window is dragged once more.
        """
        for _ in range(15):
            self.resize(lines - 1, columns)
            self.resize(lines, columns)
            if self.shows(until, 1.0):
                return True
        return False

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def shows(self, text: str, patience_s: float = 30.0) -> bool:
        """Whether it comes to be seen, other than by being typed."""
        end = time.monotonic() + patience_s
        while text not in self.seen and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    break
        return text in self.seen

    def ends(self) -> int:
        self.shows("\0never", 1.0)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


# ---- ports
def served(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), 5) as line:
        line.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: line.recv(65536), b"")).decode()


@pytest.fixture
def web(there: Cluster) -> Iterator[int]:
    """A port of the head's localhost at which its files in /etc are served."""
    there.head.exec("systemd-run --quiet --unit=web python3 -m http.server 8765 --bind 127.0.0.1 --directory /etc")
    there.head.exec("for i in $(seq 150); do nc -z 127.0.0.1 8765 && exit; sleep 0.1; done; exit 1")
    yield 8765


def test_a_forwarded_port_leads_to_the_head_as_long_as_the_command_runs(there: Cluster, web: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as another:
        here, other = one.getsockname()[1], another.getsockname()[1]
    until_go = "echo there; until test -e ~/go; do sleep 0.1; done; exit 255"
    child = there.start("rayctl", "exec", "-p", f"{here}:{web}", "-p", f"{other}:1", str(there.file), until_go)
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    assert "h1\n" in served(here)
    with suppress(ConnectionResetError):
        assert served(other) == "", "nobody listens there: that is no trouble of the command's"
    there.head.exec("touch /home/ray/go")
    assert child.wait(30) == 255, "its own exit code"
    with pytest.raises(OSError, match="refused"):
        served(here)


def test_a_port_that_is_taken_here_is_said_before_anything_runs(there: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = there.rayctl("exec", "-p", str(port), "touch ~/ran", code=125)
    assert f"port {port} of this machine cannot be used: Address already in use" in done.stderr
    assert there.head.exec("ls /home/ray/ran", check=False).returncode


# ---- files
def test_files_go_up_and_down_with_rsyncs_meaning_of_paths(there: Cluster) -> None:
    there.write(rsync_exclude=["*.pyc"], rsync_filter=[".gitignore"])
    tree = there.folder / "it's a tree"
    (tree / "sub").mkdir(parents=True)
    for name, text in {"a b": "1", "x.pyc": "2", "sub/$y": "3", "sub/ignored": "4", "sub/.gitignore": "ignored\n"}.items():
        (tree / name).write_text(text)
    assert there.rayctl("rsync-up", str(tree), "~/made for it/").stdout.startswith("h1: 3 files copied, 10 B\n")
    look = "cd '/home/ray/made for it' && find . -type f | sort"
    assert there.head.exec(look).stdout.split("\n")[:-1] == [
        "./it's a tree/a b", "./it's a tree/sub/$y", "./it's a tree/sub/.gitignore",
    ]  # fmt: skip
    assert there.rayctl("rsync-up", str(tree), "~/made for it/").stdout == "h1: 0 files copied, 0 B\n"
    there.rayctl("rsync-down", "~/made for it/it's a tree/", str(there.folder / "far" / "back"))
    assert (there.folder / "far" / "back" / "sub" / "$y").read_text() == "3"
    assert "No such file" in there.rayctl("rsync-down", "~/nowhere", "here", code=1).stderr


def test_file_mounts_go_to_all_nodes_and_come_back_from_the_head(there: Cluster) -> None:
    source = there.folder / "app"
    source.mkdir()
    (source / "config").write_text("one\n")
    (there.folder / "single").write_text("one\n")
    there.write(file_mounts={"~/app": str(source), "~/single.txt": str(there.folder / "single")})
    told = there.rayctl("rsync-up", "--all-nodes", "-v").stdout
    assert [line for line in told.splitlines() if ":" in line] == [f"h{n}: 2 files copied, 8 B" for n in (1, 2, 3, 4)]
    for host in (there.head, *there.workers):
        assert host.exec("cat /home/ray/app/config /home/ray/single.txt").stdout == "one\none\n"
    there.head.exec("echo two > /home/ray/app/config")
    there.rayctl("rsync-down")
    assert (source / "config").read_text() == "two\n"


def test_a_node_without_rsync_is_named_with_what_to_do(there: Cluster, tmp_path: Path) -> None:
    there.lab["h3"].exec("mv /usr/bin/rsync /usr/bin/rsync.away")
    (tmp_path / "f").write_text("x")
    done = there.rayctl("rsync-up", "-A", str(tmp_path / "f"), "~/f", code=1)
    assert "✗ h3: cannot copy" in done.stderr
    assert "rsync is not installed on the node" in done.stderr
    assert there.lab["h4"].exec("cat /home/ray/f").stdout == "x"


def test_a_folder_is_submitted_whole_and_its_arguments_arrive_as_given(there: Cluster) -> None:
    app = there.folder / "app"
    app.mkdir()
    (app / "helper.py").write_text("def say(words): print(words)\n")
    (app / "__main__.py").write_text("import sys, helper\nhelper.say(sys.argv[1:])\nsys.exit(3)\n")
    there.head.exec("ln -s /usr/bin/python3 /usr/local/bin/python")
    assert there.rayctl("submit", str(app), "--x", "a 'b'", code=3).stdout == "['--x', \"a 'b'\"]\n"
    assert "has no __main__.py" in there.rayctl("submit", str(there.folder / "home"), code=125).stderr


# ---- a cluster for one command
def test_start_and_stop_make_a_cluster_for_one_command(cluster: Cluster) -> None:
    cluster.write(head_start_ray_commands=[daemon("starts")], worker_start_ray_commands=[daemon("starts")])
    done = cluster.rayctl("exec", "--start", "--stop", "hostname; exit 6", code=6)
    assert done.stdout == "h1\n"
    assert not any(cluster.daemons().values())
    assert re.search(r"h4 +terminated: down(.*\n)+.*h1 +terminated: down", done.stderr), "workers first"


# ---- plans
def test_a_plan_names_hosts_that_do_not_answer_and_up_check_names_the_same(there: Cluster) -> None:
    there.write("echo more")
    there.lab["h3"].kill()
    told = there.rayctl("plan", "--format", "json", code=1)
    assert {node["node"]: node["action"] for node in json.loads(told.stdout)["nodes"]} == {
        "h1": "restart", "h2": "restart", "h4": "restart", "h3": "unreachable",
    }  # fmt: skip
    assert "✗ h3: " in told.stderr
    assert "launch" not in told.stdout
    assert "✗ h3: " in there.up("--check", code=1).stderr


# ---- a person's own ssh
def test_ssh_rsync_and_others_reach_the_hosts_by_the_clusters_name(there: Cluster, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(there.rayctl("ssh-config").stdout)
    assert there.run("ssh", "-F", str(config), "lab", "hostname").stdout == "h1\n"
    assert there.run("ssh", "-F", str(config), "lab-h3", "hostname").stdout == "h3\n"
    there.run("rsync", "-e", f"ssh -F {config}", str(config), "lab-h2:copied")
    assert there.lab["h2"].exec("cat /home/ray/copied").stdout == config.read_text()
    there.lab["h4"].exec("rm /etc/ssh/ssh_host_*; ssh-keygen -A; systemctl restart ssh")
    masters.close("*")  # they trust the old key
    assert "Host key verification failed" in there.run("ssh", "-F", str(config), "lab-h4", "hostname", code=255).stderr


# ---- by chance
def test_a_worker_that_is_killed_comes_back_by_the_next_up(cluster: Cluster) -> None:
    cluster.write(head_start_ray_commands=[daemon("starts")], worker_start_ray_commands=[daemon("starts")])
    cluster.up()
    before = cluster.daemons()
    name = cluster.rayctl("kill-random-node", "-y").stdout.partition(":")[0]
    assert name in ("h2", "h3", "h4")
    assert cluster.daemons() == {**before, name: []}
    gone = cluster.rayctl("kill-random-node", "-y", "--hard").stdout.partition(":")[0]
    assert gone not in {node["name"] for node in cluster.status("--probe")["nodes"] if node["state"] == "running"}
    cluster.up("--restart")
    assert all(len(pids) == 1 for pids in cluster.daemons().values())


# ---- what fails with Ray's launcher
def test_another_key_changes_who_logs_in_and_nothing_else(cluster: Cluster, tmp_path: Path) -> None:
    starts = {"head_start_ray_commands": [daemon("starts")], "worker_start_ray_commands": [daemon("starts")]}
    cluster.write(**starts)
    cluster.up()
    before, key = cluster.daemons(), tmp_path / "another"
    cluster.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    public = key.with_suffix(".pub").read_text()
    cluster.rayctl("exec", "-A", f"echo '{public.strip()}' >> ~/.ssh/authorized_keys")
    cluster.auth["ssh_private_key"] = str(key)
    cluster.write(**starts)
    assert "nothing changed" in cluster.up("--no-restart").stdout
    assert "nothing changed" in cluster.up().stdout
    assert cluster.daemons() == before


def test_addresses_are_told_from_the_file_and_a_cluster_that_is_not_up_is_said(cluster: Cluster) -> None:
    assert "is not up" in cluster.rayctl("get-head-ip", code=1).stderr
    cluster.up()
    assert cluster.rayctl("get-head-ip").stdout == f"{cluster.head.ip}\n"
    other = cluster.elsewhere("other")
    assert other.rayctl("get-worker-ips").stdout.split() == [worker.ip for worker in cluster.workers]


def test_a_dump_holds_what_all_nodes_tell_and_no_token(cluster: Cluster, tmp_path: Path) -> None:
    cluster.write("echo said by a step")
    cluster.up()
    cluster.lab["h4"].kill()
    done = cluster.rayctl("cluster-dump", "-o", str(tmp_path / "dump.tar.gz"), code=1)
    assert "✗ h4" in done.stderr
    cluster.run("tar", "-xzf", "dump.tar.gz", cwd=tmp_path)
    for name in ("h1", "h2", "h3"):
        (tmp_path / name).mkdir()
        cluster.run("tar", "-xzf", str(tmp_path / "dump" / f"{name}.tar.gz"), cwd=tmp_path / name)
        assert any("said by a step" in log.read_text() for log in (tmp_path / name / "steps").iterdir())
        assert "sshd" in (tmp_path / name / "processes.txt").read_text()
        assert not list((tmp_path / name).rglob("token"))
    assert any(log.name.startswith("up-") for log in (tmp_path / "dump" / "controller").iterdir())
    again = cluster.rayctl("cluster-dump", "-o", str(tmp_path / "dump.tar.gz"), code=2)
    assert "there is such a file already" in again.stderr


def test_a_host_that_does_not_answer_is_no_question(there: Cluster) -> None:
    there.lab["h3"].kill()
    assert "✗ h3" in there.rayctl("up", code=1).stderr, "where it would ask, exit code 2 says that there is no terminal"
