# SPDX-License-Identifier: Apache-2.0
"""Start commands: what becomes of `ray stop` and of flags, and that all else stays as written."""

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rayctl.config.load import parse
from rayctl.config.start import start_of, with_flags

BASE = "cluster_name: c\nprovider: {type: embedded}\n"


def config_of(*, head=(), worker=(), more=""):
    lists = {"head_start_ray_commands": head, "worker_start_ray_commands": worker}
    text = "".join(f"{key}: [{', '.join(map(yaml_text, value))}]\n" for key, value in lists.items() if value)
    return parse(BASE + text + more, "c.yaml").config


def yaml_text(value):
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(char, char) for char in value) + '"'


def read(command):
    start = start_of(config_of(head=[command]), "head")
    return [item.command or item.action for item in start.commands]


@pytest.mark.parametrize(
    ("written", "done"),
    [
        ("ray stop", ["stop"]),
        ("ray stop --force", ["stop"]),
        ("ray stop # all of it", ["stop"]),
        ("ray stop; ulimit -n 65536; ray start --head", ["stop", "ulimit -n 65536; ray start --head"]),
        ("ray stop && ray start --head", ["stop", "ray start --head"]),
        ("ray stop\nray start --head", ["stop", "ray start --head"]),
        ("ulimit -n 9; ray stop; ray start --head", ["stop", "ulimit -n 9; ray start --head"]),
        ("ray stop || true; ray start --head", ["stop", ": || true; ray start --head"]),
        ("source x && ray stop", ["stop", "source x && :"]),
        ("source x && ray stop; ray start --head", ["stop", "source x && :; ray start --head"]),
        ("if true; then ray stop; fi; ray start --head", ["stop", "if true; then :; fi; ray start --head"]),
        ("(ray stop; ray start --head)", ["stop", "(:; ray start --head)"]),
        ("ray stop | tee log; ray start --head", ["stop", ": | tee log; ray start --head"]),
        ("sudo ray stop; ray start --head", ["sudo ray stop; ray start --head"]),
        ("bash -c 'ray stop; ray start --head'", ["bash -c 'ray stop; ray start --head'"]),
    ],
)
def test_ray_stop_becomes_stopping_this_nodes_own(written, done):
    assert read(written) == done


@pytest.mark.parametrize(
    ("written", "done"),
    [
        ("ray start --head --redis-port=6379", "ray start --head --port=6379"),
        ("ray start --head --redis-port 6379", "ray start --head --port 6379"),
        ("ray start --redis-address=$RAY_HEAD_IP:6379", "ray start --address=$RAY_HEAD_IP:6379"),
        ("ray start --head --autoscaling-config=~/x.yaml --port=1", "ray start --head --port=1"),
        ("ray start --head --autoscaling-config ~/x.yaml", "ray start --head"),
        ("ray start --autoscaling-config='a b' --head", "ray start --head"),
        ("echo --autoscaling-config=x --redis-port", "echo --autoscaling-config=x --redis-port"),
        ("ray start --head --labels='--redis-port=1'", "ray start --head --labels='--redis-port=1'"),
    ],
)
def test_flags_of_other_times_are_translated_with_a_notice(written, done):
    start = start_of(config_of(head=[written]), "head")
    assert [item.command for item in start.commands] == [done]
    assert len(start.notices) == (written != done)


def test_notices_are_given_once():
    start = start_of(config_of(head=["ray start --redis-port=1", "ray start --redis-port=2"]), "head")
    assert start.notices == ("`--redis-port` of a start command is run as `--port`, its name in today's Ray",)


def test_without_start_commands_ours_are_used():
    config = config_of()
    (head,) = start_of(config, "head").commands
    (worker,) = start_of(config, "worker").commands
    assert head.command == "ulimit -Sn 65536 2>/dev/null; ray start --head $RAYCTL_RAY_FLAGS"
    assert worker.command == 'ulimit -Sn 65536 2>/dev/null; ray start --address="$RAY_HEAD_ADDRESS" $RAYCTL_RAY_FLAGS'


@pytest.mark.parametrize(
    ("command", "port"),
    [
        ("ray start --head --port=6380", 6380),
        ("ray start --head --port 6380", 6380),
        ("ray start --head --redis-port=7", 7),
        ("ray start --head --port='6380'", 6380),
        ("ray start --head", None),
        ("echo --port=1", None),
        ("ray start --port=$P", None),
    ],
)
def test_port_is_the_heads(command, port):
    config = config_of(head=[command], worker=[command])
    assert start_of(config, "head").port == port
    assert start_of(config, "worker").port is None


