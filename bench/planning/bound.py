# SPDX-License-Identifier: Apache-2.0
"""What no plan can cost less than: the same question with machines, requests and placement groups all divisible.

A linear program. Its variables are how many machines of each type there are, and how much of each shape goes to each type
and to each group of nodes that have the same left; for each of these, no resource may be used up beyond what there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.planning.prices import objective
from bench.planning.scenario import Amounts, Scenario

Shape = tuple[tuple[str, float], ...]


@dataclass
class Matrix:
    """Rows with their right sides, filled one entry at a time."""

    values: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    right: list[float] = field(default_factory=list)

    def row(self, right: float) -> int:
        """A new row; its number."""
        self.right.append(right)
        return len(self.right) - 1

    def put(self, row: int, column: int, value: float) -> None:
        """One entry."""
        self.rows.append(row)
        self.columns.append(column)
        self.values.append(value)


class Program:
    """The linear program while it grows: costs of variables, resources that are not exceeded, shapes that are placed."""

    def __init__(self, wanted: Counter[Shape]) -> None:
        self.costs: list[float] = []
        self.most, self.placed = Matrix(), Matrix()
        self._shapes = {shape: self.placed.row(count) for shape, count in wanted.items()}

    def variable(self, cost: float = 0.0) -> int:
        """A new one, at least 0; its number."""
        self.costs.append(cost)
        return len(self.costs) - 1

    def type(self, resources: Amounts, cost: float) -> None:
        """Machines of one type: as many as are paid for."""
        machines = self.variable(cost)
        for row in self._room(resources, 0):
            self.most.put(row, machines, -1)

    def nodes(self, available: Amounts, count: int) -> None:
        """So many nodes that are there and have the same left."""
        for _ in self._room(available, count):
            pass

    def _room(self, room: Amounts, count: int) -> Iterator[int]:
        """Let every shape that fits go there; the rows of the resources it uses. Amounts are in shares of one machine."""
        rows: dict[str, int] = {}
        for shape, number in self._shapes.items():
            if all(room.get(name, 0) >= amount for name, amount in shape):
                placed = self.variable()
                self.placed.put(number, placed, 1)
                for name, amount in shape:
                    row = rows[name] if name in rows else rows.setdefault(name, self.most.row(count))
                    self.most.put(row, placed, amount / room[name])
        yield from rows.values()

    def solve(self) -> float:
        """The least cost."""
        from scipy.optimize import linprog
        from scipy.sparse import coo_matrix

        most, placed = (
            coo_matrix((side.values, (side.rows, side.columns)), shape=(len(side.right), len(self.costs))).tocsr()
            for side in (self.most, self.placed)
        )
        solved = linprog(self.costs, A_ub=most, b_ub=self.most.right, A_eq=placed, b_eq=self.placed.right, method="highs")
        if not solved.success:
            raise ValueError(f"there is no bound for this scenario: {solved.message}")
        return float(solved.fun)


def bound(scenario: Scenario) -> float:
    """The least objective that could place all of the demand. Raises `ValueError` where some of it fits nowhere."""
    wanted = _wanted(scenario)
    program = Program(wanted)
    for kind, spec in scenario["node_types"].items():
        program.type(spec["resources"], objective({kind: 1}))
    for state, count in _states(scenario, wanted).items():
        program.nodes(dict(state), count)
    return program.solve()


def _wanted(scenario: Scenario) -> Counter[Shape]:
    """How many there are of each shape, the bundles of placement groups among them."""
    wanted: Counter[Shape] = Counter()
    for demand in scenario["demands"]:
        wanted[_shape(demand["shape"])] += demand["count"]
    for gang in scenario["gangs"]:
        wanted.update(map(_shape, gang["bundles"]))
    return wanted


def _shape(amounts: Amounts) -> Shape:
    return tuple(sorted((name, amount) for name, amount in amounts.items() if amount > 0))


def _states(scenario: Scenario, wanted: Counter[Shape]) -> Counter[Shape]:
    """How many nodes have the same left of what is asked for."""
    names = {name for shape in wanted for name, _ in shape}
    return Counter(
        _shape({name: amount for name, amount in node["avail"].items() if name in names}) for node in scenario["nodes"]
    )
