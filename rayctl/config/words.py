# SPDX-License-Identifier: Apache-2.0
"""What single words of a cluster file may look like: names, hosts, users, paths, commands.

Words end up in host names, folder names, tags and the argument lists of `ssh` and `rsync`, so what is unsafe there (a leading
dash, a control character, `..`) is refused here, once. The types at the end are what the models are made of.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

_CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\+$-]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9_:\[][A-Za-z0-9_.:%\]-]{0,254}")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)+[0-9A-Za-z.+]*")
_HOST_KEY = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?|(ssh|ecdsa|sk)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}( .*)?")
_JUMPS = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.@\\+$:%\]-]*(,[A-Za-z0-9_\[][A-Za-z0-9_.@\\+$:%\]-]*)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Unfit(ValueError):
    """Seen when a value has the right type but cannot be used; the text continues "`key` ...", `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def quoted(value: str) -> str:
    """A value for an error text: on one line, and short."""
    return repr(value if len(value) <= 40 else f"{value[:37]}...")


def seen(value: object) -> str:
    """What a value is, for an error text: `the number 5`, `the text 'abc'`, `a list`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def cluster_name(value: str) -> str:
    """A cluster's name, or `Unfit` with one that would do."""
    if _CLUSTER.fullmatch(value):
        return value
    rule = "1 to 63 letters, digits, `-` or `_` that start with a letter or digit"
    raise Unfit(f"must be {rule}, not {quoted(value)}", f"for example `{_cleaned(value)}`")


def _cleaned(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", value).strip("-_")[:40].rstrip("-_") or "my-cluster"


def _matching(pattern: re.Pattern[str], rule: str) -> AfterValidator:
    def check(value: str) -> str:
        if pattern.fullmatch(value):
            return value
        raise Unfit(f"must be {rule}, not {quoted(value)}")

    return AfterValidator(check)


def _text(value: str) -> str:
    if "\0" in value:
        raise Unfit("holds a NUL character, which no shell can take")
    return value


def _command(value: str) -> str:
    if not value.strip():
        raise Unfit("is empty", "write a shell command, or remove the item")
    return _text(value)


def _line(value: str) -> str:
    if _CONTROL.search(value):
        raise Unfit(f"must be one line without control characters, not {quoted(value)}")
    if not value.strip():
        raise Unfit("is empty", "give it a value, or remove the key")
    return value


def _word(value: str) -> str:
    if _line(value).startswith("-"):
        raise Unfit(f"must not start with a dash: {quoted(value)} would be read as an option")
    return value


def _mount_target(value: str) -> str:
    _line(value)
    where = "mount to a folder or file of its own, for example `~/project` or `/opt/data`"
    if posixpath.normpath(value).rstrip("/") in {"", ".", "~", ".."}:
        raise Unfit(f"cannot be a mount target: {quoted(value)} would replace everything there", where)
    if ".." in value.split("/"):
        raise Unfit(f"cannot be a mount target: {quoted(value)} climbs out by `..`", where)
    if value.startswith("~") and not value.startswith("~/"):
        raise Unfit(f"cannot be a mount target: {quoted(value)} is another user's home", "use `~/...` or an absolute path")
    return _word(value)


ClusterName = Annotated[
    str,
    AfterValidator(cluster_name),
    Field(json_schema_extra={"pattern": f"^{_CLUSTER.pattern}$"}),
]
TypeName = Annotated[str, _matching(_TYPE, "1 to 63 letters, digits, `.`, `-` or `_` that start with a letter or digit")]
User = Annotated[str, _matching(_USER, "a user name: letters, digits, `.`, `_`, `-`, no dash first")]
Host = Annotated[str, _matching(_HOST, "a host name or IP address")]
HostKey = Annotated[str, _matching(_HOST_KEY, "a fingerprint (`SHA256:...`) or a public key (`ssh-ed25519 AAAA...`)")]
Jumps = Annotated[str, _matching(_JUMPS, "`[user@]host[:port]`, several split by commas")]
EnvName = Annotated[str, _matching(_ENV, "the name of an environment variable: letters, digits and `_`")]
Version = Annotated[str, _matching(_VERSION, "a version such as `2.60.0`")]
MountTarget = Annotated[str, AfterValidator(_mount_target)]
Shell = Annotated[str, AfterValidator(_command)]
Text = Annotated[str, AfterValidator(_text)]
Line = Annotated[str, AfterValidator(_line)]
Word = Annotated[str, AfterValidator(_word)]
LocalPath = Annotated[str, AfterValidator(_word)]
Flag = Annotated[bool, Field(strict=True)]
Int = Annotated[int, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Amount = Annotated[float, Field(strict=True, ge=0)]
Seconds = Annotated[float, Field(strict=True, gt=0)]