def test_name_time_out_and_environment_of_a_command_are_kept():
    more = "head_start_ray_commands: [{command: ray start --head, name: go, timeout_s: 9, env: {A: b}}]\n"
    (command,) = start_of(config_of(more=more), "head").commands
    assert (command.action, command.name, command.timeout_s, command.env) == ("run", "go", 9, {"A": "b"})


def test_digest_covers_commands_resources_labels_and_token_and_nothing_else():
    written = config_of(head=["ray stop", "ray start --head"])
    base = start_of(written, "head", resources={"CPU": 2}, labels={"a": "b"}).digest
    others = {
        start_of(config_of(head=["ray start --head"]), "head", resources={"CPU": 2}, labels={"a": "b"}).digest,
        start_of(written, "head", resources={"CPU": 3}, labels={"a": "b"}).digest,
        start_of(written, "head", resources={"CPU": 2}).digest,
        start_of(
            config_of(head=["ray stop", "ray start --head"], more="auth: {ray_token: false}\n"),
            "head",
            resources={"CPU": 2},
            labels={"a": "b"},
        ).digest,
        start_of(config_of(), "head", resources={"CPU": 2}, labels={"a": "b"}).digest,
    }
    assert base not in others
    assert len(others) == 5
    same = config_of(head=["ray stop", "ray start --head"], worker=["ray start"], more="setup_commands: [x]\nmax_workers: 9\n")
    assert start_of(same, "head", resources={"CPU": 2.0}, labels={"a": "b"}).digest == base


def test_start_digest_is_the_same_for_ever():
    assert start_of(config_of(), "head").digest == "v1:ca73171c0415548cd300bd9f333da8385682ffa6983d340cf8ab7e9d671e27ba"
    assert (
        start_of(config_of(worker=["ray start"]), "worker", resources={"CPU": 2}).digest
        == "v1:c20a3bd64b2d950e4905cec8d168353a5898bffa06ace16388ba66ff6d4179ba"
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ray start --head", "ray start --port=1 '--temp-dir=/a b' --head"),
        ("ulimit -n 9; ray start --head", "ulimit -n 9; ray start --port=1 '--temp-dir=/a b' --head"),
        ("ray start --head --port=6", "ray start '--temp-dir=/a b' --head --port=6"),
        ("ray start --head --port 6 --temp-dir x", "ray start --head --port 6 --temp-dir x"),
        ("ray start --head '--port=6'", "ray start '--temp-dir=/a b' --head '--port=6'"),
        ("/x/ray start --head >log", "/x/ray start --port=1 '--temp-dir=/a b' --head >log"),
        (
            "if y; then ray start --head; else ray start; fi",
            "if y; then ray start --port=1 '--temp-dir=/a b' --head; else ray start; fi",
        ),
        ("ray start $FLAGS", "ray start --port=1 '--temp-dir=/a b' $FLAGS"),
        ("echo ray start", "echo ray start"),
        ("bash -c 'ray start'", "bash -c 'ray start'"),
    ],
)
def test_flags_are_put_where_ray_is_started_unless_given(command, expected):
    assert with_flags(command, {"port": "1", "temp-dir": "/a b"}, head=True) == expected


def test_flag_without_value_is_put_bare():
    assert with_flags("ray start", {"no-monitor": ""}, head=False) == "ray start --no-monitor"


@given(st.dictionaries(st.from_regex(r"[a-z]{2,8}", fullmatch=True), st.text("ab '\"$;`\\", min_size=1), max_size=3))
def test_inserted_values_reach_ray_as_they_are(flags):
    words = shlex.split(with_flags("ray start --head", flags, head=True))
    assert words == ["ray", "start", *(f"--{name}={value}" for name, value in flags.items() if name != "head"), "--head"]


TEXT = st.text(alphabet="abr ysto-;&|()<>'\"\\`${}#=\n1", min_size=1, max_size=80).filter(str.strip)


@given(TEXT.filter(lambda text: "ray" not in text))
@example("docker ps --format '{{.Names}}'")
@example("{{ lookup('pipe', 'id') }}")
def test_text_without_a_ray_command_is_returned_as_written(text):
    assert with_flags(text, {"port": "1"}, head=True) == text
    assert read(text) == [text]


@given(TEXT.filter(lambda text: "'" not in text))
def test_nothing_inside_quotes_is_touched(text):
    command = f"bash -c '{text}; ray stop; ray start --redis-port=1'"
    assert read(command) == [command]
    assert with_flags(command, {"port": "1"}, head=True) == command
