# SPDX-License-Identifier: Apache-2.0
"""The command line itself: spellings, contradictions, where options end, and what nothing is asked or imported for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from rayctl.cli import common
from rayctl.cli.cluster import up
from rayctl.cli.main import cli, main
from rayctl.cli.run import exec_, submit
from rayctl.errors import Interrupted, Refused, UsageError

COMMANDS = [
    "up", "down", "plan", "restart", "kill-random-node", "exec", "attach", "submit", "rsync-up", "rsync-down", "status",
    "get-head-ip", "get-worker-ips", "dashboard", "monitor", "token", "cluster-dump", "list", "logs", "ssh-config",
    "completion", "validate", "schema", "scaler", "explain", "simulate",
]  # fmt: skip


def parsed(command: click.Command, *words: str) -> dict[str, Any]:
    settings = {"token_normalize_func": lambda name: name.replace("_", "-")}
    return command.make_context("x", list(words), **settings).params


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Through the real entry, so with the real exit code."""
    monkeypatch.setattr(sys, "argv", ["rayctl", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAYCTL_DEBUG", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    help_text = CliRunner().invoke(cli, [name, "--help"], prog_name="rayctl").output
    assert f"Usage: rayctl {name}" in help_text
    assert re.search(f"Example: .*rayctl {name}", help_text)


def test_commands_stand_in_the_order_in_which_one_needs_them() -> None:
    assert cli.list_commands(click.Context(cli)) == COMMANDS


def test_underscores_are_dashes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed(up, "c.yaml", "--no_restart", "--min_workers", "3")["no_restart"] is True
    assert run(monkeypatch, "get_head_ip", "--help") == 0
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["c.yaml"], None),
        (["--rerun", "c.yaml"], 1),
        (["c.yaml", "--rerun"], 1),
        (["--rerun", "-y", "c.yaml"], 1),
        (["--rerun", "5", "c.yaml"], 5),
        (["--rerun=5", "c.yaml"], 5),
    ],
)
def test_rerun_takes_a_number_or_none(words: list[str], number: int | None) -> None:
    found = parsed(up, *words)
    assert (found["rerun"], found["cluster_file"]) == (number, Path("c.yaml"))


