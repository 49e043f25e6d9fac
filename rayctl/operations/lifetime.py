# SPDX-License-Identifier: Apache-2.0
"""Clusters that live for one command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rayctl.errors import Refused, UsageError


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
