# SPDX-License-Identifier: Apache-2.0
"""What one may want to do with a cluster that is up, as command lines that can be pasted into a shell."""

from __future__ import annotations

import shlex

from rayctl.operations.options import Command
from rayctl.operations.scaling import handover
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts
from rayctl.state import paths
from rayctl.transport import sshconfig


def commands(session: Session) -> tuple[tuple[Command, ...], ...]:
    """In groups: rayctl's own commands, and those by which a person gets there without rayctl."""
    scaled = session.config.scaler_runs_on == "controller" and not handover.lives(session)
    ours = (
        (session.command("exec", "ray status"), "run a command on the head"),
        (session.command("submit", "script.py"), "run a Python script there; ray.init() finds the cluster"),
        (session.command("status"), "see nodes and load"),
        *([(session.command("scaler"), "let it grow and shrink with its work")] if scaled else []),
        (session.command("down"), "end it"),
    )
    by_hand = _logging_in(session)
    return (ours, by_hand) if by_hand else (ours,)


def _logging_in(session: Session) -> tuple[Command, ...]:
    """How a person gets to Ray on a host without rayctl: the host may have other users with a Ray of theirs."""
    head = session.deployment.head
    if not isinstance(session.provider, DeclaresHosts) or head is None:
        return ()
    connection = session.provider.connection(head)
    config = paths.cluster_dir(session.root, session.name) / sshconfig.NAME
    return (
        (shlex.join(["ssh", "-F", str(config), connection.address]), "log in on the head"),
        (f". {connection.state_dir}/env", "there: now ray's own commands and ray.init() find this cluster"),
    )