@pytest.mark.parametrize(
    "words",
    [
        ["--restart", "--no-restart"],
        ["--restart-only", "--no-restart"],
        ["--restart-only", "--rerun"],
        ["--rerun", "0"],
        ["--rerun", "-1"],
        ["--min-workers", "-1"],
        ["--max-workers", "two"],
        ["--timeout", "0"],
        ["--lock-timeout", "-5"],
        ["--format", "yaml"],
        ["--nosuch"],
        ["other.yaml"],
    ],
)
def test_wrong_flags_are_bad_usage(words: list[str], monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert run(monkeypatch, "up", "c.yaml", *words) == 2
    assert not home.exists()


@pytest.mark.parametrize("words", [["exec", "c.yaml"], ["exec", "--nosuch", "c.yaml", "x"], ["submit", "c.yaml"]])
def test_bad_usage_of_exec_is_not_taken_for_the_commands_own_code(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *words) == 125


@pytest.mark.parametrize("words", [["exec", "gone.yaml", "true"], ["submit", "gone.yaml", "x.py"]])
def test_a_broken_file_is_rayctls_own_failure(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *words) == 125


@pytest.mark.parametrize(
    ("words", "start", "arguments"),
    [
        (["c.yaml", "x.py", "--start", "--", "--flag", "a b"], True, ("--", "--flag", "a b")),
        (["c.yaml", "x.py", "more", "--start", "-n", "other", "--", "--flag"], True, ("--", "more", "--flag")),
        (["c.yaml", "x.py", "--cluster_name=other", "--start", "--"], True, ("--",)),
        (["c.yaml", "x.py", "--start", "--epochs", "3", "--", "y"], False, ("--start", "--epochs", "3", "--", "y")),
        (["c.yaml", "x.py", "--start", "a"], False, ("--start", "a")),
    ],
)
def test_between_the_script_and_a_sign_options_are_ours_as_with_ray(
    words: list[str], start: bool, arguments: tuple[str, ...]
) -> None:
    found = parsed(submit, *words)
    assert (found["start"], found["arguments"]) == (start, arguments)


@pytest.mark.parametrize(
    "words",
    [
        ["-n", "other", "c.yaml", "x.py", "-n", "3", "--flag", "a b"],
        ["c.yaml", "-n", "other", "x.py", "-n", "3", "--flag", "a b"],
        ["c.yaml", "--cluster-name=other", "x.py", "-n", "3", "--flag", "a b"],
        ["c.yaml", "--cluster_name", "other", "x.py", "-n", "3", "--flag", "a b"],
        ["-v", "-n", "other", "c.yaml", "x.py", "-n", "3", "--flag", "a b"],
        ["-n", "other", "c.yaml", "-v", "x.py", "-n", "3", "--flag", "a b"],
        ["-n", "other", "c.yaml", "--tmux", "--verbose", "x.py", "-n", "3", "--flag", "a b"],
    ],
)
def test_what_follows_the_script_is_the_scripts(words: list[str]) -> None:
    found = parsed(submit, *words)
    assert (found["cluster_name"], found["script"]) == ("other", Path("x.py"))
    assert found["arguments"] == ("-n", "3", "--flag", "a b")


@pytest.mark.parametrize(
    "words",
    [
        ["-p", "1", "--tmux", "c.yaml", "x.py", "-p", "2"],
        ["c.yaml", "--port-forward", "1", "--tmux", "x.py", "-p", "2"],
        ["c.yaml", "--port_forward=1", "--tmux", "x.py", "-p", "2"],
    ],
)
def test_options_with_values_before_the_script_are_ours(words: list[str]) -> None:
    found = parsed(submit, *words)
    assert (found["ports"], found["tmux"], found["script"], found["arguments"]) == (("1",), True, Path("x.py"), ("-p", "2"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["exec", "--tmux", "--screen", "c.yaml", "x"], "contradict"),
        (["exec", "--tmux", "--stop", "c.yaml", "x"], "nobody is there to end the cluster"),
        (["submit", "--screen", "--stop", "c.yaml", "x.py"], "nobody is there to end the cluster"),
        (["submit", "--extra-screen-args", "-x", "c.yaml", "x.py"], "is for --screen"),
        (["attach", "--new", "c.yaml"], "for --tmux and --screen"),
        (["exec", "--run-env", "docker", "c.yaml", "x"], "runs no containers"),
        (["exec", "-p", "99999", "c.yaml", "x"], "no port"),
        (["exec", "-A", "--tmux", "c.yaml", "x"], "for one node"),
    ],
)
def test_what_cannot_be_is_said_and_is_rayctls_own_failure(
    words: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(GOOD)
    assert run(monkeypatch, *words) == 125
    assert why in capsys.readouterr().err


def test_what_ray_s_commands_take_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["exec", "--no-config-cache", "--disable-usage-stats", "--run-env", "host"], ["attach", "--no_config_cache"]):
        assert run(monkeypatch, *words, "--help") == 0


def test_underscores_in_the_scripts_own_flags_stay() -> None:
    assert parsed(submit, "c.yaml", "x.py", "--my_flag", "--a_b=c_d")["arguments"] == ("--my_flag", "--a_b=c_d")


def test_a_command_for_exec_is_one_word() -> None:
    assert parsed(exec_, "c.yaml", "-n", "o", "echo a_b --c_d")["command"] == "echo a_b --c_d"


def test_start_is_quick_and_imports_nothing_heavy() -> None:
    probe = (
        "import sys, rayctl.cli.main; print(sorted({'pydantic', 'rich', 'grpc', 'yaml', 'ansible_runner'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    took = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "rayctl.cli.main", "--help"], stdout=subprocess.DEVNULL, check=True)
        took.append(time.monotonic() - began)
    assert min(took) < 0.3


def test_schema_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "schema") == 0
    assert "cluster_name" in json.loads(capsys.readouterr().out)["properties"]


