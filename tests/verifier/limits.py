# SPDX-License-Identifier: Apache-2.0
"""min_workers, max_workers, upscaling_speed, and types that failed."""

from __future__ import annotations

import math
from collections import Counter

from rayctl.planner.model import Cause, Status

from .case import Case, Found
from .launches import causes_of

LEAST_UPSCALING = 5


def limits_are_kept(case: Case) -> Found:
    """Nothing is launched beyond max_workers, nor held back to be launched there; draining workers count still."""
    for name, count in case.new.items():
        most = case.types[name].max_workers if name in case.types else 0
        if count > 0 and name in case.types and case.alive[name] + count > most:
            yield f"{case.alive[name]} workers of {name} and {count} new ones are more than its max_workers {most}"
    new = sum(case.new.values())
    if new > 0 and len(case.workers) + new > case.policy.max_workers:
        yield f"{len(case.workers)} workers and {new} new ones are more than max_workers {case.policy.max_workers}"


def setbacks_are_waited_for(case: Case) -> Found:
    for name, count in case.new.items():
        if count > 0 and failed(case, name):
            yield f"{count} of {name} are to be launched, which failed and is to be left alone"


def failed(case: Case, name: str) -> bool:
    """Whether the type is not to be tried now."""
    setback = case.snapshot.setbacks.get(name)
    return setback is not None and setback.retry_in_s > 0


def upscaling_speed_is_kept(case: Case) -> Found:
    """Queued work launches no more than upscaling_speed allows; only what it does not allow is held back."""
    for name, count in case.new.items():
        pending = [node for node in case.snapshot.nodes if node.type == name and node.status is Status.PENDING]
        staying = sum(node.id not in case.removed for node in pending)
        most, demanded = upscaling_limit(case, name), causes_of(case, name)[Cause.DEMAND]
        if demanded > 0 and staying + demanded > most:
            yield f"{demanded} of {name} are launched for queued work, {staying} are pending: upscaling_speed allows {most}"
        if count > case.launched[name] and len(pending) + case.launched[name] < most:
            yield f"{count - case.launched[name]} of {name} are held back, and upscaling_speed allows {most} at a time"


def upscaling_limit(case: Case, name: str) -> int:
    """How many machines of a type may be pending at once."""
    joined = sum(node.type == name and node.status in (Status.RUNNING, Status.IDLE) for node in case.snapshot.nodes)
    return max(LEAST_UPSCALING, math.ceil(min(case.policy.upscaling_speed * max(joined, 1), 1e15)))


def minimum_is_launched(case: Case) -> Found:
    """Each type has its min_workers after the plan, unless its limits or a setback forbid."""
    for name, kind in case.types.items():
        after = case.staying(name) + case.launched[name]
        full = case.alive[name] + case.launched[name] >= kind.max_workers
        if after < kind.min_workers and not full and not failed(case, name) and not minimums_fill_the_cluster(case):
            yield f"{name} has {after} workers after the plan, and its min_workers is {kind.min_workers}"


def minimums_fill_the_cluster(case: Case) -> bool:
    """Whether the cluster is at its max_workers, and with no machine that is launched for anything but a minimum."""
    causes = sum((causes_of(case, name) for name in case.launched), Counter())
    others = causes.total() - causes[Cause.MINIMUM]
    return len(case.workers) + sum(case.launched.values()) >= case.policy.max_workers and not others


def may_be_launched(case: Case, name: str) -> bool:
    """Whether there may be one more machine of the type beside all that are new."""
    room_in_type = case.alive[name] + case.new[name] < case.types[name].max_workers
    room_in_cluster = len(case.workers) + sum(case.new.values()) < case.policy.max_workers
    return room_in_type and room_in_cluster and not failed(case, name)
