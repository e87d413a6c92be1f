"""Is this gradient right? Checks for tinyreg's objectives and for anyone's code.

====================  ============================================================================
`check_gradients`     every parameter of an `Objective`, fast, with kinks found exactly
`check_gradient`      any scalar function of an array, and anyone's gradient of it
`check_backward`      any layer: a forward and its backward, all inputs
`check_penalty`       a penalty's value, subgradient, prox and residual against one another
====================  ============================================================================

Each returns a `Report`: print it, look at `report.ok`, or call `report.raise_if_failed()` in a
test. How derivatives are measured stands in `tinyreg.checks.differences`, how they are judged, and what a
kink means, in `tinyreg.checks.report`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.checks.differences import EPS, Measured, Perturbations, complex_slope, penalty_slopes
from tinyreg.checks.function import (
    RTOL,
    as_gradient,
    check_backward,
    check_gradient,
    check_repeats,
    measure,
    note_refuted,
    precision_of,
    widened,
)
from tinyreg.checks.penalty import check_penalty
from tinyreg.checks.report import Part, Report, block_row
from tinyreg.core.network import MLP, forward_pass
from tinyreg.core.objective import Data, Objective
from tinyreg.validate import Array, check_array, check_integer, check_number, describe

__all__ = ["check_backward", "check_gradient", "check_gradients", "check_penalty"]


def check_gradients(
    objective: Objective,
    X: ArrayLike,
    y: ArrayLike,
    *,
    params: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    masks: list[Array] | None = None,
    gradient: ArrayLike | Callable[[Array], ArrayLike] | None = None,
    precision: bool = False,
    rtol: float = RTOL,
    plain: bool = False,
    seed: int = 0,
) -> Report:
    """Check every coordinate of an objective's gradient.

    The data gradient and the penalty's part are judged apart, so that neither drowns the other.
    Two judges measure each derivative: the complex step, exact to rounding, and real central
    differences. They perturb one parameter at a time and use forward code only.

    Before anything is judged, the fast evaluation is compared with `objective.value` itself at
    random parameters. If that is another function (in a subclass, say), it is the one to be
    judged: then every parameter is perturbed by itself through `objective.value`, and a note says
    so.

    Parameters
    ----------
    objective : Objective
    X, y : arrays
        As for `Objective`, like sample_weight.
    params : (n_params,) array, optional
        Where to check; the network's own parameters if left out.
    sample_weight : (N,) array, optional
    masks : list of (N, n_l) arrays, optional
        Dropout masks of the hidden layers, which stay as they are. The gradient judged is then
        that of `net.trace(X, params, masks)` and `net.backward`.
    gradient : array or function of the parameters, optional
        A gradient of F from elsewhere, judged in place of the objective's.
    precision : bool
        Also measure the rounding of the gradient (without masks) computed in float32. The
        formulas themselves are always checked in float64.
    rtol : float
        The relative error allowed, beyond a bound of the rounding errors.
    plain : bool
        Always perturb through `objective.value`: slow, simple, and for comparison.
    seed : int
        Of the random directions and parameters.

    Returns
    -------
    Report
        With a row for each of W1, b1, W2, b2, …

    Raises
    ------
    ValueError, TypeError
        If an argument is not as it should be, or if the objective is not finite at the
        parameters or not the same in two calls.

    Notes
    -----
    At a kink (a pre-activation at 0 that the parameter moves, a weight at 0 with an L1 penalty)
    the given value passes as `kink` if it is the slope of the branch that the forward pass takes,
    or lies between D⁻ and D⁺. If it is neither, it is a `mismatch`. A kink that lies beside the
    point, nearer than the first step, is left behind by a smaller or a one-sided step.

    Examples
    --------
    >>> from tinyreg import L1, SquaredError
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
    if not isinstance(objective, Objective):
        raise TypeError(f"objective must be an Objective, got {describe(objective)}")
    check_number("rtol", rtol, above=0)
    check_integer("seed", seed, least=0)
    own = objective.net.check_params(params)
    if own.dtype.kind == "c":
        raise TypeError(f"params must be real numbers, got {describe(own)}")
    check_array("params", own, np.float64)
    objective.check(X, y, sample_weight)
    objective, vector = _in_double(objective, own)
    given = _given_gradients(objective, X, y, vector, sample_weight, masks, gradient)

    net, notes = objective.net, list[str]()
    data = objective.check(X, y, sample_weight)
    value = _value_function(objective, X, y, vector, data, sample_weight, masks)
    check_repeats("objective.value", value, vector, finite=True)
    rng = np.random.default_rng(seed)

    data_part = penalty = None
    if not plain:
        penalty = _penalty_part(objective, vector)
        data_part = _data_part(objective, data, vector, masks, value, rng, notes)
    if data_part is None:
        measured, refuted = measure(value, vector, "auto", rng)
        note_refuted(notes, refuted, vector.size)
    elif penalty is not None:
        measured = data_part.plus(penalty)

    eps = precision_of(*given)
    whole = Part("F", np.asarray(given[-1], np.float64), measured)
    parts = [whole]
    if data_part is not None and penalty is not None and len(given) == 2 and eps == EPS:
        share = whole.given - given[0]
        rest = copy.copy(penalty)
        # F's gradient minus L's carries the rounding of both.
        rest.error = rest.error + 2 * EPS * (np.abs(whole.given) + np.abs(given[0]))
        parts = [Part("data", given[0], data_part), Part("penalty", share, rest)]

    terms = _penalty_terms(objective, vector)
    report = Report(_title(objective, len(data.X)), [], notes)
    for name, where in _blocks(net):
        row, report.details[name] = block_row(
            name,
            [_cut(part, where, eps) for part in parts],
            rtol,
            whole=_cut(whole, where, eps),
            n_samples=len(data.X),
            terms=[(told, term[where]) for told, term in terms],
        )
        report.rows.append(row)
    if data_part is not None and penalty is not None:
        _count_zeros(objective, vector, data_part, penalty.kink, report)
    if precision:
        _measure_precision(objective, X, y, vector, sample_weight, report)
    _locate(report)
    return report


