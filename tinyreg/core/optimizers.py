"""Optimizers: a step of the parameters along a gradient, and the step sizes it really took.

    SGD   θ ← θ − η g                             step size η, the learning rate
    Adam  θ ← θ − η/(√v̂ + ε) ⊙ m̂                  one step size for each coordinate: η/(√v̂ + ε)

Both take a prox, which acts between the step and the next one. It must be given the step size
that was taken, coordinate by coordinate. At a rest point of Adam with a prox, w = prox_t(w − t∇L)
gives −∇L ∈ ∂R whatever t is, but only if both t are the same. Thresholding Adam by η λ instead
leaves the pull λ scaled by √v̂ + ε, and nearly all of the penalty is gone.

**A prox and momentum.** prox_t(y) = y − t s with s = (y − prox_t(y))/t, and s ∈ ∂R(prox_t(y)): a
prox is a step along a subgradient at the point of arrival. The momentum buffer collects gradients
of the objective, so s belongs in it, beside ∇L: then −η u = w_new − w_old, the step really taken
(at a constant η; iPiano: Ochs, Chen, Brox and Pock, SIAM J. Imaging Sci. 7, 2014). If s is left
out, momentum multiplies ∇L by 1/(1 − μ) and the threshold by 1, and the result is stationary for
(1 − μ)λ.

The analysed case is plain proximal gradient. Momentum with a prox on minibatches, and a prox in
Adam's metric, are heuristics; their rest points are right, and tested.

A learning rate may be a number or a schedule: a function of the number of steps done so far
(0, 1, 2, …), and of nothing else, that returns a number; each piece of a long parameter vector
asks it anew. Those below can be pickled, as a process pool wants; a lambda cannot. A setting out
of its range is refused by a `TypeError` or `ValueError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np

from tinyreg.validate import Array, check_number

Schedule: TypeAlias = Callable[[int], float]
Prox: TypeAlias = Callable[[Array, float | Array], None]


class Optimizer(Protocol):
    """An optimizer holds only its settings; what it remembers is in a state of its own.

    So one optimizer serves any number of runs, and each begins afresh. It treats each number
    alone: training hands it the parameters in pieces, each with a state of its own.

    Notes
    -----
    params, gradient : (n,) arrays
        θ, changed in place, and g.
    state : what `start` returned
        Changed in place.
    prox : function of (params, steps), optional
        Replaces params, in place, by the prox with the steps that were taken.

    Examples
    --------
    >>> from tinyreg import L1
    >>> def prox(params, steps):
    ...     params[...] = L1(1.0).prox(params, steps)
    >>> w, optimizer = np.array([0.0]), SGD(0.5, momentum=0.5)
    >>> state = optimizer.start(w)
    >>> for _ in range(60):  # minimise ½(w − 3)² + |w|
    ...     size = optimizer.step(w, w - 3.0, state, prox)
    >>> w.round(6), size == optimizer.lr, state.steps
    (array([2.]), True, 60)
    """

    @property
    def lr(self) -> float | Schedule:
        """The learning rate, or a function of the number of steps done."""

    def start(self, params: Array) -> Any:
        """The state before the first step; its attribute `steps` counts the steps done."""

    def step(
        self, params: Array, gradient: Array, state: Any, prox: Prox | None = None
    ) -> float | Array:
        """Change `params` and `state` in place; return the step size, or one per coordinate."""


def _check_lr(lr: float | Schedule) -> None:
    if not callable(lr):
        check_number("lr", lr, above=0)


def learning_rate(lr: float | Schedule, step: int) -> float:
    """The learning rate of step 0, 1, 2, …; a schedule must return a finite number >= 0."""
    if callable(lr):
        return check_number(f"lr({step})", lr(step), least=0)
    return float(lr)


@dataclass
class SGDState:
    """The number of steps done, and the momentum buffer (None without momentum)."""

    steps: int
    velocity: Array | None


@dataclass(frozen=True)
class SGD:
    """Gradient descent, with heavy-ball or Nesterov momentum in PyTorch's form.

    (Polyak 1964; for Nesterov's in this form Sutskever, Martens, Dahl and Hinton 2013.)

        u ← μ u + g
        θ ← θ − η u              (heavy ball)
        θ ← θ − η (g + μ u)      (Nesterov)

    With a prox, g stands for ∇L + s, where s is the subgradient that the prox takes at the point
    of arrival (see the module's docstring). Solved for θ that is

        θ ← prox_{ηR}(θ − η (∇L + μ u))                        (heavy ball)
        θ ← prox_{(1+μ)ηR}(θ − η ((1+μ) ∇L + μ² u))            (Nesterov)

    and then u ← μ u + ∇L + s. In Nesterov's form s enters twice, once by itself and once through
    u, and so the step of its prox is (1 + μ) η. At rest, s = −∇L in both; parameters come
    straight from the prox, and so are sparse.

    Parameters
    ----------
    lr : float or schedule
        η > 0.
    momentum : float
        0 ≤ μ < 1.
    nesterov : bool
        Needs a positive momentum.

    Raises
    ------
    ValueError, TypeError
        If one of them is not so; in `step`, if a schedule returns no finite number ≥ 0.

    Examples
    --------
    >>> params, sgd = np.array([1.0]), SGD(0.1, momentum=0.5)
    >>> state = sgd.start(params)
    >>> for _ in range(2):  # the same slope twice: 0.1·2, then 0.1·(2 + ½·2)
    ...     size = sgd.step(params, np.array([2.0]), state)
    >>> params.round(12), size
    (array([0.5]), 0.1)
    """

    lr: float | Schedule
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check_lr(self.lr)
        if check_number("momentum", self.momentum, least=0) >= 1:
            raise ValueError(f"momentum must be < 1, got {self.momentum!r}")
        if not isinstance(self.nesterov, bool):
            raise TypeError(f"nesterov must be True or False, got {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs a momentum > 0, got 0")

    def start(self, params: Array) -> SGDState:
        """The state before the first step."""
        return SGDState(0, np.zeros_like(params) if self.momentum else None)

    def step(
        self, params: Array, gradient: Array, state: SGDState, prox: Prox | None = None
    ) -> float:
        """One step in place; returns η, or for Nesterov with a prox (1 + μ) η."""
        lr, mu = learning_rate(self.lr, state.steps), self.momentum
        state.steps += 1
        velocity = state.velocity
        # Nesterov's step is η g + η μ u, heavy ball's η u, and without momentum it is η g.
        of_gradient = lr if velocity is None or self.nesterov else 0.0
        of_velocity = lr * (mu if self.nesterov else 1.0)
        if velocity is not None:
            velocity *= mu
            velocity += gradient
            params -= of_velocity * velocity
        if of_gradient:
            params -= of_gradient * gradient

        step_size = lr * (1 + mu) if self.nesterov else lr
        if prox is None:
            return step_size
        if velocity is None or step_size == 0:
            prox(params, step_size)
            return step_size
        before = params.copy()
        prox(params, step_size)
        before -= params
        before /= step_size
        velocity += before
        return step_size


@dataclass
class AdamState:
    """The number of steps done, and the moments m/(1 − β₁) and v/(1 − β₂)."""

    steps: int
    first: Array
    second: Array


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, section 2), with PyTorch's conventions.

        m ← β₁ m + (1 − β₁) g            m̂ = m/(1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²           v̂ = v/(1 − β₂ᵗ)
        θ ← θ − η/(√v̂ + ε) ⊙ m̂

    Unlike a momentum buffer, m̂ is an average: its weights sum to 1, so the prox of the step
    η/(√v̂ + ε) balances ∇L as it should. (Their section 2 has another form as well, with √v + ε̂
    for √v̂ + ε and the corrections in η. It is the same where ε̂ = ε √(1 − β₂ᵗ).)

    Parameters
    ----------
    lr : float or schedule
        η > 0.
    betas : (float, float)
        0 ≤ β₁, β₂ < 1.
    eps : float
        ε > 0.

    Raises
    ------
    ValueError, TypeError
        If one of them is not so; in `step`, if a schedule returns no finite number ≥ 0.

    Examples
    --------
    >>> params, adam = np.array([1.0, 1.0]), Adam(0.1)
    >>> sizes = adam.step(params, np.array([4.0, -1.0]), adam.start(params))
    >>> sizes.round(6), params.round(6)  # the first step moves each by η
    (array([0.025, 0.1  ]), array([0.9, 1.1]))
    """

    lr: float | Schedule = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _check_lr(self.lr)
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise TypeError(f"betas must be a pair of numbers, got {self.betas!r}")
        for i, beta in enumerate(self.betas):
            if check_number(f"betas[{i}]", beta, least=0) >= 1:
                raise ValueError(f"betas[{i}] must be < 1, got {beta!r}")
        check_number("eps", self.eps, above=0)

    def start(self, params: Array) -> AdamState:
        """The state before the first step."""
        return AdamState(0, np.zeros_like(params), np.zeros_like(params))

    def step(
        self, params: Array, gradient: Array, state: AdamState, prox: Prox | None = None
    ) -> Array:
        """One step in place; returns η/(√v̂ + ε)."""
        lr = learning_rate(self.lr, state.steps)
        state.steps += 1
        (beta1, beta2), t = self.betas, state.steps
        # The moments are kept without their factors 1 − β: m ← β₁ m + g and v ← β₂ v + g². Those
        # and the bias corrections are then two numbers, m̂ = a m and √v̂ = b √v.
        a = (1 - beta1) / (1 - beta1**t)
        b = math.sqrt((1 - beta2) / (1 - beta2**t))
        m, v = state.first, state.second
        m *= beta1
        m += gradient
        v *= beta2
        v += gradient * gradient
        sizes = np.sqrt(v)
        sizes += self.eps / b
        np.divide(lr / b, sizes, out=sizes)
        move = sizes * m
        move *= a
        params -= move
        if prox is not None:
            prox(params, sizes)
        return sizes


def inverse_sqrt(lr: float, warm: float = 1) -> Schedule:
    """η_t = η √(w/(t + w)): the subgradient method's O(1/√k) schedule, η at step 0.

    (Nesterov, Introductory Lectures on Convex Optimization, 2004, section 3.2.)

    Parameters
    ----------
    lr, warm : float
        η and w, both > 0; at step 3w the rate is η/2.

    Returns
    -------
    Schedule

    Examples
    --------
    >>> [round(inverse_sqrt(0.1)(t), 6) for t in (0, 3, 99)]
    [0.1, 0.05, 0.01]
    """
    check_number("lr", lr, above=0)
    check_number("warm", warm, above=0)
    return partial(_inverse_sqrt, lr, warm)


def _inverse_sqrt(lr: float, warm: float, step: int) -> float:
    return lr * math.sqrt(warm / (step + warm))


def cosine(lr: float, steps: float) -> Schedule:
    """η_t = η (1 + cos(π t/T))/2: from η at step 0 down to 0 at step T, and 0 from there on.

    (Loshchilov and Hutter, SGDR, 2017, without restarts.)

    Parameters
    ----------
    lr, steps : float
        η and T, both > 0; T counts steps, not epochs.

    Returns
    -------
    Schedule

    Examples
    --------
    >>> [round(cosine(0.1, 10)(t), 6) for t in (0, 5, 10)]
    [0.1, 0.05, 0.0]
    """
    check_number("lr", lr, above=0)
    check_number("steps", steps, above=0)
    return partial(_cosine, lr, steps)


def _cosine(lr: float, steps: float, step: int) -> float:
    return lr * (1 + math.cos(math.pi * min(step / steps, 1))) / 2
