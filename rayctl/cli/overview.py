# SPDX-License-Identifier: Apache-2.0
"""The page that `status` shows: a cluster of any size at a glance, then what failed, what waits, and the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from rayctl.cli.columns import Cell, columns
from rayctl.cli.common import ago
from rayctl.cli.nodelist import STYLES, NodeList, clean, needs_attention, severity, used_of
from rayctl.events.wording import named
from rayctl.operations import census

if TYPE_CHECKING:
    from rayctl.operations.asked import GroupRequest, Request
    from rayctl.operations.census import TypeCount
    from rayctl.operations.status import ClusterStatus
    from rayctl.reconcile.told import FailureTold

FEW = 20  # so many nodes are named one by one
ALWAYS = (census.RUNNING, census.IDLE, census.PENDING, census.DRAINING, census.FAILED)


@dataclass(frozen=True)
class Page:
    """One look at a cluster, `width` columns wide. `whole`: every node is named; else of what is long, the first `most`."""

    seen: ClusterStatus
    width: int
    probe: bool = False
    whole: bool = False
    most: int = FEW

    @property
    def tight(self) -> bool:
        """Whether lines are few, as in a window."""
        return self.most < FEW

    def lines(self) -> list[Text]:
        """All of it. A line may be wider than the page where nothing can be left out; then the terminal breaks it."""
        if not self.seen.nodes and self.seen.scaler_at_work is None:
            return [*self._heading()]
        return [
            *self._heading(), *self._scaler(), *self._types(), *self._failures(), *self._asked(), *self._nodes(),
            *self._unverified(),
        ]  # fmt: skip

    # ---- at a glance
    def _heading(self) -> Iterator[Text]:
        seen = self.seen
        ray = f"Ray {seen.ray_version} at {seen.address}" if seen.ray_version else seen.note
        yield Text(f"{seen.cluster} ({seen.provider}): {ray}")
        if seen.nodes:
            nodes = sum(bool(node.counts_as) for node in seen.nodes)
            joined = sum(node.ray not in ("not joined", "unknown") for node in seen.nodes)
            plural = "" if seen.workers_wanted == 1 else "s"
            wanted = f"the file asks for {seen.workers_wanted} worker{plural} at least"
            yield Text(f"{joined} of {nodes} nodes joined; {wanted}")

    def _scaler(self) -> Iterator[Text]:
        scaler, note = self.seen.scaler, self.seen.scaler_note
        if scaler is None:
            yield from [Text(f"scaler: {note}")] if note else []
            return
        coming = ", ".join(f"{count} {name}" for name, count in sorted(scaler.launching.items()) if count)
        launching = f"; launches {coming}" if coming else ""
        yield Text(f"scaler: {note or f'turn {scaler.turn}, {ago(self._since(scaler.at))} ago{launching}'}")
        if scaler.problem:
            yield Text(f"  {'last word' if note else 'problem'}: {clean(scaler.problem)}", style="red")
        if scaler.breaker and not note:
            yield Text(f"  nothing is ended: {clean(scaler.breaker)}", style="yellow")

    def _types(self) -> list[Text]:
        """One table, or its two halves under each other, or a line for each type, whatever fits."""
        types = list(self.seen.types)
        rows = [*types, census.total(types)] if len(types) > 1 else types
        states = [state for state in census.STATES if state in ALWAYS or any(count.states[state] for count in types)]
        left: list[list[Cell]] = [["TYPE", "NODES", *(state.upper() for state in states)]]
        left += [[row.type, str(row.nodes), *(_number(row, state) for state in states)] for row in rows]
        right = [["USED"], *([used_of(row) or "-"] for row in rows)]
        numbers = range(1, 2 + len(states))
        if not rows:
            return []
        if found := columns([[*one, *other] for one, other in zip(left, right, strict=True)], self.width, right=numbers):
            return found
        names = [[row[0], *used] for row, used in zip(left, right, strict=True)]
        names = [names[0], names[-1]] if self.tight else names
        upper, lower = columns(left, self.width, right=numbers), columns(names, self.width)
        return [*upper, *lower] if upper and lower else [line for row in rows for line in _in_words(row)]

    # ---- what failed, what waits
    def _failures(self) -> Iterator[Text]:
        if (scaler := self.seen.scaler_at_work) is None:
            return
        alike: dict[tuple[str, str], list[FailureTold]] = {}
        for failure in sorted(scaler.failures, key=lambda failure: -failure.at):
            alike.setdefault((failure.type, failure.reason), []).append(failure)
        yield from self._some(map(self._failed, alike.values()))
        yield from self._some([self._quarantined(*held)] for held in scaler.quarantined)

    def _failed(self, alike: Sequence[FailureTold]) -> list[Text]:
        last = alike[0]
        names = named([failure.node for failure in alike if failure.node])
        many = f"{len(alike)} {last.type}{f' ({names})' if names else ''}"
        lines = [Text(f"failed: {many}, {ago(self._since(last.at))} ago: {clean(last.reason)}", style="red")]
        retry = max(failure.retry_at for failure in alike)
        again = f"next try in {ago(-self._since(retry))}" if retry > self.seen.at else "next try now" if retry else ""
        more = "; ".join(filter(None, [again, f"log {last.log}" if last.log else ""]))
        return [*lines, Text(f"  {more}")] if more else lines

    def _quarantined(self, host: str, reason: str, until: float) -> Text:
        return Text(f"quarantined: {host}, for {ago(max(0.0, -self._since(until)))} more: {clean(reason)}", style="yellow")

    def _asked(self) -> Iterator[Text]:
        seen, scaler = self.seen, self.seen.scaler_at_work
        yield from self._some(map(_request, seen.pending))
        yield from self._some(map(_group, seen.gangs))
        yield from self._some(map(_wanted, seen.requested))
        if scaler is not None:
            yield from self._some([Text(f"why: {clean(text)}")] for text in scaler.waiting)
            yield from self._some([Text(f"never: {clean(text)}", style="red")] for text in scaler.infeasible)

    # ---- nodes
    def _nodes(self) -> Iterator[Text]:
        nodes, listed = self.seen.nodes, NodeList(self.seen.at, self.width, self.probe)
        if not nodes:
            return
        yield Text()
        if self.whole or len(nodes) <= FEW:
            yield from listed.all(nodes)
            return
        troubled = sorted(filter(needs_attention, nodes), key=severity)
        yield Text(f"{len(troubled)} of {len(nodes)} nodes need attention; -v names all", style="dim")
        if troubled:
            yield from listed.troubled(troubled[: self.most])
        if (hidden := len(troubled) - self.most) > 0:
            yield Text(f"and {hidden} more", style="dim")
        if others := Counter(node.state for node in nodes if not node.counts_as):
            yield Text(f"hosts that are no nodes: {', '.join(f'{count} {state}' for state, count in sorted(others.items()))}")

    def _unverified(self) -> Iterator[Text]:
        if names := [node.name for node in self.seen.nodes if node.host_key]:
            shown = ", ".join(names) if self.whole or len(names) <= FEW else named(names)
            yield Text(f"host key believed at first contact, unverified: {shown}")

    # ---- parts
    def _since(self, at: float) -> float:
        return self.seen.at - at

    def _some(self, told: Iterable[list[Text]]) -> Iterator[Text]:
        """The first ones, and how many more there are."""
        all_of = list(told)
        shown = all_of if self.whole else all_of[: self.most]
        yield from (line for lines in shown for line in lines)
        if hidden := len(all_of) - len(shown):
            yield Text(f"  and {hidden} more like this", style="dim")


def _request(request: Request, word: str = "waiting") -> list[Text]:
    return [Text(f"{word}: {request['text']}"), *_reason(request["why"])]


def _wanted(request: Request) -> list[Text]:
    return _request(request, "request_resources")


def _group(group: GroupRequest) -> list[Text]:
    many = "placement group" if group["count"] == 1 else f"{group['count']} placement groups, each"
    return [Text(f"waiting: {many} {group['text']}"), *_reason(group["why"])]


def _reason(why: str) -> list[Text]:
    return [Text(f"  {clean(why)}")] if why else []


def _in_words(row: TypeCount) -> Iterator[Text]:
    counts = ", ".join(f"{row.states[state]} {state}" for state in census.STATES if row.states[state])
    yield Text(f"{row.type}: {row.nodes} node{'' if row.nodes == 1 else 's'}: {counts}")
    if used := used_of(row):
        yield Text(f"  used {used}")


def _number(row: TypeCount, state: str) -> Text:
    count = row.states[state]
    return Text(str(count), style=STYLES.get(state, "") if count else "dim")
