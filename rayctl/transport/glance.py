# SPDX-License-Identifier: Apache-2.0
"""A look at a host by one `sh` and no Python: who has it, what our node there remembers, which of its processes live.

A start of Python costs a host tens of milliseconds of CPU, this a few. `command` is run there and `parse` reads the answer;
what follows from it is decided by the node's own code.

Each line of the answer begins with the name of its source and a colon, also each line of a file's content: other users write
some of those files, and no content may pass for a line of ours.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rayctl.errors import StateRefused, Unreachable
from rayctl.node import claims, control, launched, lease, processes, ray, scaler_launch, state
from rayctl.node.look import watch_s
from rayctl.node.state import NodeError, NodeState

BEGIN, END = b"\x1erayctl glance", b"\x1erayctl end"
STATE, SCALER = "state.json", "scaler.json"
KEYS = "authorized_keys"
MARKS = re.compile(r"([0-9]+) ([0-9a-f]+) ([0-9]+) (\S+) (\S+)")  # as the `stat` below tells of a file
OWNER = re.compile(r"([0-9]+) /proc/([0-9]+)/stat")
# Set before it: $machine (empty but where the machine has no id of its own), $state_dir, $place, $keys (not empty: tell
# which of rayctl's keys may log in). The pids in the files are the numbers behind "[" and "pid". A hostile file can make
# this slow, within bounds, and nothing else.
SCRIPT = r"""
exec 2>/dev/null
export LC_ALL=C
marks='stat:%u %f %s %U %n'
printf '\n\036rayctl glance\n'
for file in /etc/machine-id /var/lib/dbus/machine-id; do
    [ ${#machine} -eq 32 ] || read -r machine < $file
    case $machine in *[!0-9a-f]*) machine= ;; esac
done
[ ${#machine} -eq 32 ] || machine=
set -- $(stat -c '%u %U' /proc/self/)
me=$1
set -- "$2" $SSH_CONNECTION
printf '%s\n' "machine:$machine" "uid:$me" "user:$1" "port:$5"
[ -z "$keys" ] || (cd ~/.ssh && grep -aH ' rayctl:' authorized_keys)

ours=
if [ -n "$machine" ] && cd "$state_dir"; then
    folder=${machine%????????????????}
    printf '%s\n' "folder:$PWD/$folder"
    names='state.json runner.json claim.json lease.json scaler.json daemon.json supervisor.json'
    set -- $folder
    for file in $names; do set -- "$@" $folder/$file; done
    stat -c "$marks" "$@"
    set --
    for file in $names; do
        [ -f $folder/$file ] && [ ! -L $folder/$file ] && [ ! -L $folder ] && set -- "$@" $folder/$file
    done
    [ $# -eq 0 ] || ours=$(grep -aH '' "$@")
fi

public=
if cd "$place"; then
    set -- rayctl-claim.$me
    for file in rayctl-claim.*; do
        case ${file#rayctl-claim.} in *[!0-9]* | '' | $me) continue ;; esac
        [ $# -lt 200 ] && set -- "$@" $file
    done
    public=$(stat -c "$marks" "$@" | while read -r line; do
        owner=${line#stat:}
        file=rayctl-claim.${owner%% *}
        [ "${line##* }" = $file ] && [ -f $file ] && [ ! -L $file ] || continue
        printf '%s\n' "$line"
        head -c 65537 $file | sed "s/^/$file:/"
        echo
    done)
fi
printf '%s\n' "$ours" "$public"

set -- /proc/uptime /proc/sys/kernel/random/boot_id /proc/sys/kernel/hostname
for pid in $(printf '%s\n' "$ours" "$public" | grep -aoE '(\[|"pid":) *[0-9]+'); do
    pid=${pid##*[!0-9]}
    case " $* " in *" /proc/$pid/stat "*) continue ;; esac
    [ -n "$pid" ] && [ -d /proc/$pid ] && [ $# -lt 300 ] && set -- "$@" /proc/$pid/stat
done
stat -c 'owner:%u %n' "$@"
grep -aH '' "$@"
printf '\036rayctl end\n'
"""


@dataclass(frozen=True)
class Claim:
    """A user's claim on the host, as `node/claims.py` has it; whether it `holds`, and for how long by itself."""

    uid: int
    user: str
    cluster: str
    cluster_id: str
    node: str
    node_kind: str
    type: str
    owner: str
    since: float
    generation: int
    boot_id: str
    expires: float
    processes: tuple[tuple[int, int, str], ...]
    holds: bool
    remaining_s: float


@dataclass(frozen=True)
class Glance:
    """What a host told. `uptime` is in seconds, `uid` and `user` are ours there, `claims` are everybody's.

    `mine` is our own claim, also while it does not hold; the other half of it is `private` (`node/launched.py`). `state`,
    `runner` (only while it lives) and `lease` are what the files in the node's folder say. `refused` tells by file name
    what must not be trusted, and why. `port` is the one at which its sshd listens, 0 where nobody knows. `scaler` is what is
    kept of the scaler that the host has, with `alive`; `keys` are the lines of authorized_keys that let rayctl's keys in,
    none unless they were asked for.
    """

    machine_id: str
    boot_id: str
    uptime: float
    uid: int
    user: str
    hostname: str
    claims: tuple[Claim, ...] = ()
    mine: Claim | None = None
    private: Mapping[str, Any] | None = None
    state: Mapping[str, Any] | None = None
    runner: Mapping[str, Any] | None = None
    lease: Mapping[str, Any] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    started: Mapping[int, int] = field(default_factory=dict)
    port: int = 0
    scaler: Mapping[str, Any] | None = None
    keys: tuple[str, ...] = ()

    def alive(self, pid: int, started: int) -> bool:
        """Whether a process lives. Only those that a file there names were looked at."""
        return self.started.get(pid) == started


def command(state_dir: str, machine: str = "", place: str = claims.PLACE, *, keys: bool = False) -> str:
    """What to run on the host by `/bin/sh -c`. `machine` is for machines that have no id of their own (`machine_of`).

    `keys`: which of rayctl's keys may log in is asked too.
    """
    home, _, rest = state_dir.partition("/")
    folder = f'"$HOME"/{shlex.quote(rest)}' if home == "~" else shlex.quote(state_dir)
    asked = "yes" if keys else ""
    return f"machine={shlex.quote(machine)} place={shlex.quote(place)} state_dir={folder} keys={asked}\n{SCRIPT}"


def machine_of(hostname: str) -> str:
    """The machine id that the node's code takes where the machine has none."""
    return processes.machine_id_of(hostname)


def parse(output: bytes) -> Glance:
    """What the host told. Raises `Unreachable` when its answer is not whole; nothing in it raises."""
    answer = _Answer(output)
    return answer.completed(
        Glance(
            machine_id=answer.text("machine"),
            boot_id=answer.text("/proc/sys/kernel/random/boot_id"),
            uptime=answer.uptime(),
            uid=answer.uid,
            user=answer.text("user"),
            hostname=answer.text("/proc/sys/kernel/hostname"),
            started=answer.started(),
            port=answer.port(),
            keys=answer.keys(),
        )
    )


def seen(glance: Glance, mark: str) -> dict[str, Any]:
    """The same as `node/probe.look` says there; `mark` is `<cluster_id>/<node>`. Raises `StateRefused`."""
    for name in (STATE, control.STATUS):
        if name in glance.refused:
            raise StateRefused(glance.refused[name])
    known = _known(glance, *mark.split("/", 1))
    broken = ray.why_broken(known.ray, glance.boot_id, glance.alive)
    watched_s = watch_s(known.watch, glance.boot_id, glance.alive)
    return {**known.seen(), "broken": broken, "watch_s": watched_s, "runner": glance.runner, "uptime": glance.uptime}


def _known(glance: Glance, cluster_id: str, node: str) -> NodeState:
    return NodeState("", cluster_id, node, glance.machine_id).believe(None if glance.state is None else dict(glance.state))


class _Answer:
    """The lines of an answer, by their source."""

    def __init__(self, output: bytes) -> None:
        self._lines: dict[str, list[bytes]] = {}
        for line in _whole(output):
            source, _, content = line.partition(b":")
            self._lines.setdefault(source.decode("utf-8", "replace"), []).append(content)
        self.uid = int(self.text("uid") or -1)
        self._owners = {int(pid): int(uid) for uid, pid in self._rows("owner", OWNER)}
        self._marks = {
            name: (int(mode, 16), int(uid), int(size), user) for uid, mode, size, user, name in self._rows("stat", MARKS)
        }
        self._folder = self.text("machine")[:16]

    def text(self, source: str) -> str:
        """All that comes from there."""
        return b"\n".join(self._lines.get(source, ())).decode("utf-8", "replace")

    def _rows(self, source: str, form: re.Pattern[str]) -> list[tuple[str, ...]]:
        found = (form.fullmatch(line.decode("utf-8", "replace")) for line in self._lines.get(source, ()))
        return [match.groups() for match in found if match]

    def uptime(self) -> float:
        """Seconds since the host booted."""
        return float(self.text("/proc/uptime").partition(" ")[0] or 0)

    def port(self) -> int:
        """Where sshd listens."""
        text = self.text("port")
        return int(text) if text.isdecimal() and len(text) <= 5 else 0

    def keys(self) -> tuple[str, ...]:
        """Lines of authorized_keys."""
        return tuple(line.decode("utf-8", "replace") for line in self._lines.get(KEYS, ()))

    def started(self) -> dict[int, int]:
        """Start times of the processes that were looked at, by pid."""
        found = (processes.parse(pid, self.text(f"/proc/{pid}/stat")) for pid in self._owners)
        return {process.pid: process.started for process in found if process is not None}

    def completed(self, glance: Glance) -> Glance:
        """With what the files say."""
        refused: dict[str, str] = {}
        documents = {name: self._document(name, refused) for name in (STATE, control.STATUS, launched.FILE)}
        runner = control.parse(documents[control.STATUS])
        told = {
            **vars(glance), "refused": refused, "state": documents[STATE], "private": launched.parse(documents[launched.FILE]),
            "runner": runner if runner and glance.alive(runner["pid"], runner["started"]) else None,
            "lease": self._lease(refused), "scaler": self._scaler(glance, refused),
        }  # fmt: skip
        glance = Glance(**told)
        everybodys = tuple(self._judged(glance, claim) for claim in self._claims(refused))
        mine = next((claim for claim in everybodys if claim.uid == glance.uid), None) or self._unpublished(glance)
        return Glance(**{**told, "claims": everybodys, "mine": mine})

    # ---- the node's own files
    def _document(self, name: str, refused: dict[str, str]) -> dict[str, Any] | None:
        try:
            text = self._own(name)
            return None if text is None else state.document(text, self._path(name))
        except NodeError as problem:
            refused[name] = str(problem)
            return None

    def _scaler(self, glance: Glance, refused: dict[str, str]) -> dict[str, Any] | None:
        record = self._document(SCALER, refused)
        if record is None or record.get("kind") != "scaler":
            return None
        supervised = record.get("service") == "supervisor"
        name = scaler_launch.SUPERVISOR if supervised else scaler_launch.DAEMON
        who = control.parse(self._document(name, refused))
        return {**record, "alive": who is not None and glance.alive(who["pid"], who["started"])}

    def _lease(self, refused: dict[str, str]) -> dict[str, Any] | None:
        try:
            text = self._own(lease.FILE)
            return None if text is None else lease.parse(text, self._path(lease.FILE))
        except NodeError as problem:
            refused[lease.FILE] = str(problem)
            return None

    def _own(self, name: str) -> str | None:
        """The content of a file in the node's folder; None when there is none. Raises `NodeError` as the node does."""
        relative = f"{self._folder}/{name}"
        for path, shown in ((self._folder, self._path("").rstrip("/")), (relative, self._path(name))):
            if path not in self._marks:
                return None
            mode, owner, _, _ = self._marks[path]
            state.check(mode, owner, self.uid, shown)
        return self._utf8(relative)

    def _path(self, name: str) -> str:
        return f"{self.text('folder')}/{name}"

    def _utf8(self, source: str) -> str:
        try:
            return b"\n".join(self._lines.get(source, ())).decode()
        except UnicodeDecodeError:
            return ""

    # ---- everybody's claims
    def _claims(self, refused: dict[str, str]) -> Iterator[claims.Claim]:
        for name, (mode, owner, size, _) in self._marks.items():
            if claims.NAME.fullmatch(name) and claims.counts(mode, owner, size, int(name[len(claims.PREFIX) :])):
                claim = claims.parse(self._claim_document(name, owner, refused), owner)
                if claim is not None:
                    yield claim

    def _claim_document(self, name: str, owner: int, refused: dict[str, str]) -> dict[str, Any] | None:
        text = self._utf8(name)
        try:
            return state.document(text, name) if owner == self.uid else state.decoded(text)
        except NodeError as problem:
            refused[name] = str(problem)
            return None

    def _judged(self, glance: Glance, claim: claims.Claim) -> Claim:
        named = claim if claim.uid != glance.uid else claim._replace(processes=claim.processes + _of_ray(glance, claim))
        return Claim(
            **claim._asdict(),
            user=self._marks.get(f"{claims.PREFIX}{claim.uid}", (0, 0, 0, glance.user))[3],
            holds=claims.holds(named, glance.boot_id, glance.uptime, lambda *process: self._lives(glance, *process)),
            remaining_s=claims.remaining_s(claim, glance.boot_id, glance.uptime),
        )

    def _lives(self, glance: Glance, pid: int, started: int, uid: int) -> bool:
        return glance.alive(pid, started) and self._owners.get(pid) == uid

    def _unpublished(self, glance: Glance) -> Claim | None:
        """Our claim where a cleaner took its public half away, while the node's Ray runs."""
        if glance.private is None:
            return None
        claim = self._judged(glance, launched.published(glance.private, glance.uid)._replace(boot_id=glance.boot_id))
        return claim if claim.holds else None


def _of_ray(glance: Glance, claim: claims.Claim) -> tuple[tuple[int, int, str], ...]:
    """The processes of our node's Ray as its state names them."""
    known = _known(glance, claim.cluster_id, claim.node).ray
    if known is None or known["boot_id"] != claim.boot_id:
        return ()
    return tuple((pid, started, name) for pid, started, name in known["processes"])


def _whole(output: bytes) -> list[bytes]:
    """The lines between the marks; what a login shell prints around them is left out."""
    lines = output.split(b"\n")
    try:
        begin = lines.index(BEGIN)
        return lines[begin + 1 : lines.index(END, begin)]
    except ValueError:
        raise Unreachable("the host's answer broke off") from None
