# SPDX-License-Identifier: Apache-2.0
"""A simulation as a picture: nodes by type, waiting work, and cost, over one time axis. Equal results give equal bytes.

matplotlib is an extra and takes half a second to load, so it is imported where something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayctl.errors import Refused, UsageError
from rayctl.simulation.meter import Point
from rayctl.simulation.report import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT, DPI = 10.0, 8.0, 120
HEAD, WAITING, COST, RATE = "#9aa0a6", "#b5483a", "#2b5d8a", "#7f9cb8"
WORKERS = ("#2b5d8a", "#d98e32", "#5a9367", "#8a5a9e", "#4fa3b5", "#b06a7c", "#8c8c3c", "#6b705c")
STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True, "hatch.linewidth": 0.8,
}  # fmt: skip
UNITS = ((2 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def require_matplotlib() -> None:
    """Raise `Refused` where it is not installed."""
    if find_spec("matplotlib") is None:
        raise Refused("a plot needs matplotlib, which is not installed.", hint="pip install 'rayctl[plot]'")


def draw(found: Result, path: Path) -> None:
    """Write the picture. Raises `UsageError` where the file cannot be written."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        nodes, work, cost = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
        size, unit = next((size, unit) for least, size, unit in UNITS if found.totals.seconds >= least)
        times = [point.at / size for point in found.points]
        _draw_nodes(nodes, found, times)
        _draw_work(work, found.points, times)
        _draw_cost(cost, found.points, times)
        cost.set_xlabel(f"time ({unit})")
        cost.set_xlim(0, max(times[-1], 1 / size))
        figure.suptitle(f"{found.cluster}: {Path(found.trace).name}", x=0.02, ha="left", fontweight="bold")
        try:
            figure.savefig(path, format="png", metadata={"Software": None})
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", hint="Name a file that you may write to.") from None


def _draw_nodes(axes: Axes, found: Result, times: list[float]) -> None:
    """The types one above the other, and on top of them what has not joined yet."""
    below = [0.0] * len(times)
    for number, name in enumerate(found.types):
        color = HEAD if name == found.head else WORKERS[(number - 1) % len(WORKERS)]
        above = _added(below, (point.nodes.get(name, 0) for point in found.points))
        axes.fill_between(times, below, above, step="post", color=color, linewidth=0, label=name)
        below = above
    for number, name in enumerate(found.types):
        counts = [point.pending.get(name, 0) for point in found.points]
        if any(counts):
            color = WORKERS[(number - 1) % len(WORKERS)]
            above = _added(below, counts)
            axes.fill_between(
                times, below, above, step="post", facecolor="white", edgecolor=color, hatch="////", linewidth=0,
                label=f"{name}, pending",
            )  # fmt: skip
            below = above
    _finish(axes, "nodes", max(below))


def _added(below: list[float], counts: Iterable[int]) -> list[float]:
    return [low + count for low, count in zip(below, counts, strict=True)]


def _draw_work(axes: Axes, points: tuple[Point, ...], times: list[float]) -> None:
    waiting = [point.waiting for point in points]
    running = [point.running for point in points]
    axes.fill_between(times, waiting, step="post", color=WAITING, alpha=0.85, linewidth=0, label="waiting")
    axes.step(times, running, where="post", color=HEAD, linewidth=1.2, label="running")
    _finish(axes, "tasks and\nplacement groups", max(*waiting, *running, 1))


def _draw_cost(axes: Axes, points: tuple[Point, ...], times: list[float]) -> None:
    """Money spent, and beside it how fast it is spent."""
    axes.plot(times, [point.cost for point in points], color=COST, linewidth=1.8, label="cost so far")
    axes.step(times, [point.rate for point in points], where="post", color=RATE, linewidth=1.0, label="cost per hour")
    _finish(axes, "cost (the prices'\ncurrency)", max(max(point.cost, point.rate) for point in points))


def _finish(axes: Axes, label: str, top: float) -> None:
    axes.set_ylabel(label)
    axes.set_ylim(0, max(top, 1e-9) * 1.08)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0.3)