# ---- files that cannot be used
GOOD = "cluster_name: demo\nprovider: {type: embedded}\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)
BAD = {
    "unknown key": GOOD + "max_worker: 1\n",
    "wrong type": GOOD + "max_workers: many\n",
    "no mapping": "- just\n- a list\n",
    "empty": "",
    "broken": GOOD + "setup_commands: [\n",
    "bomb": GOOD + BOMB,
    "object": GOOD + "metadata: !!python/object/apply:os.system [id]\n",
    "name": GOOD.replace("demo", "../demo"),
    "root mount": GOOD + "file_mounts: {/: .}\n",
    "option as user": GOOD + "auth: {ssh_user: -oProxyCommand=x}\n",
    "no provider": GOOD.replace("embedded", "embeded"),
    "no text": "\x00\x01",
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_says_where_and_why_and_nothing_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(BAD[name])
    assert run(monkeypatch, "up", "-y", str(file)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{file}" in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 6
    assert run(monkeypatch, "validate", str(file)) == 2
    assert not home.exists()


@pytest.mark.parametrize(
    "text",
    [
        "cluster_name: demo\nprovider: {type: aws, region: us-west-2}\n",
        "cluster_name: demo\nprovider: {type: local, coordinator_address: h:1234}\n",
        GOOD + "docker: {image: 'rayproject/ray:latest'}\n",
    ],
)
def test_what_is_not_built_is_one_sentence_and_exit_code_3(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    assert run(monkeypatch, "up", "-y", str(file)) == 3
    assert "not built yet" in capsys.readouterr().err
    assert not (home / "clusters").exists()
    assert run(monkeypatch, "validate", str(file)) == 0


def test_missing_local_files_are_a_warning_for_validate_and_an_error_for_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(GOOD + "file_mounts: {~/x: gone}\nauth: {ssh_private_key: no.pem}\n")
    assert run(monkeypatch, "validate", str(file)) == 0
    assert capsys.readouterr().out.count("warning: ") == 2
    assert run(monkeypatch, "up", "-y", str(file)) == 2
    assert f"{file}:3:" in capsys.readouterr().err
    assert not (home / "clusters").exists()


# ---- asking
def test_without_a_terminal_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(UsageError) as caught:
        common.asker(yes=False)(["demo: 1 node to launch", "  launch the head"])
    assert "--yes" in caught.value.hint


def test_yes_asks_nothing() -> None:
    common.asker(yes=True)(["launch the head"])


@pytest.mark.parametrize(("answer", "error"), [("n\n", Refused), ("\n", Refused), ("", Interrupted)])
def test_anything_but_yes_touches_nothing(answer: str, error: type[Exception]) -> None:
    @click.command()
    def asking() -> None:
        sys.stdin.isatty = lambda: True  # type: ignore[method-assign]
        common.asker(yes=False)(["demo: 1 node to launch", "  launch the head"])

    result = CliRunner().invoke(asking, input=answer)
    assert isinstance(result.exception, error)
    assert "demo: 1 node to launch\n  launch the head\nGo on? [y/N]" in result.stderr


def test_ctrl_c_before_anything_has_begun_is_an_interrupt_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rayctl.operations import ahead

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ahead, "of_up", interrupted)
    assert run(monkeypatch, "up", "c.yaml", "-y") == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_no_words_at_all_are_bad_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        if name not in ("list", "completion", "schema"):
            assert run(monkeypatch, name) in (2, 125)
            assert "Missing argument" in capsys.readouterr().err


def test_the_environment_has_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCTL_UP_MAX_WORKERS", "8")
    assert up.make_context("up", ["c.yaml"], auto_envvar_prefix="RAYCTL_UP").params["max_workers"] == 8
    monkeypatch.setenv("RAYCTL_VERSION", "1.2")  # as scripts call what they install
    assert run(monkeypatch, "schema") == 0


@pytest.mark.parametrize(
    ("words", "offered"), [("rayctl pl", "plan"), ("rayctl up --no", "--no-restart"), ("rayctl status d", "demo")]
)
def test_a_shell_completes_commands_options_and_clusters(words: str, offered: str, home: Path) -> None:
    (home / "clusters" / "demo").mkdir(parents=True)
    environment = {
        "_RAYCTL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1),
        "RAYCTL_HOME": str(home), "PATH": os.environ["PATH"],
    }  # fmt: skip
    rayctl = Path(sys.executable).parent / "rayctl"
    done = subprocess.run([str(rayctl)], env=environment, capture_output=True, text=True, check=True)
    assert f"plain,{offered}" in done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_code_for_a_shell(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "completion", shell) == 0
    assert "_RAYCTL_COMPLETE" in capsys.readouterr().out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run(monkeypatch, "completion") == 1
