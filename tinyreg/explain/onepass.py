"""What the sections are written from: one pass, and the central differences to judge it by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from tinyreg.core.network import Block
from tinyreg.core.objective import Objective
from tinyreg.core.penalties import Penalty
from tinyreg.render.document import Equation, Table, leading
from tinyreg.validate import Array, Data, is_sparse

#: What a section is made of.
Written: TypeAlias = str | Equation | Table


class OnePass:
    """F on a float64 network of its own, and what one pass gives."""

    def __init__(self, objective: Objective, X: Data, y: Data) -> None:
        objective.on(X, y)  # refuses what the network's own dtype cannot hold
        X = X.toarray(order="C") if is_sparse(X) else X
        self.net, self.loss = objective.net.astype("float64"), objective.loss
        own = Objective(self.net, self.loss, objective.penalty, objective.bias_penalty)
        self.problem = own.on(X, y)
        self.X, self.targets, self.weight = self.problem.samples
        self.trace = self.net.trace(self.X)
        self.dout = self.loss.delta(self.trace.outputs, self.targets, self.weight)
        self.gradient = self.problem.data_gradient()
        self.blocks = sorted(self.net.blocks, key=lambda B: int(B.name[1:]))  # W1, b1, W2, b2, …

    def block_of(self, k: int) -> Block:
        """Where the parameter at position k lies."""
        return next(B for B in self.blocks if B.span.start <= k < B.span.stop)

    def name(self, k: int) -> str:
        """W1[0,1] for a position in the parameter vector."""
        B = self.block_of(k)
        return f"{B.name}[{','.join(map(str, np.unravel_index(k - B.span.start, B.shape)))}]"

    def beside(self, k: int, gradient: Array, penalty: Penalty | None = None) -> list[str | float]:
        """∂L/∂θ_k (∂F/∂θ_k of a parameter with a penalty), the central difference, and the gap.

        Where a unit goes on or off between θ − h and θ + h, or the slope of the penalty jumps,
        no difference is right.
        """
        theta = self.net.params
        h = 1e-5 * max(1.0, abs(theta[k]))
        plus, minus = theta.copy(), theta.copy()
        plus[k] += h
        minus[k] -= h
        jumps = penalty is not None and self._jumps(penalty, k, plus, minus)
        if jumps or self._unit_switches(plus, minus):
            return [gradient[k], "kink", "·"]
        above, below = self.problem.terms(plus), self.problem.terms(minus)
        change = above.data - below.data if penalty is None else above.total - below.total
        measured = change / (plus[k] - minus[k])
        return [gradient[k], measured, abs(gradient[k] - measured)]

    def _unit_switches(self, plus: Array, minus: Array) -> bool:
        if self.net.activation not in ("relu", "leaky_relu"):
            return False
        below, above = (self.net.trace(self.X, p).pre_activations[:-1] for p in (minus, plus))
        return any(np.any((a > 0) != (b > 0)) for a, b in zip(below, above, strict=True))

    def _jumps(self, R: Penalty, k: int, plus: Array, minus: Array) -> bool:
        """Does the slope of R in θ_k jump between two vectors that differ there?

        The interval is halved towards the greater change. After 40 times nothing is left of the
        change of a smooth slope, and of a jump all.
        """
        if R.smooth:
            return False
        B, theta = self.block_of(k), plus.copy()

        def slope(at: float) -> float:
            theta[k] = at
            return float(R.subgradient(B.of(theta)).flat[k - B.span.start])

        low, high = minus[k], plus[k]
        at_low, at_high = slope(low), slope(high)
        whole = at_high - at_low
        for _ in range(40):
            middle = (low + high) / 2
            at_middle = slope(middle)
            if at_middle - at_low > at_high - at_middle:
                high, at_high = middle, at_middle
            else:
                low, at_low = middle, at_middle
        return at_high - at_low > 1e-6 * whole


def shown(B: Block) -> Iterator[tuple[tuple[int, ...], int]]:
    """Index and position in the parameter vector of the entries that are shown."""
    positions = np.arange(B.span.start, B.span.stop).reshape(B.shape)
    for index in np.ndindex(leading(positions).shape):
        yield index, int(positions[index])


def entries(
    headers: Sequence[str], rows: list[list[str | float]], blocks: Sequence[Block]
) -> list[Written]:
    """A table with a row for each entry that is shown, and how many those are, unless all."""
    table, of = Table(headers, rows, rule=True), sum(B.span.stop - B.span.start for B in blocks)
    return [table, f"{len(rows)} of {of} are shown."] if len(rows) < of else [table]


def has_kink(pieces: list[Written]) -> bool:
    """Is there an entry that no central difference can judge?"""
    return any("kink" in row for piece in pieces if isinstance(piece, Table) for row in piece.rows)
