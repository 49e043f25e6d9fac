# SPDX-License-Identifier: Apache-2.0
"""What is asked of a cluster in the course of time, as plain data; `trace` reads it from a file, `workload` lives it."""

from __future__ import annotations

from dataclasses import dataclass

from rayctl.gcs.view import Demand

Span = tuple[float, float]
"""The least and the most seconds that something takes."""


@dataclass(frozen=True)
class Submit:
    """Tasks that come at once; each runs for a time within `runs_s` once it has started."""

    at: float
    demand: Demand
    runs_s: Span


@dataclass(frozen=True)
class Group:
    """A placement group; it is held for `runs_s` once all its bundles have a place."""

    at: float
    strategy: str
    bundles: tuple[Demand, ...]
    runs_s: Span


@dataclass(frozen=True)
class Request:
    """`request_resources()`: what the cluster is to hold in total from now on. It replaces the former one."""

    at: float
    demands: tuple[Demand, ...]


@dataclass(frozen=True)
class Load:
    """A level: from now on exactly so much of this work exists, running or waiting, and no other work by level."""

    at: float
    demands: tuple[Demand, ...]


Event = Submit | Group | Request | Load


@dataclass(frozen=True)
class Trace:
    """What is asked of a cluster, in the order of time. `source` is the file's path."""

    source: str
    events: tuple[Event, ...] = ()
