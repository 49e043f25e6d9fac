# SPDX-License-Identifier: Apache-2.0
"""No secret leaves: not by its value, not by its form, not in any sink."""

from __future__ import annotations

import base64
import io
import json
import shlex
import string
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rayctl.events import Bus, EventKind, Redactor
from rayctl.events.sinks import JsonLinesSink, LogFileSink, PlainSink

KEY_BODY = ["MIIEowIBAAKCAQEA1", "c2VjcmV0", "x=="]
KEY = ["-----BEGIN RSA PRIVATE KEY-----", *KEY_BODY, "-----END RSA PRIVATE KEY-----"]
SECRETS = st.text(string.ascii_letters + string.digits + "+/=_-$'\"\\ :é", min_size=8, max_size=40).filter(
    lambda text: text == text.strip()
)
AROUND = st.text("ab \n\t[](){}'\"=:,/\\\x1b[31m\x00é", max_size=12)
PLACES = st.sampled_from(["text", "op", "cluster", "node", "step", "key", "nested", "tail", "bytes"])


@given(st.lists(SECRETS, min_size=1, max_size=3), AROUND, AROUND, PLACES, st.sampled_from(EventKind) | st.just("new_kind"))
def test_registered_secret_never_appears_in_any_sinks_output(
    secrets: list[str], before: str, after: str, place: str, kind: str
) -> None:
    bare = [before + after, *run_all_sinks([], kind, place, "")]  # what a secret may be by chance a part of
    assume(not any(secret in output for output in bare for secret in secrets))
    text = after.join(before + secret for secret in secrets) + after
    outputs = run_all_sinks(secrets, kind, place, text)
    assert outputs
    for output in outputs:
        for secret in secrets:
            assert secret not in output
            assert json.dumps(secret)[1:-1] not in output


def run_all_sinks(secrets: list[str], kind: str, place: str, text: str) -> list[str]:
    """What each sink has put out after an event that holds `text` at some place."""
    streams = [io.StringIO() for _ in range(3)]
    with TemporaryDirectory() as folder:
        log = Path(folder) / "run.jsonl"
        sinks = [JsonLinesSink(streams[0]), PlainSink(streams[1]), PlainSink(streams[2], verbosity=1), LogFileSink(log)]
        op, cluster = (text if place == "op" else "up"), (text if place == "cluster" else "demo")
        bus = Bus(op, cluster, sinks, clock=lambda: 0.0)
        for secret in secrets:
            bus.register_secret(secret)
        match place:
            case "node":
                bus.emit(kind, node=text)
            case "step":
                bus.emit(kind, step=text)
            case "key":
                bus.emit(kind, **{text: 1})
            case "nested":
                bus.emit(kind, text=[{"deep": [text]}])
            case "tail":
                bus.emit(kind, status="failed", tail=["a", text])
            case "bytes":
                bus.emit(kind, text=text.encode())
            case _:
                bus.emit(kind, text=text, hint=text)
        bus.tick(100.0)
        bus.close()
        return [*(stream.getvalue() for stream in streams), log.read_text()]


@pytest.fixture
def redactor() -> Redactor:
    made = Redactor()
    made.register("s3cr3t 'pass'\\word")
    return made


@pytest.mark.parametrize(
    "spelling",
    [
        "s3cr3t 'pass'\\word",
        shlex.quote("s3cr3t 'pass'\\word"),
        json.dumps("s3cr3t 'pass'\\word")[1:-1],
        repr("s3cr3t 'pass'\\word"),
        quote("s3cr3t 'pass'\\word", safe=""),
        base64.b64encode(b"s3cr3t 'pass'\\word").decode(),
        "s3cr\x1b[1m3t 'pass'\\word\x1b[0m",
        "s3cr3t 'p\x00ass'\\word",
    ],
)
def test_secret_is_known_in_every_spelling(redactor: Redactor, spelling: str) -> None:
    cleaned = redactor.clean(f"<{spelling}>")
    assert cleaned.replace("'", "").replace('"', "") == "<[redacted]>"


def test_longer_of_two_overlapping_secrets_is_hidden_whole() -> None:
    redactor = Redactor()
    redactor.register("hunter2")
    redactor.register("hunter2-of-anna")
    assert redactor.clean("hunter2-of-anna hunter2") == "[redacted] [redacted]"


def test_line_of_a_secret_with_several_lines_is_hidden_alone() -> None:
    redactor = Redactor()
    redactor.register("first line is long enough\nshort\nand so is the last line\n")
    assert redactor.clean("got: and so is the last line") == "got: [redacted]"
    assert redactor.clean("cut it short") == "cut it short"


