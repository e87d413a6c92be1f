"""Learning rates and step sizes that fall, for `fit`'s optimizers and for `minimize`.

Each is a function of the number of steps done that can be pickled, as a process pool wants.
"""

from __future__ import annotations

import math
from functools import partial

from tinyreg.core.optimizers import Schedule
from tinyreg.validate import check_number


def inverse_sqrt(lr: float, warm: float = 1) -> Schedule:
    """η_t = η √(w/(t + w)), the subgradient method's O(1/√k): η at step 0, η/2 at step 3w.

    (Nesterov, Introductory Lectures on Convex Optimization, 2004, section 3.2.)

    >>> [round(inverse_sqrt(0.1)(t), 6) for t in (0, 3, 99)]
    [0.1, 0.05, 0.01]
    """
    check_number("warm", warm, above=0)
    return partial(_inverse_sqrt, check_number("lr", lr, above=0), warm)


def _inverse_sqrt(lr: float, warm: float, step: int) -> float:
    return lr * math.sqrt(warm / (step + warm))


def cosine(lr: float, steps: float) -> Schedule:
    """η_t = η (1 + cos(π t/T))/2: from η at step 0 down to 0 at step T, and 0 from there on.

    T counts steps, not epochs (Loshchilov and Hutter, SGDR, 2017, without restarts).

    >>> [round(cosine(0.1, 10)(t), 6) for t in (0, 5, 10)]
    [0.1, 0.05, 0.0]
    """
    check_number("steps", steps, above=0)
    return partial(_cosine, check_number("lr", lr, above=0), steps)


def _cosine(lr: float, steps: float, step: int) -> float:
    return lr * (1 + math.cos(math.pi * min(step / steps, 1))) / 2
