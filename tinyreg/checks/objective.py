"""Every gradient of an objective, fast, with kinks found exactly."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg import validate
from tinyreg.checks.diagnose import locate
from tinyreg.checks.differences import Measured, generator, measure, quiet, refuted_notes
from tinyreg.checks.function import RTOL, as_gradient, check_repeats, precision_of
from tinyreg.checks.judge import Part
from tinyreg.checks.kinks import settle
from tinyreg.checks.perturb import Perturbations, measure_network
from tinyreg.checks.report import Report, add_row
from tinyreg.checks.slopes import penalty_slopes
from tinyreg.checks.steps import EPS
from tinyreg.core.network import Block, PerLayer
from tinyreg.core.objective import Objective, Samples
from tinyreg.validate import Array, Maybe


def check_gradients(
    objective: Objective,
    X: ArrayLike,
    y: ArrayLike,
    *,
    params: Maybe = None,
    sample_weight: Maybe = None,
    masks: PerLayer | None = None,
    gradient: ArrayLike | Callable[[Array], ArrayLike] | None = None,
    precision: bool = False,
    rtol: float = RTOL,
    atol: float = 0.0,
    plain: bool = False,
    seed: int = 0,
) -> Report:
    """Check every coordinate of an objective's gradient.

    The data gradient and the penalty's part are judged apart, so that neither hides the other. How
    each sample's loss changes with each pre-activation is measured by forward code only, by the
    complex step and by real differences (`tinyreg.checks.perturb`). If `objective.value` is
    another function (in a subclass, say), every parameter is moved by itself through it, and a
    note says so.

    Parameters
    ----------
    objective : Objective
    X, y, sample_weight : arrays, as for `Objective`
    params : (n_params,) array, where to check; the network's own if left out
    masks : list of (N, n_l) arrays, optional
        Dropout masks of the hidden layers: the gradient judged is that of `net.trace` and
        `net.backward` with them.
    gradient : array or function of the parameters, optional
        A gradient of F from elsewhere, judged in place of the objective's.
    precision : bool
        Also measure the rounding of the gradient (without masks) computed in float32. All else
        is in float64.
    rtol : float, the relative error allowed, beyond an estimate of the rounding errors
    atol : float, the absolute error allowed, in units of the gradient
    plain : bool, always go through `objective.value`: slow, simple, and for comparison
    seed : int, of the random directions and parameters

    Returns
    -------
    Report, with a row for each of W1, b1, W2, b2, …

    Raises
    ------
    ValueError, TypeError
        If an argument is not as it should be, or if the objective is not finite at the
        parameters or not the same in two calls.

    Notes
    -----
    At a kink (a pre-activation at 0 that the parameter moves, a weight at 0 with an L1 penalty)
    the given value passes as `kink` if it is the slope of the branch that the forward pass takes,
    or belongs to the kink (`tinyreg.checks.kinks`); else it is a `mismatch`.

    Examples
    --------
    >>> from tinyreg import L1, MLP, SquaredError
    >>> net = MLP((3, 4, 1), seed=0)
    >>> net.weights[0][0, :] = 0.0  # an input that L1 has cut off
    >>> F = Objective(net, SquaredError(), penalty=L1(0.1))
    >>> X, y = np.eye(3), np.ones(3)
    >>> report = check_gradients(F, X, y)
    >>> report.ok, [row["kink"] for row in report.rows]
    (True, [4, 4, 0, 0])
    >>> wrong = check_gradients(F, X, y, gradient=2 * F.gradient(X, y))
    >>> wrong.ok, wrong.rows[2]["diagnosis"]
    (False, 'constant factor 2: a 2 too much')
    """
    validate.check_type("objective", objective, Objective, "an Objective")
    validate.check_number("rtol", rtol, above=0)
    validate.check_number("atol", atol, least=0)
    validate.check_integer("seed", seed, least=0)
    case = _case(objective, X, y, sample_weight, params, masks)
    of_data, of_all = case.gradients(gradient)
    check_repeats("objective.value", case.value, case.params, finite=True)

    rng = generator(seed)
    F, n = case.objective, len(case.samples.targets)
    told = f"gradient of {F.loss!r} of {F.net!r}, penalty {F.penalty!r}, {n} samples"
    report = Report(told, [])
    apart = None if plain else _slopes_apart(case, rng, report.notes)
    if apart is None:
        measured, notes = measure(case.value, case.params, "auto", rng)
        report.notes.extend(notes)
    else:
        measured = apart[0].plus(apart[1])
    whole = Part("F", of_all.astype(np.float64), measured)
    eps = precision_of(of_data, of_all)
    if apart and gradient is None and eps == EPS:
        data, penalty = apart
        size = np.abs(of_all) + np.abs(of_data)  # ∇F − ∇L carries the rounding of both
        penalty = penalty._replace(error=penalty.error + 2 * EPS * size, scale=size)
        rest = Part("penalty", of_all - of_data, penalty)
        rest = settle(rest, F.penalty_value, case.params, rng, rtol)
        parts = [Part("data", of_data, data), rest]
    else:
        parts = [whole := settle(whole, case.value, case.params, rng, rtol, eps)]

    subgradient = np.zeros_like(case.params)
    F.add_subgradient(subgradient, case.params)
    for block in case.blocks:
        own, x = [part.each(block.of) for part in parts], block.of(case.params)
        sides = zip(("n_in", "n_out")[-x.ndim :], x.shape, strict=True)
        sizes = {"N": n, "K": F.net.sizes[-1], **dict(sides)}
        terms = [("the penalty's gradient", block.of(subgradient))]
        add_row(
            report, block.name, own, rtol, atol=atol, precision=eps, whole=whole.each(block.of),
            sizes=sizes, x=x, terms=terms,
        )  # fmt: skip
    if apart:
        _count_zeros(case, *apart, report)
    if precision:
        _measure_precision(case, report)
    report.notes.extend(locate(report.rows))
    return report


class _Case(NamedTuple):
    """What is checked: F at one point, in float64.

    `value` and `gradients` ask the objective's own methods, which a subclass may have changed.
    """

    objective: Objective
    X: ArrayLike
    y: ArrayLike
    sample_weight: Maybe
    samples: Samples
    params: Array
    masks: PerLayer | None

    @property
    def blocks(self) -> list[Block]:
        """W1, b1, W2, b2, …"""
        blocks = self.objective.net.blocks
        n = len(blocks) // 2
        return [block for layer in range(n) for block in blocks[layer::n]]

    def ask(self, method: Callable[..., Any], p: Array) -> Any:
        """A method of the objective at θ = p."""
        return method(self.X, self.y, params=p, sample_weight=self.sample_weight)

    def value(self, p: Array) -> Any:
        """F; with dropout masks, as its network and loss say it."""
        F = self.objective
        if self.masks is None:
            return self.ask(F.value, p)
        outputs = F.net.trace(self.X, p, self.masks).outputs
        return F.loss.value(outputs, self.y, self.sample_weight) + F.penalty_value(p)

    def moves(self, p: Array) -> Perturbations:
        """The data loss at θ = p, and what it becomes as pre-activations move."""
        F = self.objective
        return Perturbations(F.net, F.loss, self.samples, p, self.masks)

    def gradients(self, handed: ArrayLike | Callable[[Array], ArrayLike] | None) -> list[Array]:
        """What is to be judged: ∇L and ∇F, or twice the ∇F that was handed in."""
        F, shape = self.objective, self.params.shape
        if handed is not None:
            if callable(handed):
                handed = check_repeats("gradient", handed, self.params)
            return 2 * [as_gradient(handed, shape)]
        if self.masks is not None:
            trace = F.net.trace(self.X, self.params, self.masks)
            dout = F.loss.gradient(trace.outputs, self.y, self.sample_weight)
            data = F.net.backward(trace, dout, self.params)
            whole = data.copy()
            F.add_subgradient(whole, self.params)
            return [data, whole]

        came = []
        for name in ("data_gradient", "gradient"):
            ask, told = functools.partial(self.ask, getattr(F, name)), f"objective.{name}"
            came.append(as_gradient(check_repeats(told, ask, self.params), shape, told))
        return came


def _case(
    F: Objective, X: ArrayLike, y: ArrayLike, weight: Maybe, params: Maybe, masks: PerLayer | None
) -> _Case:
    """The case in float64, of arguments that were checked."""
    own = F.net.check_params(params)
    if own.dtype.kind == "c":
        raise TypeError(f"params must be real numbers, got {validate.describe(own)}")
    validate.check_array("params", own, np.float64)
    F.on(X, y, weight)  # as its network takes them, before all is in float64
    if F.net.dtype != np.float64:
        F = _in_precision(F, "float64")
    samples = F.on(X, y, weight).samples
    # The objective is asked with X as it came; what measures it takes dense rows.
    rows = samples.X.toarray() if validate.is_sparse(samples.X) else samples.X
    samples = samples._replace(X=rows.astype(np.float64, copy=False))  # a memmap keeps its own
    return _Case(F, X, y, weight, samples, own.astype(np.float64), masks)


def _in_precision(objective: Objective, dtype: str) -> Objective:
    """The objective on a copy of the network in another precision."""
    twin = copy.copy(objective)
    twin.net = objective.net.astype(dtype)
    return twin


@quiet()
def _slopes_apart(
    case: _Case, rng: np.random.Generator, notes: list[str]
) -> tuple[Measured, Measured] | None:
    """The derivatives of L and of R, or None if F is not the function that is measured fast."""
    other = _another_function(case, rng)
    if other:
        notes.append(f"{other}: judged by perturbing objective.value parameter by parameter")
        return None
    data, refuted = measure_network(case.moves(case.params))
    notes += refuted_notes(refuted, case.params.size)
    penalty = Measured.smooth(np.zeros(case.params.shape))
    for block, R in case.objective.penalised:
        slopes = penalty_slopes(R, block.of(case.params).copy())
        penalty.put(block.span, slopes.each(np.ravel))
    return data, penalty


def _another_function(case: _Case, rng: np.random.Generator) -> str:
    """What is not made of the layers, the loss and R, at the parameters or near; "" if all is."""
    F, params = case.objective, case.params
    size = max(np.abs(params).max(), 1e-3)
    for spread in (0.0, 1e-3, 1e-2):
        p = params + spread * size * rng.standard_normal(params.shape)
        moves, R, whole = case.moves(p), F.penalty_value(p), case.value(p)
        if not moves.made_of_layers():
            return "the network's forward pass is not made of the layers that it should be made of"
        summed = sum(float(penalty.value(block.of(p))) for block, penalty in F.penalised)
        data = moves.weight @ moves.base
        for name, theirs, ours in (("value", whole, data + summed), ("penalty_value", R, summed)):
            if np.isfinite(ours) and not abs(ours - theirs) <= 1e-9 * max(abs(ours), abs(theirs)):
                return (
                    f"objective.{name} is not that of the network's layers, the loss and the "
                    f"penalty ({theirs:.6g} against {ours:.6g})"
                )
    return ""


def _count_zeros(case: _Case, data: Measured, penalty: Measured, report: Report) -> None:
    """At penalised weights that are 0: is −∇L a subgradient of the penalty?"""
    at_zero = penalty.kink & (case.params == 0)
    residual = case.objective.residual_of(data.value, case.params)
    stationary = at_zero & (residual <= data.error)
    for row, block in zip(report.rows, case.blocks, strict=True):
        count, at_rest = (int(block.of(where).sum()) for where in (at_zero, stationary))
        if count:
            row["zeros"] = {"count": count, "stationary": at_rest}


def _measure_precision(case: _Case, report: Report) -> None:
    """The float32 gradient against the float64 one, both at the same float32 numbers."""
    single = case.params.astype(np.float32)
    case = case._replace(X=validate.as_table("X", case.X).astype(np.float32))
    low = case.ask(_in_precision(case.objective, "float32").gradient, single)
    exact = case.ask(case.objective.gradient, single.astype(np.float64))
    for row, block in zip(report.rows, case.blocks, strict=True):
        largest = np.abs(block.of(exact)).max()
        off = np.abs(block.of(low) - block.of(exact)).max()
        row["precision"] = float(off / largest) if largest > 0 else float(off)
