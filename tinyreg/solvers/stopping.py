"""When to stop: a callback of `fit` that waits for something better and then ends the run."""

from __future__ import annotations

from dataclasses import dataclass

from tinyreg.core.training import History
from tinyreg.validate import Array, check_choice, check_flag, check_integer, check_number

MONITORED = ("validation_loss", "validation_score", "total")


@dataclass
class EarlyStopping:
    """Stop `fit` when what it monitors has not become better for `patience` epochs.

    The rule and the defaults are those of Keras: an epoch is better if it beats the best one so far
    by more than `min_delta`, and with a patience of 0, as of 1, the first epoch that is no better
    is the last. `History.best_epoch` and `History.stopped_epoch` say what happened.

    Parameters
    ----------
    patience : int >= 0
    min_delta : float >= 0
    monitor : "validation_loss", "validation_score" or "total"
        A list of `History`: `total` is the training objective F. A score is to rise, the others
        are to fall.
    restore_best : bool
        Whether the network ends with the parameters of its best epoch, also where the run was not
        stopped. The lists of the history then end with an epoch that it no longer is at.

    Notes
    -----
    params : θ, which `fit` changes in place

    Raises
    ------
    ValueError, TypeError : if an argument is not as it should be

    Examples
    --------
    >>> import numpy as np
    >>> from tinyreg import MLP, SGD, SquaredError, fit
    >>> net = MLP((1, 1))
    >>> net.params = [0.0, 0.0]  # in epoch k, F falls from 4·4⁻ᵏ/2 to 4⁻ᵏ/2
    >>> history = fit(net, [[1.0], [-1.0]], [1.0, -1.0], loss=SquaredError(), optimizer=SGD(0.5),
    ...               epochs=100, callback=EarlyStopping(3, min_delta=1e-3, monitor="total"))
    >>> history.best_epoch, history.stopped_epoch
    (5, 8)

    In a loop of one's own:

    >>> theta, past = np.zeros(1), History()
    >>> stopping = EarlyStopping(2, monitor="total", restore_best=True)
    >>> stopping.start(theta)
    >>> for epoch, F in enumerate([3.0, 1.0, 2.0, 4.0, 0.0], start=1):
    ...     theta[0] = epoch
    ...     past.total.append(F)
    ...     if stopping(epoch, past):
    ...         break
    >>> stopping.finish()
    >>> epoch, theta
    (4, array([2.]))
    """

    patience: int = 0
    min_delta: float = 0.0
    monitor: str = "validation_loss"
    restore_best: bool = False

    def __post_init__(self) -> None:
        check_integer("patience", self.patience, least=0)
        check_number("min_delta", self.min_delta, least=0)
        check_choice("monitor", self.monitor, MONITORED)
        check_flag("restore_best", self.restore_best)

    def start(self, params: Array) -> None:
        """Forget what an earlier run left."""
        self.params, self.best_params = params, params.copy() if self.restore_best else None
        self.best, self.waited = float("inf"), 0

    def __call__(self, epoch: int, history: History) -> bool:
        """Whether the run is to stop."""
        latest = getattr(history, self.monitor)[-1]
        if self.monitor == "validation_score":
            latest = -latest
        self.waited += 1
        if latest < self.best - self.min_delta:
            self.best, self.waited, history.best_epoch = latest, 0, epoch
            if self.best_params is not None:
                self.best_params[...] = self.params
        return self.waited >= max(self.patience, 1)

    def finish(self) -> None:
        """Go back to the best epoch, if asked for."""
        if self.best_params is not None:
            self.params[...] = self.best_params
