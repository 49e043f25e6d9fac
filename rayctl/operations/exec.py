# SPDX-License-Identifier: Apache-2.0
"""`exec` and `submit`: run something on the head, in a login shell that finds this cluster's Ray and no other."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rayctl.errors import RayctlError, UsageError
from rayctl.operations.joined import gcs_address
from rayctl.operations.machines import require_head
from rayctl.operations.session import Session
from rayctl.provision.nodeplan import token_environment


def run(session: Session, command: str) -> int:
    """Run a shell command on the head with our stdin and output; its own exit code."""
    head = session.deployment.head
    if head is None:
        require_head(session.provider)
        raise RayctlError(
            f"the cluster {session.name} is not up, so there is nowhere to run this",
            hint=f"Bring it up: {session.command('up')}",
        )
    return session.transport(head).run(command, ray_environment(session))


def ray_environment(session: Session) -> dict[str, str]:
    """What makes `ray.init(address="auto")` and Ray's own commands take this cluster, whatever else runs on the machine."""
    head = session.deployment.head
    token = token_environment(session.deployment, head) if head else {}
    return {"RAY_ADDRESS": gcs_address(session), **token}


def submit(session: Session, script: Path, arguments: Sequence[str]) -> int:
    """Copy a Python script to the head and run it there; arguments arrive exactly as given."""
    if not script.is_file():
        raise UsageError(f"{script} is no file", hint="Name a Python script.")
    head = session.deployment.head
    place = session.transport(head).put(script) if head else str(script)
    return run(session, shlex.join(["python", place, *arguments]))
