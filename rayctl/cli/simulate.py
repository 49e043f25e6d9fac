# SPDX-License-Identifier: Apache-2.0
"""`simulate`: what the scaler would make of some work, over time, without a machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayctl.cli import looks
from rayctl.cli.common import ClusterFile, output_format

if TYPE_CHECKING:
    from rich.table import Table

    from rayctl.simulation.meter import Point
    from rayctl.simulation.report import Result, Waits

ROWS = 20
WIDEST = 1000  # characters that a table would take if nothing was cut
MOST_KINDS = 10  # kinds of work that are told one by one
SHOWN = ("CPU", "GPU")


@click.command(short_help="Replay work on a cluster that is only simulated.")
@click.argument("trace", type=click.Path(path_type=Path), metavar="TRACE")
@click.option(
    "--cluster",
    "cluster_file",
    type=ClusterFile(path_type=Path),
    metavar="FILE",
    required=True,
    help="The cluster file whose types, limits and prices are tried.",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the scaler decides.",
)
@click.option(
    "--setup",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a machine that runs needs to join.",
)
@click.option(
    "--boot",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long a machine needs to run. Default: as a simulated provider's file says, else 60.",
)
@click.option("--until", type=click.FloatRange(min=0), metavar="SECONDS", help="When to stop. Default: when all is done.")
@click.option("--seed", type=int, metavar="N", help="Seed of what happens by chance. Default: as the file says, else 0.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="PNG", help="Draw nodes, waits and cost, too.")
@click.option(
    "--snapshots",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep what each decision to launch or to end machines was made from, for `rayctl explain`.",
)
@output_format
@looks.options
def simulate(
    trace: Path, cluster_file: Path, interval: float, setup: float, boot: float | None, until: float | None,
    seed: int | None, plot: Path | None, snapshots: Path | None, form: str,
) -> None:  # fmt: skip
    """Replay a demand trace on the cluster of a file: nodes, waits and cost over time. No machine is touched.

    The clock is a simulated one, so that a day takes seconds. What a trace looks like: docs/simulate.md.

    \b
    Example: rayctl simulate examples/traces/burst.jsonl --cluster examples/simulated.yaml --plot burst.png
    """
    from math import inf

    from rayctl.operations.simulate import simulate as replay
    from rayctl.simulation.scene import Options

    options = Options(interval, setup, boot, inf if until is None else until, seed)
    if plot:
        from rayctl.simulation.plot import require_matplotlib

        require_matplotlib()
    found = replay(trace, cluster_file, options, snapshots)
    if plot:
        from rayctl.simulation.plot import draw

        draw(found, plot)
    click.echo(json.dumps(found.to_dict(), indent=2)) if form == "json" else _print(found)


def _print(found: Result) -> None:
    click.echo(f"{found.cluster}: {found.trace}, {_clock(found.totals.seconds)} simulated, until {found.ending}")
    points = _chosen(found.points)
    console, table = looks.current().console(sys.stdout), _table(found, points)
    if console.measure(table, options=console.options.update(max_width=WIDEST)).maximum <= console.width:
        console.print(table)
    else:
        for point in points:
            click.echo(_line(found, point))
    for line in _totals(found):
        click.echo(line)


def _chosen(points: tuple[Point, ...]) -> list[Point]:
    """Some of them, evenly, the first and the last always."""
    last = len(points) - 1
    places = {round(n * last / (ROWS - 1)) for n in range(ROWS)} if last > 0 else {0}
    return [points[place] for place in sorted(places)]


def _table(found: Result, points: list[Point]) -> Table:
    from rich.table import Table

    workers = [name for name in found.types if name != found.head]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for title in ("TIME", *workers, "PENDING", "WAITING", "RUNNING", "COST/H", "COST"):
        table.add_column(title, no_wrap=True, justify="right")
    for point in points:
        nodes = [str(point.nodes.get(name, 0)) for name in workers]
        counts = [sum(point.pending.values()), point.waiting, point.running]
        table.add_row(_clock(point.at), *nodes, *map(str, counts), f"{point.rate:.2f}", f"{point.cost:.2f}")
    return table


def _line(found: Result, point: Point) -> str:
    """For narrow terminals: nothing is cut."""
    workers = {name: count for name, count in point.nodes.items() if name != found.head}
    nodes = f"{_counts(workers)}; {sum(point.pending.values())} pending"
    work = f"{point.waiting} waiting, {point.running} running"
    return f"{_clock(point.at)}  {nodes}\n  {work}\n  {point.rate:.2f} an hour, {point.cost:.2f} so far"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no workers"


def _totals(found: Result) -> Iterator[str]:
    totals, tally = found.totals, found.totals.machines
    yield ""
    yield f"cost       {totals.cost:.2f}: {_by_type(totals.costs)}"
    yield f"prices     {_prices(found)}"
    yield f"machines   {sum(totals.machine_hours.values()):.2f} hours, {totals.most_nodes} at most"
    yield f"           {tally.launches} launched, {tally.refused} refused, {tally.ended} ended, {tally.lost} lost"
    used = [f"{name} {totals.utilisation[name]:.0%}" for name in SHOWN if name in totals.utilisation]
    yield f"in use     {', '.join(used) or 'nothing'} of what joined nodes had"
    yield f"waits      {_waits(totals.waits)}"
    for kind in found.kinds[:MOST_KINDS] if len(found.kinds) > 1 else ():
        yield f"           {kind.title}: {_waits(kind.waits)}"
    if len(found.kinds) > MOST_KINDS:
        yield f"           and {len(found.kinds) - MOST_KINDS} more kinds of work"
    for left in found.left:
        yield f"left       {left.count} of {left.title}: {left.why}"
    if running := sum(kind.running for kind in found.kinds):
        yield f"left       {running} still running"
    if found.skipped:
        yield f"left       {found.skipped} events of the trace, which come later"


def _by_type(costs: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {cost:.2f}" for name, cost in costs.items()) or "nothing"


def _prices(found: Result) -> str:
    """What an hour costs, and which of that is not known but guessed."""
    told = (f"{name} {found.prices[name]:g}" + (" (guessed)" if name in found.guessed else "") for name in found.types)
    return f"an hour: {', '.join(told)}"


def _waits(waits: Waits) -> str:
    if not waits.starts:
        return "nothing started"
    starts = "1 start" if waits.starts == 1 else f"{waits.starts} starts"
    return f"half up to {waits.p50:g} s, 95% up to {waits.p95:g} s, all up to {waits.longest:g} s ({starts})"


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds; a day is not more than 24 hours here."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


COMMANDS = (simulate,)
