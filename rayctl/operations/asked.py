# SPDX-License-Identifier: Apache-2.0
"""What the load asks of a cluster, each shape by itself, and what it waits for (pure).

Where a scaler is at work, it says what is waited for. Where none is, the planner is asked what it would do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, TypedDict

from rayctl.gcs.view import ClusterView, Demand, Gang
from rayctl.planner.model import Answer, Plan
from rayctl.planner.wording import demand as words_of

UNANSWERED = Answer(0)


class Request(TypedDict):
    """Equal requests: `text` is all of it in words, `why` what they wait for, "" where a scaler says it, or nobody knows.

    `selectors` are in order of preference, each a list of rules (key, values, negated) on a node's labels.
    """

    shape: Mapping[str, float]
    count: int
    selectors: list[Any]
    text: str
    why: str


class GroupRequest(TypedDict):
    """Equal placement groups, `count` of them; each wants all of its `bundles`, which are as `Request` without words."""

    strategy: str
    bundles: list[dict[str, Any]]
    count: int
    text: str
    why: str


class Asked(NamedTuple):
    """Queued work, placement groups without a place, and what `request_resources()` wants the cluster to hold."""

    pending: tuple[Request, ...] = ()
    gangs: tuple[GroupRequest, ...] = ()
    requested: tuple[Request, ...] = ()


def asked(view: ClusterView, plan: Plan | None) -> Asked:
    """All that is asked. `plan` is what the planner would do about it, None where a scaler is at work."""
    answers = Plan() if plan is None else plan
    return Asked(
        tuple(_requests(view.pending, answers.pending)),
        tuple(_groups(view.gangs, answers.gangs)),
        tuple(_requests(view.requested, answers.requested)),
    )


def _requests(demands: Iterable[Demand], answers: Iterable[Answer]) -> Iterator[Request]:
    for demand, answer in _with_answers(demands, answers):
        yield {**_plain(demand), "text": words_of(demand), "why": _why(answer)}  # type: ignore[typeddict-item]


def _groups(gangs: Iterable[Gang], answers: Iterable[Answer]) -> Iterator[GroupRequest]:
    """Equal groups are told once; groups that differ in anything are never told as one."""
    found: dict[tuple[str, ...], tuple[Gang, list[Answer]]] = {}
    for gang, answer in _with_answers(gangs, answers):
        alike = (gang.strategy, *sorted(map(words_of, gang.bundles)))
        found.setdefault(alike, (gang, []))[1].append(answer)
    for gang, answered in found.values():
        text = f"{gang.strategy} of {', '.join(map(words_of, gang.bundles))}"
        yield {
            "strategy": gang.strategy, "bundles": list(map(_plain, gang.bundles)), "count": len(answered), "text": text,
            "why": _why(_sum(answered)),
        }  # fmt: skip


def _with_answers(asked: Iterable[Any], answers: Iterable[Answer]) -> Iterator[tuple[Any, Answer]]:
    given = iter(answers)
    return ((each, next(given, UNANSWERED)) for each in asked)


def _plain(demand: Demand) -> dict[str, Any]:
    selectors = [[vars(rule) for rule in selector] for selector in demand.selectors]
    return {"shape": dict(demand.shape), "count": demand.count, "selectors": selectors}


def _sum(answers: list[Answer]) -> Answer:
    """Several as one, with each reason once."""
    why = "; ".join(dict.fromkeys(answer.why for answer in answers if answer.why))
    counts = {f.name: sum(getattr(answer, f.name) for answer in answers) for f in fields(Answer) if f.name != "why"}
    return Answer(**counts, why=why)


def _why(answer: Answer) -> str:
    machines = answer.launched + answer.held_back
    parts = [
        f"{_counted(answer.here, 'fit')} on nodes that run" if answer.here else "",
        f"{answer.coming} will fit on nodes that are coming" if answer.coming else "",
        f"{_counted(machines, 'need')} more nodes, and no scaler is at work" if machines else "",
        _counted(answer.waiting, "wait") if answer.waiting else "",
        f"{answer.never} can never be placed" if answer.never else "",
    ]
    return ", ".join(filter(None, parts)) + (f": {answer.why}" if answer.unplaced and answer.why else "")


def _counted(count: int, verb: str) -> str:
    return f"{count} {verb}{'s' if count == 1 else ''}"
