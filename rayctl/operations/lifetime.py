# SPDX-License-Identifier: Apache-2.0
"""Clusters that live for one command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rayctl.errors import Refused, UsageError
from rayctl.operations.windows import Window


def require_end(window: Window | None) -> None:
    """Raise `Refused` where nobody would be there to end the cluster when the command is done."""
    if window:
        raise Refused(
            f"--stop cannot wait for a command in a {window}: nobody is there to end the cluster after it.",
            hint=f"Leave --{window} out, or end the cluster yourself when it is done: rayctl down.",
        )


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
