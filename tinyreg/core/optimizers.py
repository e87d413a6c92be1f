"""Optimizers: a step of the parameters along a gradient, and the step sizes it really took.

    SGD   θ ← θ − η g                             step size η, the learning rate
    Adam  θ ← θ − η/(√v̂ + ε) ⊙ m̂                  one step size for each coordinate: η/(√v̂ + ε)

Both take a prox, which acts after the step and must be given the step size that was taken,
coordinate by coordinate. At a rest point of Adam with a prox, w = prox_t(w − t∇L) gives −∇L ∈ ∂R
whatever t is, but only if both t are the same. Thresholding Adam by ηλ instead leaves the pull λ
scaled by √v̂ + ε, and nearly all of the penalty is gone.

**A prox and momentum.** prox_t(y) = y − t s with s ∈ ∂R(prox_t(y)): a prox is a step along a
subgradient at the point of arrival. The momentum buffer collects gradients of the objective, so s
belongs in it, beside ∇L: −η u = w_new − w_old, the step really taken (iPiano: Ochs, Chen, Brox and
Pock, SIAM J. Imaging Sci. 7, 2014). If s is left out, momentum multiplies ∇L by 1/(1 − μ) and the
threshold by 1, and the result is stationary for (1 − μ)λ.

Analysed is the plain proximal gradient; momentum with a prox, and a prox in Adam's metric, are
heuristics. Where they rest, −∇L ∈ ∂R (tested); on minibatches they rest if the variance is reduced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from tinyreg.validate import Array, check_betas, check_nesterov, check_number, check_rate

Schedule: TypeAlias = Callable[[int], float]  # of the number of steps done so far
Prox: TypeAlias = Callable[[Array, float | Array], Array | None]

CACHED = 32_768  # numbers: Adam's arrays of so many fit into a core's second-level cache


class Optimizer(Protocol):
    """It holds settings only; what it remembers is in a state.

    Notes
    -----
    params, gradient : (n,) arrays, θ, which is changed in place, and g
    state : what `start` returned; its `steps`, and `lr`, are read by "decoupled" and "naive" only
    prox : function of (params, step sizes), in place or returning the prox
    """

    @property
    def lr(self) -> float | Schedule: ...
    def start(self, params: Array) -> Any: ...
    def step(self, params: Array, gradient: Array, state: Any, prox: Prox = ...) -> float | Array:
        """Change `params` and `state` in place; return the step size, or one per coordinate."""


def learning_rate(lr: float | Schedule, step: int) -> float:
    """The learning rate of step 0, 1, 2, …; a schedule must return a finite number >= 0."""
    return check_number(f"lr({step})", lr(step), least=0) if callable(lr) else float(lr)


def _apply(prox: Prox, params: Array, t: float | Array) -> None:
    if (arrived := prox(params, t)) is not None and arrived is not params:
        params[...] = arrived


@dataclass
class SGDState:
    """The number of steps done, and the momentum buffer u."""

    steps: int
    velocity: Array | None  # None without momentum


@dataclass(frozen=True)
class SGD:
    """Gradient descent, with heavy-ball or Nesterov momentum in PyTorch's form.

        u ← μ u + g
        θ ← θ − η u              (heavy ball; Polyak 1964)
        θ ← θ − η (g + μ u)      (Nesterov; Sutskever, Martens, Dahl and Hinton 2013)

    With a prox, g stands for ∇L + s. Solved for θ that is

        θ ← prox_{ηR}(θ − η (∇L + μ u))                        (heavy ball)
        θ ← prox_{(1+μ)ηR}(θ − η ((1+μ) ∇L + μ² u))            (Nesterov)

    and then u ← μ u + ∇L + s. In Nesterov's form s enters twice, by itself and through u, and so
    the step of its prox is (1 + μ) η. At rest s = −∇L in both.

    Parameters
    ----------
    lr : float or schedule, η > 0; a schedule may return 0
    momentum : float, 0 ≤ μ < 1
    nesterov : bool, which needs a positive momentum

    Examples
    --------
    >>> from tinyreg import L1
    >>> w, sgd = np.array([0.0]), SGD(0.5, momentum=0.5)
    >>> state = sgd.start(w)
    >>> for _ in range(60):  # minimise ½(w − 3)² + |w|
    ...     size = sgd.step(w, w - 3.0, state, L1(1.0).prox)
    >>> w.round(6), size, state.steps
    (array([2.]), 0.5, 60)
    """

    lr: float | Schedule
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        check_rate("lr", self.lr)
        check_nesterov(self.momentum, self.nesterov)

    def start(self, params: Array) -> SGDState:
        """The state before the first step."""
        return SGDState(0, np.zeros_like(params) if self.momentum else None)

    def step(
        self, params: Array, gradient: Array, state: SGDState, prox: Prox | None = None
    ) -> float:
        """One step in place; returns η, or for Nesterov with a prox (1 + μ) η."""
        lr, mu, u = learning_rate(self.lr, state.steps), self.momentum, state.velocity
        t = lr * (1 + mu) if self.nesterov else lr
        state.steps += 1
        if lr == 0 and prox is not None:  # s is not known, and ∇L without it has no place in u
            return t
        if u is None:
            params -= lr * gradient
        else:
            u *= mu
            u += gradient
            params -= lr * (gradient + mu * u if self.nesterov else u)
        if prox is not None:
            before = params.copy() if u is not None else params
            _apply(prox, params, t)
            if u is not None:
                u += (before - params) / t  # s, the subgradient at the point of arrival
        return t


@dataclass
class AdamState:
    """The number of steps done, the moments m/(1 − β₁) and v/(1 − β₂), and the last step sizes."""

    steps: int
    first: Array
    second: Array
    sizes: Array


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, section 2), with PyTorch's conventions.

        m ← β₁ m + (1 − β₁) g            m̂ = m/(1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²           v̂ = v/(1 − β₂ᵗ)
        θ ← θ − η/(√v̂ + ε) ⊙ m̂

    Unlike a momentum buffer, m̂ is an average: its weights sum to 1, so the prox of the step
    η/(√v̂ + ε) balances ∇L as it should.

    Parameters
    ----------
    lr : float or schedule, η > 0; a schedule may return 0
    betas : (float, float), 0 ≤ β₁, β₂ < 1
    eps : float, ε > 0

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
        check_rate("lr", self.lr)
        check_betas(self.betas)
        check_number("eps", self.eps, above=0)

    def start(self, params: Array) -> AdamState:
        """The state before the first step."""
        return AdamState(0, *(np.zeros_like(params) for _ in range(3)))

    def step(
        self, params: Array, gradient: Array, state: AdamState, prox: Prox | None = None
    ) -> Array:
        """One step in place; returns η/(√v̂ + ε), which the next step overwrites."""
        lr, (beta1, beta2) = learning_rate(self.lr, state.steps), self.betas
        state.steps += 1
        # Kept without the factors 1 − β, the moments are m̂ = a m and √v̂ = b √v: fewer passes.
        a = (1 - beta1) / (1 - beta1**state.steps)
        b = math.sqrt((1 - beta2) / (1 - beta2**state.steps))
        # Over the whole of a long vector each of a dozen operations would wait for the memory.
        for start in range(0, len(params), CACHED):
            part = slice(start, start + CACHED)
            g, m, v, t = gradient[part], state.first[part], state.second[part], state.sizes[part]
            m *= beta1
            m += g
            v *= beta2
            v += g * g
            np.sqrt(v, out=t)
            t += self.eps / b
            np.divide(lr / b, t, out=t)
            move = t * m
            move *= a
            params[part] -= move
        if prox is not None:
            _apply(prox, params, state.sizes)
        return state.sizes
