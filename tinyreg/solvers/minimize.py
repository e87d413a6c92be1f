"""Full-batch solvers: minimise F = f + r on all samples at once, and say how good the point is.

f is the data loss and the smooth penalties, r the others.

===============  ================================================================================
"subgradient"    x ← x − t_k s,  s ∈ ∂F(x): no descent, no zeros; O(1/√k) with t_k ∝ 1/√k
"ista"           x ← prox_{t r}(x − t ∇f(x)): descent in every step; O(1/k) if convex
"fista"          the same from an extrapolated point y: O(1/k²) if convex (Beck and Teboulle 2009)
"lbfgs"          SciPy's L-BFGS-B; L1 by w = u − v with u, v ≥ 0, which makes |w| = u + v smooth
                 (Schmidt, Fung and Rosales 2007). Its line search compares values of F, so it
                 cannot bring the residual much below the square root of the rounding, 1e-8
===============  ================================================================================

**Backtracking.** t is right when f lies below its quadratic model at the point of arrival:
f(x₊) ≤ f(y) + ∇f(y)·d + ‖d‖²/(2t), d = x₊ − y. It is halved until that holds, and lengthened a
little after each step, so that it follows the curvature. Near the end both sides agree to
rounding; there f(x₊) − f(y) − ∇f(y)·d is taken as ½ d·(∇f(x₊) − ∇f(y)), its value to third order,
which does not cancel. (The O(1/k²) bound is proved for steps that never grow. Scheinberg, Goldfarb
and Bai (2014) keep it for growing ones by damping the momentum with the ratio of the steps. On
networks that costs most of the acceleration: with it, 6000 iterations on the digits with 64 tanh
units end at a residual of 2e-4, without it below 1e-6.)

**On networks** F is not convex and no bound is known. Two safeguards make "fista" a descent method
all the same: where the extrapolated step raises F it is taken back and the next one starts from x
itself, which is a plain proximal step; and momentum restarts when it points uphill (O'Donoghue and
Candès, Found. Comput. Math. 15, 2015).

A solver stops when the distance of −∇L to ∂R, at the point that it returns, is at most `tol` for
every coordinate (and where there is a duality gap, that too). A small step proves nothing.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from tinyreg.core.objective import Data, Objective
from tinyreg.core.optimizers import Schedule, learning_rate
from tinyreg.core.penalties import L1, ElasticNet, Penalty
from tinyreg.errors import DivergenceError
from tinyreg.solvers.duality import duality_gap, is_convex
from tinyreg.validate import Array, check_choice, check_integer, check_number, describe

SOLVERS = ("subgradient", "ista", "fista", "lbfgs")
LENGTHEN = 1.1  # the step after an accepted one
STALLED = 1e-8  # a step this much shorter than the first: the quadratic model has no scale here
CRAWLING, PATIENCE = 1e-4, 500  # so short, and F falling by so small a share, for so long: as well
TINY = 1e-14  # the shortest step worth trying first
AT_KINK = 1e-6  # of the largest pre-activation: one this near to 0 is on its kink
ROUNDING = 1e-13  # relative; below this, differences of F say nothing


class Run:
    """The objective on its data as a solver sees it, and the record of the iterates."""

    def __init__(self, objective: Objective, data: Data, tol: float) -> None:
        self.objective = objective
        self.data = data
        self.tol = tol
        self.nfev = 0
        self.seconds = 0.0
        self.began = time.perf_counter()
        self.history: dict[str, list[float]] = {"objective": [], "stationarity": [], "seconds": []}
        self.best = objective.net.params.copy()
        self.best_record: tuple[float, float, float | None] = (math.inf, math.inf, None)

    def evaluate(self, params: Array) -> tuple[float, Array, Array]:
        """f, ∇f and ∇L."""
        self.nfev += 1
        value, data_gradient = self.objective.data_value_and_gradient(self.data, params)
        gradient = data_gradient.copy()
        self.objective.add_subgradient(gradient, params, smooth_only=True)
        return value + self.objective.penalty_value(params, True), gradient, data_gradient

    def total(self, smooth_value: float, params: Array) -> float:
        """F, given f."""
        objective = self.objective
        return (
            smooth_value + objective.penalty_value(params) - objective.penalty_value(params, True)
        )

    def meets(self, total: float, stationarity: float, gap: float | None) -> bool:
        """Whether a point is as good as was asked for; a gap is compared with F itself."""
        return stationarity <= self.tol and (gap is None or gap <= self.tol * max(1.0, abs(total)))

    def record(self, params: Array, total: float, data_gradient: Array) -> bool:
        """Note an iterate, outside the clock; True if it is stationary to the tolerance."""
        self.seconds += time.perf_counter() - self.began
        stationarity = float(self.objective.residual_of(data_gradient, params).max())
        gap = duality_gap(self.objective, self.data, params, total)
        self.history["objective"].append(total)
        self.history["stationarity"].append(stationarity)
        self.history["seconds"].append(self.seconds)
        if gap is not None:
            self.history.setdefault("gap", []).append(gap)
        done = self.meets(total, stationarity, gap)
        if total < self.best_record[0] or done:
            self.best[:] = params
            self.best_record = (total, stationarity, gap)
        self.began = time.perf_counter()
        return done


def minimize(
    objective: Objective,
    X: ArrayLike,
    y: ArrayLike,
    solver: str = "fista",
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    step: float | Schedule | None = None,
    sample_weight: ArrayLike | None = None,
) -> optimize.OptimizeResult:
    """Minimise the objective over all samples, from the network's parameters, in place.

    Parameters
    ----------
    objective : Objective
    X : (N, n_in) array
    y : array
        The targets, as the loss wants them.
    solver : "subgradient", "ista", "fista" or "lbfgs"
        See the module's docstring. "lbfgs" takes smooth penalties, L1 and ElasticNet.
    tol : float
        > 0: the stationarity residual to reach, and where there is a duality gap, the gap as a
        share of max(1, |F|).
    max_iter : int
        At most so many iterations, ≥ 1.
    step : float or schedule, optional
        "subgradient": the step size t, or a function of the number of steps done, such as
        `optimizers.inverse_sqrt(0.1)`; left out, inverse_sqrt(0.1). "ista" and "fista": a fixed
        step size (1/L, say) in place of backtracking. "lbfgs" has its own.
    sample_weight : (N,) array, optional

    Returns
    -------
    scipy.optimize.OptimizeResult
        x : (n_params,) array, the network's parameters now: the last iterate, or the best one of
        a method that does not descend;
        fun : F(x);  stationarity : the residual at x;
        gap : a bound of F(x) − min F where the problem is convex and has one, else None;
        success : whether x meets `tol`;  message : why it stopped;
        nit, nfev : iterations, and evaluations of f with its gradient;
        history : a dict of lists with an entry for the start and for each iterate (a step that
        was taken back makes none): "objective", "stationarity", "seconds", and "gap" where there
        is one.

    Raises
    ------
    DivergenceError
        If the objective is not finite at the start.
    ValueError, TypeError
        If an argument is not as it should be, or "lbfgs" cannot take the penalty.

    Examples
    --------
    >>> from tinyreg import L1, MLP, SquaredError
    >>> X, y = np.eye(4)[:, :2] * 2, np.array([3.0, 0.1, 0.0, 0.0])
    >>> F = Objective(MLP((2, 1)), SquaredError(), L1(0.1))
    >>> result = minimize(F, X, y, tol=1e-10)
    >>> result.success, F.net.weights[0].ravel().round(4), result.gap < 1e-10
    (True, array([1.35, 0.  ]), True)
    """
    if not isinstance(objective, Objective):
        raise TypeError(f"objective must be an Objective, got {describe(objective)}")
    check_choice("solver", solver, SOLVERS)
    check_number("tol", tol, above=0)
    check_integer("max_iter", max_iter, least=1)
    if step is not None:
        if solver == "lbfgs":
            raise ValueError("step goes with subgradient, ista and fista; lbfgs finds its own")
        if not callable(step):
            step = check_number("step", step, above=0)
        elif solver != "subgradient":
            raise TypeError(f"step must be a number for {solver}, got {describe(step)}")
    split = _split(objective) if solver == "lbfgs" else None
    data = objective.check(X, y, sample_weight)

    run = Run(objective, data, tol)
    start = objective.net.params.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        smooth_value, gradient, data_gradient = run.evaluate(start)
        total = run.total(smooth_value, start)
        if not (np.isfinite(total) and np.isfinite(gradient).all()):
            raise DivergenceError(f"the objective is {total} at the start")
        if run.record(start, total, data_gradient):
            nit, why = 0, ""
        elif solver == "subgradient":
            nit, why = _subgradient(run, start, data_gradient, step, max_iter)
        elif split is not None:
            nit, why = _lbfgs(run, start, split, max_iter)
        else:
            first = (smooth_value, gradient, data_gradient)
            nit, why = _proximal(run, start, first, step, max_iter, solver == "fista")

    objective.net.params = run.best
    total, stationarity, gap = run.best_record
    success = run.meets(total, stationarity, gap)
    if success:
        word = "optimal" if is_convex(objective) else "stationary"
        why = f"{word}: the stationarity residual is {stationarity:.1e}"
        why += "" if gap is None else f" and the duality gap {gap:.1e}"
    else:
        why += f"; the stationarity residual is {stationarity:.1e}, wanted {tol:.1e}"
        why += "" if gap is None else f", the duality gap {gap:.1e}"
    result: dict[str, Any] = {
        "x": objective.net.params.copy(),
        "fun": total,
        "nit": nit,
        "nfev": run.nfev,
        "success": success,
        "message": why,
        "stationarity": stationarity,
        "gap": gap,
        "history": run.history,
    }
    return optimize.OptimizeResult(**result)


def _subgradient(
    run: Run,
    x: Array,
    data_gradient: Array,
    step: float | Schedule | None,
    max_iter: int,
) -> tuple[int, str]:
    schedule: float | Schedule = (lambda k: 0.1 / math.sqrt(k + 1)) if step is None else step
    for k in range(max_iter):
        slope = data_gradient.copy()
        run.objective.add_subgradient(slope, x)
        x = x - learning_rate(schedule, k) * slope
        smooth_value, _, data_gradient = run.evaluate(x)
        total = run.total(smooth_value, x)
        if not (np.isfinite(total) and np.isfinite(data_gradient).all()):
            return k + 1, f"the objective became {total} in iteration {k + 1}: a smaller step"
        if run.record(x, total, data_gradient):
            return k + 1, ""
    return max_iter, f"max_iter={max_iter} reached"


def _proximal(
    run: Run,
    x: Array,
    at_x: tuple[float, Array, Array],
    step: float | Schedule | None,
    max_iter: int,
    accelerated: bool,
) -> tuple[int, str]:
    """ISTA, and with `accelerated` FISTA: both are a proximal step from y, with y = x in ISTA."""
    fixed = step is not None
    t = 1.0 if step is None else learning_rate(step, 0)
    first_t = None
    total = run.total(at_x[0], x)
    crawled, total_then = 0, total
    y, at_y, theta = x, at_x, 1.0
    for k in range(1, max_iter + 1):
        gradient_y = at_y[1]
        shortened = False
        while True:
            x_new = y - t * gradient_y
            run.objective.prox(x_new, t)
            at_new = run.evaluate(x_new)
            if fixed or _below_model(at_y, at_new, x_new - y, t):
                break
            t, shortened = t / 2, True
            if t < (TINY if first_t is None else STALLED * first_t):
                return k, _why_stalled(run, x)
        first_t = t if first_t is None else first_t
        if t >= CRAWLING * first_t:
            crawled, total_then = 0, total
        crawled += 1
        if crawled > PATIENCE:
            if total_then - total < CRAWLING * abs(total):
                return k, _why_stalled(run, x)
            crawled, total_then = 0, total
        total_new = run.total(at_new[0], x_new)
        if not (np.isfinite(total_new) and np.isfinite(at_new[1]).all()):
            return k, f"the objective became {total_new} in iteration {k}: a smaller step"

        if y is not x and total_new > total + ROUNDING * abs(total):
            y, at_y, theta = x, at_x, 1.0  # the extrapolation went too far: again from x
            continue
        if run.record(x_new, total_new, at_new[2]):
            return k, ""
        uphill = float((y - x_new) @ (x_new - x)) > 0
        if not (fixed or shortened):
            t *= LENGTHEN
        if accelerated and not uphill:
            theta_new = (1 + math.sqrt(1 + 4 * theta**2)) / 2
            y = x_new + (theta - 1) / theta_new * (x_new - x)
            at_y = run.evaluate(y) if theta > 1 else at_new
            theta = theta_new
        else:
            y, at_y, theta = x_new, at_new, 1.0
        x, at_x, total = x_new, at_new, total_new
    return max_iter, f"max_iter={max_iter} reached"


def _below_model(
    at_y: tuple[float, Array, Array], at_new: tuple[float, Array, Array], d: Array, t: float
) -> bool:
    """Whether f(x₊) ≤ f(y) + ∇f(y)·d + ‖d‖²/(2t)."""
    if not np.isfinite(at_new[0]):
        return False
    excess = at_new[0] - at_y[0] - float(at_y[1] @ d)
    if abs(excess) <= 1e3 * ROUNDING * max(abs(at_y[0]), abs(at_new[0])):
        excess = 0.5 * float((at_new[1] - at_y[1]) @ d)
    return bool(excess <= float(d @ d) / (2 * t))


def _why_stalled(run: Run, x: Array) -> str:
    """A line search without end: at a kink of the data loss, or for no reason that is known."""
    net = run.objective.net
    if net.activation in ("relu", "leaky_relu") and len(net.sizes) > 2:
        hidden = net.trace(run.data.X, x).pre_activations[:-1]
        nearest = min(float(np.abs(z).min()) for z in hidden)
        if nearest <= AT_KINK * max(float(np.abs(z).max()) for z in hidden):
            return (
                f"stalled at a kink of the data loss: the nearest pre-activation is {nearest:.1e} "
                f"from 0, where {net.activation} is not differentiable, and steps of useful size "
                "raise F"
            )
    return "the line search failed: steps of useful size raise F"


def unsplittable(objective: Objective) -> list[Penalty]:
    """The penalties that "lbfgs" cannot take: neither smooth nor L1 nor ElasticNet."""
    return [
        getattr(R, "penalty", R)
        for _, R in objective.penalised
        if not (R.smooth or type(R) in (L1, ElasticNet))  # a subclass may be another function
    ]


def _split(objective: Objective) -> tuple[Array, Array]:
    """l1 and l2 for each coordinate, of the penalties that are not smooth."""
    refused = unsplittable(objective)
    if refused:
        raise ValueError(
            f"solver 'lbfgs' takes smooth penalties, L1 and ElasticNet, got {refused[0]!r}; "
            f"'ista' and 'fista' take any"
        )
    l1, l2 = np.zeros(objective.net.n_params), np.zeros(objective.net.n_params)
    for block, R in objective.penalised:
        if isinstance(R, L1):
            l1[block] = R.lam
        elif isinstance(R, ElasticNet):
            l1[block], l2[block] = R.l1, R.l2
    return l1, l2


def _lbfgs(run: Run, x: Array, split: tuple[Array, Array], max_iter: int) -> tuple[int, str]:
    """L-BFGS-B over (u, v): w = u − v and |w| = u + v where l1 > 0, else w = u."""
    l1, l2 = split
    kinked = np.flatnonzero(l1)
    weight = l1[kinked]
    dtype = x.dtype

    def parameters(q: Array) -> Array:
        w = q[: len(x)].copy()
        w[kinked] -= q[len(x) :]
        return w.astype(dtype, copy=False)

    last: dict[str, Array | float] = {}

    def f(q: Array) -> tuple[float, Array]:
        w = parameters(q)
        smooth_value, gradient, data_gradient = run.evaluate(w)
        gradient = gradient + 2 * l2 * w
        last.update(q=q.copy(), smooth=smooth_value, data_gradient=data_gradient)
        both = q[kinked] + q[len(x) :]
        value = smooth_value + np.sum(l2 * w * w) + weight @ both
        g = np.concatenate([gradient, -gradient[kinked]]).astype(np.float64)
        g[kinked] += weight
        g[len(x) :] += weight
        return float(value), g

    class Done(Exception):
        """The iterate is stationary to the tolerance."""

    nit = 0

    def at_iterate(q: Array) -> None:
        nonlocal nit
        nit += 1
        if not np.array_equal(q, last["q"]):  # the line search may end on an earlier trial
            f(q)
        w = parameters(q)
        if run.record(w, run.total(float(last["smooth"]), w), np.asarray(last["data_gradient"])):
            raise Done

    start = x.astype(np.float64)
    q0 = np.concatenate([start, np.maximum(-start[kinked], 0)])
    q0[kinked] = np.maximum(start[kinked], 0)
    lower = np.full(len(q0), -np.inf)
    lower[kinked] = lower[len(x) :] = 0
    settings: dict[str, Any] = {
        "jac": True,
        "method": "L-BFGS-B",
        "bounds": optimize.Bounds(lower, np.inf),
        "callback": at_iterate,
        # The tolerances of its own are off: `record` decides.
        "options": {"maxiter": max_iter, "maxfun": 10**9, "ftol": 0, "gtol": 0, "maxcor": 30},
    }
    try:
        found = optimize.minimize(f, q0, **settings)
    except Done:
        return nit, ""
    if nit >= max_iter:
        return nit, f"max_iter={max_iter} reached"
    return nit, f"L-BFGS-B stopped: {found.message}"
