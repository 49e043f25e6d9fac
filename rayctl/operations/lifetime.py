# SPDX-License-Identifier: Apache-2.0
"""Clusters that live for one command: ended by whoever waits for it, or by the scaler when nobody does.

A command in a tmux or screen leaves a file in the head's own folder when it is over. The scaler, which knows from another file
on its controller that there is something to wait for, takes the cluster down then.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rayctl.errors import RayctlError, Refused, UsageError
from rayctl.operations.machines import the_head
from rayctl.operations.scaling import handover
from rayctl.operations.session import Session
from rayctl.provision.headscaler import service
from rayctl.state import files, paths
from rayctl.transport.remote import folder_word

OVER = "over"
KIND, VERSION = "ends-when-over", 1


@contextmanager
def ended_afterwards(end: Callable[[], object]) -> Iterator[None]:
    """End the cluster when the block is left, but where it was left because nothing could be run at all."""
    try:
        yield
    except (UsageError, Refused):
        raise
    except BaseException:
        end()
        raise
    end()


def over_file(session: Session) -> str:
    """What a command leaves on the head when it is over, as a word of the shell there."""
    return folder_word(f"{session.transport(the_head(session)).connection.state_dir}/{OVER}")


def require_scaler(session: Session) -> None:
    """Raise `Refused` where nobody would be there to end the cluster when a command is over that nobody waits for."""
    if not handover.lives(session) and not handover.lives_on_head(session):
        start = session.command("up" if session.config.scaler_runs_on == "head" else "scaler")
        raise Refused(
            "--stop cannot wait for a command in a tmux or screen: nobody is there to end the cluster after it.",
            hint=f"Let a scaler run ({start}), or leave --tmux and --screen out.",
        )


def ending(session: Session, command: str) -> str:
    """The command, after which the scaler takes the cluster down, however it ends."""
    _let_it_wait(session)
    over = over_file(session)
    # a shell of its own: neither `exit` nor an unclosed quote in the command keeps the rest from being run
    return f"bash -c {shlex.quote(command)}; : > {over}"


def _let_it_wait(session: Session) -> None:
    """Tell the scaler, where it is, that a command will be over; an earlier one's end counts no more. Raises RayctlError."""
    transport, here = session.transport(the_head(session)), handover.lives(session)
    script = f"rm -f {over_file(session)}"
    if not here:
        file = f"{service.home(transport.connection.state_dir)}/{paths.scaler_awaits(Path(), session.name)}"
        document = shlex.quote(files.encoded(KIND, VERSION, {}).decode())
        script += f" && umask 077 && printf %s {document} > {folder_word(file)}"
    if transport.run(f"sh -c {shlex.quote(script)}", {}):
        raise RayctlError(f"the scaler cannot be told on {transport.connection.name} that it is to wait for a command.")
    if here:
        files.write(paths.scaler_awaits(session.root, session.name), KIND, VERSION, {})


def is_over(session: Session) -> bool:
    """Whether a command that ends the cluster was started and is over. Raises RayctlError where the head cannot be asked."""
    if not paths.scaler_awaits(session.root, session.name).exists():
        return False
    return session.transport(the_head(session)).run(f"test -e {over_file(session)}", {}) == 0


def forget(session: Session) -> None:
    """Nothing is waited for any more."""
    paths.scaler_awaits(session.root, session.name).unlink(missing_ok=True)
