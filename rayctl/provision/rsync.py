# SPDX-License-Identifier: Apache-2.0
"""A mount sent by rsync: exactly the entries of our own walk, named one by one, so that digest and transfer cannot disagree.

Nothing is deleted on the node. Times are compared to the nanosecond, or an edit within the second of the last transfer would be
missed. rsync's destination is always `.` or a name in it, and the script in `--rsync-path` goes to the place first, because
how rsync quotes remote paths differs between its versions. `-s` keeps that name from the shell; its long spelling differs too.
"""

from __future__ import annotations

import os
import re

from rayctl.provision import remote
from rayctl.provision.mounts import Entry, Mount
from rayctl.provision.remote import Finished, Remote

MISSING = "rsync is not installed on the node"
UNUSABLE = (MISSING, "is your shell clean")  # the second: what a login shell prints by itself gets in between
_ABSENT = "nothing is there yet"
_OTHER_MODE = "the folder itself has another mode"
_ESCAPED = re.compile(rb"\\#([0-7]{3})")


def send(mount: Mount, node: Remote) -> Finished:
    """Bring the node to what the source holds."""
    steps = [remote.without("rsync", MISSING), *remote.arrive(mount), 'rsync "$@" || exit']
    if remote.is_folder(mount):
        # a list cannot name the folder itself without naming all that is in it
        steps.append(f"{_has_mode(mount)} || chmod 0{mount.mode:04o} .")  # five digits, or GNU chmod keeps a setgid bit
    return remote.run(_command(mount, node, steps), node.env, _names(mount))


def compare(mount: Mount, node: Remote) -> Finished:
    """Find out what `send` would change, and change nothing. Only `differing` understands the answer."""
    steps = [remote.without("rsync", MISSING), *remote.enter(mount, f"{{ echo {_ABSENT} >&2; exit 1; }}")]
    if remote.is_folder(mount):
        steps.append(f"{_has_mode(mount)} || echo {_OTHER_MODE} >&2")
    command = _command(mount, node, [*steps, 'rsync "$@"'], "--dry-run", "--out-format=%i %n")
    return remote.run(command, node.env, _names(mount))


def differing(mount: Mount, finished: Finished) -> dict[Entry, str] | None:
    """What `compare` found: "create" or "update" for each entry that differs; None when it failed."""
    if finished.says(_ABSENT):
        return dict.fromkeys(mount.entries, "create")
    if finished.status:
        return None
    verbs = dict(_itemized(line, single=not remote.is_folder(mount)) for line in finished.output.splitlines())
    if finished.says(_OTHER_MODE):
        verbs[b""] = "update"
    found = ((entry, verbs.get(os.fsencode(entry.relative))) for entry in mount.entries)
    return {entry: verb for entry, verb in found if verb}


def _command(mount: Mount, node: Remote, steps: list[str], *asked: str) -> list[str]:
    source, place = str(mount.source.absolute()), f"{node.host}:."
    shape = ["--dirs", "--no-implied-dirs", "--files-from=-", "--from0"]
    if remote.is_folder(mount):
        source += "/"
    else:
        shape, place = ["--copy-links"], f"{place}/{remote.split(mount.target)[1]}"
    return [
        "rsync", "-lpts", "--specials", "--modify-window=-1", *shape, *asked,
        "--rsh", node.shell, "--rsync-path", remote.script(*steps), source, place,
    ]  # fmt: skip


def _names(mount: Mount) -> bytes:
    """The list of names for `--files-from`; one that began with `#` would be a comment."""
    return b"".join(b"./" + os.fsencode(entry.relative) + b"\0" for entry in mount.entries[1:])


def _has_mode(mount: Mount) -> str:
    return f'[ "$(stat -c %a .)" = {mount.mode:o} ]'


def _itemized(line: bytes, *, single: bool) -> tuple[bytes, str]:
    """The relative name and the verb of a line of `%i %n`, see rsync(1)."""
    flags, _, name = line.partition(b" ")
    plain = b"" if single else _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), name).removesuffix(b"/")
    return plain, _verb(flags)


def _verb(flags: bytes) -> str:
    """No verb where only the time of something without content differs."""
    if flags[2:3] == b"+":
        return "create"
    return "" if flags.startswith(b".") and b"p" not in flags else "update"
