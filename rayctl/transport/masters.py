# SPDX-License-Identifier: Apache-2.0
"""The ssh that is there, and its masters: connections that stay open, on which all further commands to a host ride.

A key exchange costs both sides up to half a second of CPU, a command over a master some milliseconds. Masters live in the
background for ten minutes after their last use and listen on sockets in a private folder; ssh opens them by itself.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

from rayctl.errors import RayctlError, Refused
from rayctl.state.private import private_dir
from rayctl.transport.local import caller_environment

LONGEST = 107 - 17 - len("/01234567-") - 40  # of a folder: a socket's path, ssh's temporary suffix to it, prefix and hash
TELL_S = 1.0  # a master answers within milliseconds, whatever becomes of its connection


def environment() -> dict[str, str]:
    """What ssh is started with: the caller's own environment, by which it finds the agent. No window asks for a password.

    BatchMode would see to that, but the ssh of a ProxyJump is not told of it.
    """
    return {**caller_environment(), "SSH_ASKPASS_REQUIRE": "never"}


def program() -> str:
    """The path of ssh. Raises RayctlError where there is none."""
    if found := shutil.which("ssh", path=environment().get("PATH")):
        return found
    raise RayctlError("there is no `ssh` on this machine", hint="Install OpenSSH's client (package openssh-client).")


@cache
def version(ssh: str) -> tuple[int, ...]:
    """OpenSSH's release, for example (9, 2); empty for another ssh."""
    done = subprocess.run([ssh, "-V"], capture_output=True, text=True, check=False)
    found = re.match(r"OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)", done.stderr)
    return tuple(map(int, found.groups())) if found else ()


def require(release: tuple[int, int], purpose: str) -> None:
    """Raise `Refused` when ssh is older."""
    ssh = program()
    if version(ssh) < release:
        wanted = ".".join(map(str, release))
        raise Refused(
            f"{ssh} is too old {purpose}: that needs OpenSSH {wanted} or newer; nothing was touched.",
            hint="Give the host's public key instead of its fingerprint, or install a newer OpenSSH.",
        )


def folder() -> Path:
    """Where masters listen: ours alone, and short, since a socket's path has at most 107 bytes."""
    own = Path(environment().get("XDG_RUNTIME_DIR", "")) / "rayctl"
    fits = own.is_absolute() and len(os.fsencode(own)) <= LONGEST and own.parent.is_dir()
    return private_dir(own if fits else Path(f"/tmp/rayctl-{os.geteuid()}"))  # noqa: S108  refused when it is another's


def sockets(prefix: str) -> list[Path]:
    """Where masters listen, or did before they were killed, whose sockets' names begin so."""
    return list(folder().glob(f"{prefix}-*"))


def tell(order: str, socket: Path) -> bool:
    """Give a master an order (check, stop, exit); whether it took it. None answers at a socket that a killed one left."""
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [program(), "-F", "none", "-S", str(socket), "-O", order, "any"], env=environment(), stdin=subprocess.DEVNULL,
            capture_output=True, timeout=TELL_S, check=False,
        )  # fmt: skip
        return done.returncode == 0
    return False


def there(prefix: str) -> bool:
    """Whether there is a master that lives."""
    return any(tell("check", socket) for socket in sockets(prefix))


def stop(prefix: str) -> bool:
    """Let masters take nothing more, so that the next ssh opens another; whether there was one. What is under way goes on."""
    found = sockets(prefix)
    for socket in found:
        tell("stop", socket)
        socket.unlink(missing_ok=True)  # also that of one which does not answer
    return bool(found)


def close(prefix: str) -> None:
    """End masters with all that is under way on them, and remove what killed ones left."""
    for socket in sockets(prefix):
        tell("exit", socket)
        socket.unlink(missing_ok=True)
