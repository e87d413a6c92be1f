"""What the sections are written from: F on the samples, one pass forward and one back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.network import Block
from tinyreg.core.objective import Objective
from tinyreg.core.penalties import Penalty
from tinyreg.render.document import Equation, Table, block

#: What a section is made of.
Written: TypeAlias = str | Equation | Table


class OnePass:
    """F on a float64 network of its own, and what one pass gives."""

    def __init__(self, objective: Objective, X: ArrayLike, y: ArrayLike) -> None:
        objective.on(X, y)  # refuses what the network's own dtype cannot hold
        self.problem = in_float64(objective).on(X, y)
        self.net, self.loss = self.problem.objective.net, objective.loss
        self.X, self.targets, self.weight = self.problem.samples
        self.trace = self.net.trace(self.X)
        self.dout = self.loss.delta(self.trace.outputs, self.targets, self.weight)
        self.gradient = self.problem.data_gradient()
        blocks, n = self.net.blocks, len(self.net.weights)
        # W1, b1, W2, b2, …
        self.blocks = [B for pair in zip(blocks[:n], blocks[n:], strict=True) for B in pair]

    def penalty_at(self, k: int) -> tuple[Block, Penalty] | None:
        """The penalty of the parameter at position k, and the block that it is a function of."""
        penalised = self.problem.objective.penalised
        return next(((B, R) for B, R in penalised if B.span.start <= k < B.span.stop), None)


def in_float64(objective: Objective) -> Objective:
    """The objective on a copy of its network, in float64."""
    net = objective.net.astype("float64")
    return Objective(net, objective.loss, objective.penalty, objective.bias_penalty)


def entry(B: Block, index: Iterable[int]) -> str:
    """W1[0,1] for an index of the block W1."""
    return f"{B.name}[{','.join(map(str, index))}]"


def shown(B: Block) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Name, index and position in the parameter vector of the entries that are shown."""
    positions = np.arange(B.span.start, B.span.stop).reshape(B.shape)
    for index in np.ndindex(block(positions).shown.shape):
        yield entry(B, index), index, int(positions[index])


def with_count(table: Table, blocks: Sequence[Block]) -> list[Written]:
    """The table, and how many of the entries of its blocks it has, unless it has all."""
    have, of = len(table.rows), sum(B.span.stop - B.span.start for B in blocks)
    return [table, f"{have} of {of} are shown."] if have < of else [table]