def _in_double(objective: Objective, params: Array) -> tuple[Objective, Array]:
    """The objective on a float64 copy of the network, and the parameters in float64."""
    vector = params.astype(np.float64)
    if objective.net.dtype == np.float64:
        return objective, vector
    twin, net = copy.copy(objective), copy.copy(objective.net)
    net.dtype, net._params = np.dtype(np.float64), objective.net.params.astype(np.float64)
    twin.net = net
    return twin, vector


def _blocks(net: MLP) -> list[tuple[str, Array]]:
    """W1, b1, W2, …: the positions in the parameter vector, in the block's shape."""
    weights, biases = net.unpack(np.arange(net.n_params))
    return [
        block
        for layer, (W, b) in enumerate(zip(weights, biases, strict=True), start=1)
        for block in ((f"W{layer}", W), (f"b{layer}", b))
    ]


def _cut(part: Part, where: Array, eps: float) -> Part:
    return Part(part.name, part.given[where], widened(part.measured.take(where), eps))


def _given_gradients(
    objective: Objective,
    X: ArrayLike,
    y: ArrayLike,
    params: Array,
    sample_weight: ArrayLike | None,
    masks: list[Array] | None,
    gradient: ArrayLike | Callable[[Array], ArrayLike] | None,
) -> list[Array]:
    """What is to be judged: (∇L, ∇F), or just the ∇F that was handed in."""
    shape = params.shape
    if gradient is not None:
        if callable(gradient):
            return [as_gradient(check_repeats("gradient", gradient, params), shape)]
        return [as_gradient(gradient, shape)]
    if masks is not None:
        net = objective.net
        trace = net.trace(X, params, masks)
        dout = objective.loss.gradient(trace.outputs, y, sample_weight)
        data = net.backward(trace, dout, params)
        whole = data.copy()
        objective.add_subgradient(whole, params)
        return [data, whole]
    passed = []
    for name, method in (
        ("objective.data_gradient", objective.data_gradient),
        ("objective.gradient", objective.gradient),
    ):

        def at(p: Array, method: Any = method) -> Any:
            return method(X, y, params=p, sample_weight=sample_weight)

        passed.append(as_gradient(check_repeats(name, at, params), shape, name))
    return passed


