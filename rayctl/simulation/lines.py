# SPDX-License-Identifier: Apache-2.0
"""The lines of a demand trace as they are written: models that judge values, and the events that they stand for."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator

from rayctl.config.model import Block
from rayctl.config.words import Amount, Flag, Line, Unfit, Word, seen
from rayctl.gcs.view import Demand, LabelRule
from rayctl.simulation.events import Event, Group, Load, Request, Span, Submit

EVENTS = ("submit", "gang", "request", "load")
MOST_UNITS = 5_000_000


def _span(value: object) -> Span:
    """Seconds: a number, or the least and the most."""
    both = value if isinstance(value, list | tuple) else (value, value)
    if len(both) == 2 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in both):
        least, most = map(float, both)
        if 0 <= least <= most < float("inf"):
            return least, most
    told = seen(value) if not isinstance(value, list) else json.dumps(value)
    raise Unfit(f"must be seconds, or two of them as [least, most], not {told}")


def _something(shape: dict[str, float]) -> dict[str, float]:
    if not any(shape.values()):
        raise Unfit("names no resource above zero", 'for example {"CPU": 1}')
    return shape


def _not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise Unfit("is empty", 'for example [{"shape": {"CPU": 1}}]')
    return items


_Shape = Annotated[dict[Word, Amount], AfterValidator(_something)]
_Several = Annotated[int, Field(strict=True, ge=1, le=MOST_UNITS)]
_Span = Annotated[Span, PlainValidator(_span)]


class _Rule(Block):
    key: Word = Field(description="The label's key.")
    values: tuple[Line, ...] = Field(description="The values of which the label must have one.")
    negated: Flag = False


class _Demand(Block):
    shape: _Shape = Field(description='What one of it needs, for example {"CPU": 1}.')
    count: _Several = 1
    selectors: tuple[tuple[_Rule, ...], ...] = ()

    def demand(self) -> Demand:
        """As the rest of rayctl knows it."""
        rules = (tuple(LabelRule(r.key, r.values, r.negated) for r in selector) for selector in self.selectors)
        return Demand(self.shape, self.count, tuple(rules))


class _Submit(_Demand):
    runs_s: _Span = Field(description="For how many seconds each runs: a number, or [least, most].")


class _Gang(Block):
    strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = Field(description="How bundles lie on nodes.")
    bundles: Annotated[tuple[_Demand, ...], AfterValidator(_not_empty)] = Field(description="What it is made of.")
    runs_s: _Span = Field(description="For how many seconds it is held: a number, or [least, most].")


class EventLine(Block):
    """A line: when, and what."""

    at: Amount = Field(description="Seconds from the beginning.")
    submit: _Submit | None = None
    gang: _Gang | None = None
    request: tuple[_Demand, ...] | None = None
    load: tuple[_Demand, ...] | None = None

    def event(self) -> Event | None:
        """The one thing that happens; None where it is none, or more than one."""
        if sum(getattr(self, name) is not None for name in EVENTS) != 1:
            return None
        if self.submit:
            return Submit(self.at, self.submit.demand(), self.submit.runs_s)
        if self.gang:
            return Group(self.at, self.gang.strategy, _demands(self.gang.bundles), self.gang.runs_s)
        return Load(self.at, _demands(self.load)) if self.load is not None else Request(self.at, _demands(self.request or ()))


def _demands(asked: tuple[_Demand, ...]) -> tuple[Demand, ...]:
    return tuple(one.demand() for one in asked)
