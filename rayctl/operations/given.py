# SPDX-License-Identifier: Apache-2.0
"""What a program gives: a configuration as a file, a cluster's name or a mapping with a file's keys; who hears what happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rayctl.events import Event, Sink
from rayctl.operations.options import Listeners

FROM_PYTHON = "from-python.yaml"  # in the cluster's folder on this controller


def file_of(config: Mapping[str, Any] | str | Path) -> Path:
    """The file of a configuration. A mapping is stored beside what else is remembered of its cluster: plays read it there."""
    if not isinstance(config, Mapping):
        return Path(config)
    import yaml

    from rayctl.state import paths, private

    folder = private.private_dir(paths.cluster_dir(paths.home(os.environ), str(config.get("cluster_name", "default"))))
    private.store(folder / FROM_PYTHON, yaml.safe_dump(_absolute(config)).encode())
    return folder / FROM_PYTHON


def _absolute(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same with local paths that do not depend on the current folder."""
    from rayctl.config.load import expand_local

    found, here = dict(config), Path.cwd()
    if isinstance(mounts := config.get("file_mounts"), Mapping):
        found["file_mounts"] = {target: str(expand_local(str(source), here)) for target, source in mounts.items()}
    return found


class _Hearer(Sink):
    """Hands events to a function."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell

    def write(self, event: Event) -> None:
        """See `Sink`."""
        self._tell(event)


def listeners_of(operation: str, on_event: Callable[[Event], None] | Listeners | None) -> Listeners:
    """Who hears of an operation. Where nobody does, no log is kept."""
    if on_event is None:
        return Listeners(logged=False)
    if isinstance(on_event, Listeners):
        return on_event
    return Listeners([_Hearer(on_event)], text=f"rayctl.api: {operation}")