def _value_function(
    objective: Objective,
    X: ArrayLike,
    y: ArrayLike,
    params: Array,
    data: Data,
    sample_weight: ArrayLike | None,
    masks: list[Array] | None,
) -> Callable[[Array], Any]:
    """F as the objective says it; with dropout masks, as its network and loss say it."""
    if masks is None:
        return lambda p: objective.value(X, y, params=p, sample_weight=sample_weight)

    def value(p: Array) -> Any:
        outputs = objective.net.trace(X, p, masks).outputs
        return objective.loss.value(outputs, y, sample_weight) + objective.penalty_value(p)

    return value


def _data_part(
    objective: Objective,
    data: Data,
    params: Array,
    masks: list[Array] | None,
    value: Callable[[Array], Any],
    rng: np.random.Generator,
    notes: list[str],
) -> Measured | None:
    """The derivatives of L by batched perturbations; None if those judge another function."""
    net = objective.net

    def reference(p: Array) -> Any:
        """L, from the forward code of the layers and the loss."""
        outputs = forward_pass(data.X, *net.unpack(p), net.activation, masks).outputs
        return objective.loss.weighted_sum(outputs, data.targets, data.weight)

    size = np.abs(params).max()
    for spread in (0.0, 1e-3, 0.1, 0.1):
        p = params + spread * max(size, 1e-3) * rng.standard_normal(params.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            data_value, penalty_value, whole = reference(p), objective.penalty_value(p), value(p)
        summed = sum(float(R.value(p[block])) for block, R in objective.penalised)
        for what, theirs, ours in (
            ("objective.value", whole, data_value + summed),
            ("objective.penalty_value", penalty_value, summed),
        ):
            if np.isfinite(ours) and not abs(ours - theirs) <= 1e-9 * max(abs(ours), abs(theirs)):
                notes.append(
                    f"{what} is not that of the network's layers, the loss and the penalty "
                    f"({theirs:.6g} against {ours:.6g}): judged by perturbing objective.value "
                    "parameter by parameter"
                )
                return None

    stencil = Perturbations(net, objective.loss, data, params, masks)
    layers, refuted = stencil.measure()
    measured = Measured.blank(params.shape)
    for layer, (W, b) in enumerate(zip(*net.unpack(np.arange(net.n_params)), strict=True)):
        measured.put(W, layers[layer].take(slice(None, -1)))
        measured.put(b, layers[layer].take(-1))
    if not _evaluators_agree(stencil, measured, reference, params, net, rng):
        notes.append(
            "the network's forward pass is not made of the layers that it should be made of: "
            "judged by perturbing objective.value parameter by parameter"
        )
        return None
    note_refuted(notes, int(refuted.sum()), params.size)
    return measured


def _evaluators_agree(
    stencil: Perturbations,
    measured: Measured,
    reference: Callable[[Array], Any],
    params: Array,
    net: MLP,
    rng: np.random.Generator,
) -> bool:
    """Do the batched perturbations differentiate the same function as the whole forward pass?

    By the complex step along random directions, which any wrong coordinate would change; where
    the forward pass drops imaginary parts, by a few real perturbations in each layer.
    """
    known = np.isfinite(measured.value)
    for _ in range(2):
        v = known * rng.choice([-1.0, 1.0], params.shape) * rng.uniform(1, 2, params.shape)
        slope = complex_slope(reference, params, v)
        expected = np.vdot(measured.value, v)
        size = np.vdot(np.abs(measured.value), np.abs(v))
        if not abs(slope - expected) <= 1e-9 * size + np.vdot(measured.error, np.abs(v)):
            break
    else:
        return True
    base = reference(params)
    weights, biases = net.unpack(np.arange(net.n_params))
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        places = np.concatenate([W.ravel(), b])
        k = np.append(rng.integers(0, len(places), 4), len(places) - 1)
        for delta in (0.1, 1.0):
            fast, _, _ = stencil.change(layer, k, np.full(len(k), delta))
            for change, place in zip(fast, places[k], strict=True):
                moved = params.copy()
                moved[place] += delta
                direct = reference(moved)
                if not abs(direct - base - change) <= 1e-9 * (abs(direct) + abs(base)):
                    return False
    return True


def _penalty_part(objective: Objective, params: Array) -> Measured:
    measured = Measured.blank(params.shape)
    for block, R in objective.penalised:
        measured.put(block, penalty_slopes(R, params[block].copy()))
    return measured


def _penalty_terms(objective: Objective, params: Array) -> list[tuple[str, Array]]:
    """Terms that a wrong gradient may lack or have too often, for the diagnosis."""
    terms = []
    own = np.zeros_like(params)
    objective.add_subgradient(own, params)
    if own.any():
        terms.append(("the penalty's gradient", own))
    for R in {id(R): R for _, R in objective.penalised}.values():
        try:
            term = np.asarray(R.subgradient(params.copy()), np.float64)
        except (TypeError, ValueError, IndexError):  # it takes just its own block
            continue
        if term.shape == params.shape:
            terms.append((f"the gradient of {R!r}", term))
    return terms


def _title(objective: Objective, n_samples: int) -> str:
    return (
        f"gradient of {objective.loss!r} of {objective.net!r}, "
        f"penalty {objective.penalty!r}, {n_samples} samples"
    )


def _count_zeros(
    objective: Objective, params: Array, data: Measured, kink: Array, report: Report
) -> None:
    """At penalised weights that are 0: is −∇L a subgradient of the penalty?"""
    at_zero, stationary = np.zeros((2, params.size), bool)
    for block, R in objective.penalised:
        if not R.smooth:
            w = params[block]
            at_zero[block] = (w == 0) & kink[block]
            residual = R.residual(w, data.value[block])
            stationary[block] = at_zero[block] & (residual <= data.error[block])
    for row, (_, where) in zip(report.rows, _blocks(objective.net), strict=True):
        if at_zero[where].any():
            row["zeros"] = {
                "count": int(at_zero[where].sum()),
                "stationary": int(stationary[where].sum()),
            }


def _measure_precision(
    objective: Objective,
    X: ArrayLike,
    y: ArrayLike,
    params: Array,
    sample_weight: ArrayLike | None,
    report: Report,
) -> None:
    """The float32 gradient against the float64 one, both at the same float32 numbers."""
    single = params.astype(np.float32)
    twin, net = copy.copy(objective), copy.copy(objective.net)
    net.dtype, net._params = np.dtype(np.float32), single
    twin.net = net
    rounded = np.asarray(X, dtype=np.float32)
    low = twin.gradient(rounded, y, params=single, sample_weight=sample_weight)
    exact = objective.gradient(
        rounded, y, params=single.astype(np.float64), sample_weight=sample_weight
    )
    for row, (_, where) in zip(report.rows, _blocks(objective.net), strict=True):
        largest = np.abs(exact[where]).max()
        off = np.abs(low[where] - exact[where]).max()
        row["precision"] = float(off / largest) if largest > 0 else float(off)


def _locate(report: Report) -> None:
    """What the pattern over the blocks says."""
    bad = [i for i, row in enumerate(report.rows) if row["mismatch"]]
    if not bad or len(report.rows) <= 2:
        return
    if len(bad) == 1:
        report.notes.append(f"only {report.rows[bad[0]]['block']} is wrong")
        return
    n_layers, top = len(report.rows) // 2, bad[-1] // 2 + 1
    layers = {i // 2 + 1 for i in bad}
    of_data = all(report.rows[i]["part"] != "penalty" for i in bad)
    if of_data and layers == set(range(1, top + 1)) and top < n_layers:
        report.notes.append(
            f"all is right from layer {top + 1} on and wrong before: look at what carries the "
            f"gradient from layer {top + 1} back to layer {top}"
        )
