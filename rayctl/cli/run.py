# SPDX-License-Identifier: Apache-2.0
"""`exec` and `submit`: the remote exit code comes back; rayctl's own failures are 125, as docker's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayctl.cli.common import cluster_file, cluster_name, operation
from rayctl.errors import RayctlError

if TYPE_CHECKING:
    from rayctl.operations.session import Session

OWN_FAILURE = 125


@click.command("exec")
@cluster_file
@click.argument("command")
@cluster_name
def exec_(cluster_file: Path, command: str, cluster_name: str | None) -> int:
    """Run a shell command on the head, in a login shell where `ray.init()` and `ray status` find this cluster.

    \b
    Example: rayctl exec cluster.yaml 'ray status'
    """
    from rayctl.operations import exec as operations

    return _code(cluster_file, cluster_name, "exec", lambda session: operations.run(session, command))


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@cluster_file
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@cluster_name
def submit(cluster_file: Path, script: Path, arguments: tuple[str, ...], cluster_name: str | None) -> int:
    """Copy a Python script to the head and run it there. Arguments arrive exactly as given.

    \b
    Example: rayctl submit cluster.yaml train.py --epochs 3 --name 'a b'
    """
    from rayctl.operations import exec as operations

    given = arguments[1:] if arguments[:1] == ("--",) else arguments
    return _code(cluster_file, cluster_name, "submit", lambda session: operations.submit(session, script, given))


def _code(path: Path, name: str | None, operation_name: str, act: Callable[[Session], int]) -> int:
    from rayctl.cli.report import explain

    try:
        with operation(operation_name, path, {"cluster_name": name}, quiet=True) as session:
            return act(session)
    except RayctlError as e:
        explain(e)
        return OWN_FAILURE


COMMANDS = (exec_, submit)
