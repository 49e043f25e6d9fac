# SPDX-License-Identifier: Apache-2.0
"""A node's shell, as mounts use it: how it is reached, how a mount's place is spelled there, what it answered.

Targets reach the remote shell only through `shlex.quote`, inside of one script for `/bin/sh`, so that it matters neither what
is in them nor which shell the user has. What a script of ours refuses it says in a line that begins with `SAYS`.
"""

from __future__ import annotations

import os
import posixpath
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from rayctl.errors import RayctlError
from rayctl.provision.mounts import Mount

SAYS = "rayctl: "
TAIL = 5  # lines
LOOK_S, LAST = 0.5, 512  # bytes
Watch = Callable[[str], None]
_NOISE = ("rsync error:", "rsync: connection unexpectedly closed", "rsync: [sender] write error", "tar: Exiting with failure")


@dataclass(frozen=True)
class Remote:
    """A way to a node's shell: a process `argv + (command,)` in the environment `env` runs the command there.

    The last word of `argv` is the host, all before it what a remote shell is (`ssh` and its options).
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]

    @property
    def shell(self) -> str:
        """All but the host, for `rsync -e`; rsync splits it again."""
        return shlex.join(self.argv[:-1])

    @property
    def host(self) -> str:
        """The host as rsync wants it before a colon."""
        return f"[{self.argv[-1]}]" if ":" in self.argv[-1] else self.argv[-1]


@dataclass(frozen=True)
class Finished:
    """A process that has ended. `errors` are its last lines for people, without what follows from them."""

    status: int
    output: bytes
    errors: tuple[str, ...]

    def says(self, word: str) -> bool:
        """Whether one of the error lines holds the word."""
        return any(word in line for line in self.errors)


def run(argv: Sequence[str], env: Mapping[str, str], text: bytes = b"", watch: Watch | None = None) -> Finished:
    """Run to the end. It has no time-out: ssh ends when its line is dead, and data that flows may take its time.

    All three ends are files, so that no amount of them blocks and a connection that stays open behind is not waited for.
    `watch` is told now and then what was printed last.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        given.write(text)
        given.seek(0)
        with subprocess.Popen(argv, env=plain(env), stdin=given, stdout=output, stderr=errors) as process:
            try:
                status = _watched(process, output, watch) if watch else process.wait()
            except BaseException:
                process.kill()  # or the block would wait for it
                raise
        output.seek(0)
        return Finished(status, output.read(), told(errors))


def _watched(process: subprocess.Popen[bytes], output: IO[bytes], watch: Watch) -> int:
    while True:
        try:
            return process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            size = os.fstat(output.fileno()).st_size
            watch(os.pread(output.fileno(), LAST, max(0, size - LAST)).decode(errors="replace"))


def plain(env: Mapping[str, str]) -> dict[str, str]:
    """The environment, with messages and escapes of names as they are documented."""
    return {**env, "LC_ALL": "C"}


def told(errors: IO[bytes]) -> tuple[str, ...]:
    """The lines that tell what went wrong: our own scripts' alone if there are any, else the last ones."""
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    ours = [line.removeprefix(SAYS) for line in lines if line.startswith(SAYS)]
    causes = [line for line in lines if not line.startswith(_NOISE)]
    return tuple((ours or causes or lines)[-TAIL:])


def failure(mount: Mount, what: str, finished: Finished) -> RayctlError:
    """The error of a mount that did not get there."""
    why = " | ".join(finished.errors) or f"exit status {finished.status}, no output"
    return RayctlError(
        f"the file mount {mount.target} could not be {what}: {why}",
        hint="Look at the target on the node: its owner, free space, and what else lies there; then run the command again.",
    )


# ---- scripts for the node's shell
def script(*lines: str) -> str:
    """One shell word sequence that runs these lines by /bin/sh, whatever shell the user has; words after it are its "$@"."""
    return f"/bin/sh -c {shlex.quote('; '.join(lines))} rayctl"


def is_folder(mount: Mount) -> bool:
    """Whether the mount's source is a folder; a single file otherwise."""
    return stat.S_ISDIR(mount.entries[0].info.st_mode)


def split(path: str) -> tuple[str, str]:
    """A file's folder on the node, as shell words, and its name in there."""
    folder, name = posixpath.split(path.rstrip("/"))
    return words(folder or "~"), name


def words(path: str) -> str:
    """The path on the node, as shell words: `~/x` and relative paths lie below the home folder."""
    below = path.removeprefix("~").strip("/") if path.startswith("~") else path.rstrip("/")
    if path.startswith("/"):
        return shlex.quote(below or "/")
    return '"${HOME:?}"/' + shlex.quote(below) if below else '"${HOME:?}"'


def refuse(condition: str, message: str) -> str:
    """A line that ends the script with a message if the condition holds."""
    return f"if {condition}; then printf '%s\\n' {shlex.quote(SAYS + message)} >&2; exit 1; fi"


def without(program: str, message: str) -> str:
    """A line that ends the script with a message where a program is not installed."""
    return refuse(f"! command -v {program} >/dev/null", message)


def arrive(mount: Mount) -> list[str]:
    """Lines that make the folder a mount is to be unpacked in, and go there."""
    if is_folder(mount):
        return [*enter(mount, f"mkdir -p {words(mount.target)}"), "[ -w . ] || chmod u+rwx . || exit 1"]
    return enter(mount, f"mkdir -p {split(mount.target)[0]}")


def enter(mount: Mount, or_else: str) -> list[str]:
    """Lines that go to the folder a mount is unpacked in; where there is none, `or_else` comes first."""
    place = words(mount.target)
    if is_folder(mount):
        wrong = refuse(f"[ -e {place} ] && [ ! -d {place} ]", f"a file is in the place of a folder: {mount.target}")
        return [wrong, f"[ -d {place} ] || {or_else} || exit 1", f"cd {place} || exit 1"]
    folder, _ = split(mount.target)
    wrong = refuse(f"[ -d {place} ]", f"a folder is in the place of a file: {mount.target}")
    return [wrong, f"[ -d {folder} ] || {or_else} || exit 1", f"cd {folder} || exit 1"]
