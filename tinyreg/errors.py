"""What can go wrong."""

from __future__ import annotations

from typing import Any


class DivergenceError(ArithmeticError):
    """A loss, a gradient or a weight became NaN or infinite.

    Parameters
    ----------
    message : str
        Where it happened, the terms of the objective there, and what to try.
    epoch, batch : int or None
        Counted from 1; None where there are no epochs or batches.

    Examples
    --------
    >>> from tinyreg import MLP, SGD, SquaredError, fit
    >>> try:  # steps of 1 on a curvature of 101: each error is 100 times the last
    ...     fit(MLP((1, 1)), [[10.0]], [1.0], loss=SquaredError(), optimizer=SGD(1.0), epochs=500)
    ... except DivergenceError as e:
    ...     print(e.epoch, e.batch)
    78 1
    """

    def __init__(self, message: str, epoch: int | None = None, batch: int | None = None) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.batch = batch

    @classmethod
    def in_training(
        cls, epoch: int, batch: int, L: float, R: float, params: Any, optimizer: Any, state: Any
    ) -> DivergenceError:
        """At a batch, with the terms of the objective, and the last learning rate if known."""
        lr = getattr(optimizer, "lr", None) if hasattr(state, "steps") else None
        lr = lr(max(state.steps - 1, 0)) if callable(lr) else lr
        size = abs(params).max()
        smaller = "a smaller learning rate" if lr is None else f"a learning rate below {lr:g}"
        message = (
            f"training diverged in epoch {epoch}, batch {batch}: data loss {L:.3g}, penalty "
            f"{R:.3g}, largest |parameter| {size:.3g}; try {smaller}, or inputs and targets scaled "
            "to about 1. The network keeps its last finite parameters"
        )
        return cls(message, epoch, batch)


class GradientCheckError(AssertionError):
    """A gradient differs from the derivative of its own function; the message is the report.

    Examples
    --------
    >>> import numpy as np
    >>> from tinyreg import check_gradient
    >>> report = check_gradient(lambda x: np.sum(x**2), lambda x: x, np.array([3.0, 4.0]))
    >>> try:
    ...     report.raise_if_failed()
    ... except GradientCheckError as e:
    ...     print(str(e).splitlines()[-1])
    x: constant factor 0.5: a 2 is missing
    """