@pytest.mark.parametrize("value", ["", "ab", "123"])
def test_value_too_short_to_be_hidden_does_not_blacken_everything(value: str) -> None:
    redactor = Redactor()
    redactor.register(value)
    assert redactor.clean("ab 123 cd") == "ab 123 cd"


def test_number_that_is_a_secret_is_hidden() -> None:
    redactor = Redactor()
    redactor.register("5241590000")
    assert redactor.clean({"port": 6379, "given": 5241590000, "on": True}) == {"port": 6379, "given": "[redacted]", "on": True}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=geheim", "password=[redacted]"),
        ("export RAY_AUTH_TOKEN='a b c'; ls", "export RAY_AUTH_TOKEN=[redacted]; ls"),
        ('{"redis_password": "a\\"b", "port": 1}', '{"redis_password": [redacted], "port": 1}'),
        ('{"api-key":"abc"}', '{"api-key":[redacted]}'),
        ("ray start --redis-password 5241 --port 6379", "ray start --redis-password [redacted] --port 6379"),
        ("db_password: geheim", "db_password: [redacted]"),
        ("curl -H 'Authorization: Basic YTpi' http://x", "curl -H 'Authorization: [redacted]' http://x"),
        ("sent Bearer abcdef.ghijkl to x", "sent Bearer [redacted] to x"),
        ("git clone https://anna:geheim@host/x.git", "git clone https://anna:[redacted]@host/x.git"),
        ("key AKIAABCDEFGHIJKLMNOP in eu", "key [redacted] in eu"),
        ("AWS_SECRET_ACCESS_KEY=abc/def+ghi next", "AWS_SECRET_ACCESS_KEY=[redacted] next"),
        ("ghp_0123456789abcdefghijklmn", "[redacted]"),
        ("hf_0123456789abcdefghijklmn", "[redacted]"),
        (" ".join(KEY), "[redacted]"),
        ("key: " + "\n".join(KEY) + "\ndone", "key: [redacted]\ndone"),
        ("cut " + "\n".join(KEY[:2]), "cut [redacted]"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, expected: str) -> None:
    assert Redactor().clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "pip install -r requirements.txt",
        "the token expired, ask for another password",
        "launch_token=6f1de0bb-6f0b-4c35-9d0b-0a3d8f3a2c11",
        "http://10.0.0.1:8265/api/jobs",
        "ssh://git@host/x",
        "author=anna keys=3",
        "100%|#####| 12/12 [00:01<00:00]\tok\r\n",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Redactor().clean(text) == text


def test_value_is_hidden_by_the_name_of_its_key() -> None:
    data = {"password": "x", "Authorization": "y", "launch_token": "z", "tokens": 7, "password_file": "/p"}
    assert Redactor().clean(data) == {
        "password": "[redacted]",
        "Authorization": "[redacted]",
        "launch_token": "z",
        "tokens": 7,
        "password_file": "/p",
    }


def test_private_key_in_a_tail_is_hidden_line_by_line() -> None:
    cleaned = Redactor().clean({"tail": ["cat id_rsa", *KEY, "done"]})
    assert cleaned == {"tail": ["cat id_rsa", *["[redacted]"] * 5, "done"]}


def test_private_key_printed_line_by_line_is_hidden_to_its_last_line() -> None:
    stream = io.StringIO()
    bus = Bus("up", "demo", [JsonLinesSink(stream)])
    for line in [*KEY, "done"]:
        bus.emit(EventKind.STEP_OUTPUT, "n1", "s1", text=line)
        bus.emit(EventKind.STEP_OUTPUT, "n2", "s1", text="other node")
    output = stream.getvalue()
    assert not any(part in output for part in KEY_BODY)
    assert output.count('"done"') == 1
    assert output.count('"other node"') == len(KEY) + 1


def test_key_that_never_ends_hides_no_more_than_its_step() -> None:
    stream = io.StringIO()
    bus = Bus("up", "demo", [JsonLinesSink(stream)])
    bus.emit(EventKind.STEP_OUTPUT, "n1", "s1", text=KEY[0])
    bus.emit(EventKind.STEP_ENDED, "n1", "s1", status="ok")
    bus.emit(EventKind.STEP_OUTPUT, "n1", "s1", text="run again")
    assert "run again" in stream.getvalue()


def test_terminal_sequences_do_not_reach_a_reader() -> None:
    text = "\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07 \x1b(B\x1b]8;;http://x\x1b\\link \x9b2J\x1b"
    assert Redactor().clean(text) == "red bell link 2J"
