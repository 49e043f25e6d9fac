# SPDX-License-Identifier: Apache-2.0
"""`exec`, `attach` and `submit`: something is run on a node, in a login shell that finds this cluster's Ray and no other."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rayctl.errors import Refused, UsageError
from rayctl.operations import lifetime, windows
from rayctl.operations.joined import gcs_address
from rayctl.operations.machines import the_head
from rayctl.operations.options import RunOptions
from rayctl.operations.select import called
from rayctl.operations.session import Session
from rayctl.providers.base import Node
from rayctl.provision.nodeplan import token_environment
from rayctl.transport.remote import folder_word

SHELL = 'exec "${SHELL:-/bin/bash}"'
FOLDER = "files"  # in a node's own folder: what was submitted


def run(session: Session, command: str, options: RunOptions) -> int:
    """Run a shell command on the head; its own exit code. Raises RayctlError for what is rayctl's own failure."""
    if options.run_env == "docker":
        raise Refused(
            "this rayctl runs no containers, so there is none to run the command in.", hint="Leave --run-env out, or say host."
        )
    if options.ends_cluster:
        lifetime.require_scaler(session)
    environment = ray_environment(session)
    if options.window is None:
        return _run(session, the_head(session), command, environment, options)
    if options.ends_cluster:
        command = lifetime.ending(session, command)
    text = windows.detached(
        options.window, session.name, command, environment, options.screen_options, stays=not options.ends_cluster
    )  # fmt: skip
    return _run(session, the_head(session), text, environment, options)


def on(session: Session, name: str, command: str) -> int:
    """Run a shell command on the node of this name or address; its own exit code."""
    return _run(session, called(session.deployment.nodes, name), command, ray_environment(session), RunOptions())


def attach(session: Session, options: RunOptions, *, node: str = "", new: bool = False) -> int:
    """A shell on the head, or on the node of this name or address; its exit code."""
    if new and options.window is None:
        raise UsageError("--new is for --tmux and --screen: without them every shell is a new one")
    place = called(session.deployment.nodes, node) if node else the_head(session)
    text = windows.attached(options.window, session.name, new=new) if options.window else SHELL
    return _run(session, place, text, ray_environment(session), options)


def submit(session: Session, script: Path, arguments: Sequence[str], options: RunOptions) -> int:
    """Copy a Python script, or a folder with a `__main__.py`, to the head and run it there; arguments arrive as given."""
    if options.ends_cluster:
        lifetime.require_scaler(session)
    if not script.exists():
        raise UsageError(f"{script} is no file", hint="Name a Python script, or a folder with a __main__.py.")
    if script.is_dir() and not (script / "__main__.py").is_file():
        raise UsageError(
            f"{script} has no __main__.py, which is what Python runs of a folder",
            hint=f"Write one, or copy the folder by rsync-up and run a script of it: {session.command('exec', 'python ...')}",
        )
    return run(session, " ".join(["python", _placed(session, script), *map(shlex.quote, arguments)]), options)


def _placed(session: Session, script: Path) -> str:
    """Copy a file or folder into the head's own folder; its place there as a word of the shell.

    What a folder of this name held before and holds no more stays, as with mounts.
    """
    transport = session.transport(the_head(session))
    if not script.is_dir():
        return shlex.quote(transport.put(script))
    from rayctl.provision import delivery  # here, since it is for folders alone
    from rayctl.provision.mounts import Mount

    folder = script.resolve()
    target = f"{transport.connection.state_dir}/{FOLDER}/{folder.name}"
    delivery.deliver(Mount(target, folder), transport)
    return folder_word(target)


def _run(session: Session, node: Node, command: str, environment: dict[str, str], options: RunOptions) -> int:
    return session.transport(node).run(command, environment, options.forwards, options.ends)


def ray_environment(session: Session) -> dict[str, str]:
    """What makes `ray.init(address="auto")` and Ray's own commands take this cluster, whatever else runs on the machine."""
    head = session.deployment.head
    token = token_environment(session.deployment, head) if head else {}
    return {"RAY_ADDRESS": gcs_address(session), **token}
