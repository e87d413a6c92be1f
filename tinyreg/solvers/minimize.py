"""Full-batch solvers: minimise F = f + r on all samples at once, and say how good the point is.

f is the data loss and the smooth penalties, r the others.

===============  ================================================================================
"subgradient"    x ← x − t_k s,  s ∈ ∂F(x): no descent, no zeros; O(1/√k) with t_k ∝ 1/√k
"ista"           x ← prox_{t r}(x − t ∇f(x)): descent in every step; O(1/k) if convex
"fista"          the same from an extrapolated point y: O(1/k²) if convex (Beck and Teboulle 2009)
"lbfgs"          SciPy's L-BFGS-B on w = u − v, u, v ≥ 0. Its line search compares values of F
                 and ends where they differ by their rounding: on standardised data at a
                 residual of 1e-10 to 1e-8, which grows with X and y
===============  ================================================================================

A solver stops when the distance of −∇L to ∂R, at the point that it returns, is at most `tol` for
every coordinate, and where there is a duality gap, that too. A small step proves nothing. Nor does
a small residual prove that F is near its minimum, even if F is convex: it is a slope, in the units
of X and y, and how far F still falls along it is not known. Only a gap tells, and only then is a
point called optimal; without one (hidden layers, no penalty, `GroupLasso`, a penalty of the biases)
it is called stationary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from tinyreg.core.objective import Objective
from tinyreg.core.optimizers import Schedule
from tinyreg.errors import DivergenceError
from tinyreg.solvers.lbfgs import lbfgs, unsplittable
from tinyreg.solvers.proximal import proximal, subgradient
from tinyreg.solvers.run import Run
from tinyreg.solvers.schedules import inverse_sqrt
from tinyreg.validate import (
    Data,
    check_choice,
    check_integer,
    check_number,
    check_type,
    describe,
)

SOLVERS = ("subgradient", "ista", "fista", "lbfgs")


def minimize(
    objective: Objective,
    X: Data,
    y: ArrayLike,
    solver: str = "fista",
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    step: float | Schedule | None = None,
    sample_weight: ArrayLike | None = None,
) -> optimize.OptimizeResult:
    """Minimise the objective over all samples, from the network's parameters, in place.

    Interrupted (by Ctrl-C, say), it leaves the best point so far in the network. An error, such as
    one of the schedule's own, leaves the network as it was.

    Parameters
    ----------
    objective : Objective
    X : (N, n_in) array or `scipy.sparse` matrix
    y : array
        The targets, as the loss wants them.
    solver : "subgradient", "ista", "fista" or "lbfgs"
        See the module's docstring. "lbfgs" takes smooth penalties, L1 and ElasticNet.
    tol : float
        > 0: the stationarity residual to reach, and where there is a duality gap, the gap as a
        share of max(|F|, F₀), with F₀ = L at zero parameters but at most 1.
    max_iter : int
        At most so many iterations, ≥ 1.
    step : float or schedule, optional
        "subgradient": the step size t, or a function of the number of steps done, such as
        `schedules.inverse_sqrt(0.1)`; left out, inverse_sqrt(0.1). "ista" and "fista": a fixed
        step size (1/L, say) in place of backtracking. "lbfgs" has its own.
    sample_weight : (N,) array, optional

    Returns
    -------
    scipy.optimize.OptimizeResult
        x : (n_params,) array, the network's parameters now: the last iterate, or the best one of
        a method that does not descend;
        fun : F(x);  stationarity : the residual at x;
        gap : a bound of F(x) − min F where the problem is convex and has one, else None;
        success : whether x meets `tol`;  message : why it stopped, from "optimal: " on where a
        gap proves it, from "stationary: " on where x meets `tol` and there is no gap;
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
    check_type("objective", objective, Objective, "an Objective")
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
    if solver == "lbfgs" and (refused := unsplittable(objective)):
        raise ValueError(
            f"solver 'lbfgs' takes smooth penalties, L1 and ElasticNet, got {refused[0]!r}; "
            f"'ista' and 'fista' take any"
        )
    problem = objective.on(X, y, sample_weight)
    nit, why = 0, ""
    with np.errstate(over="ignore", invalid="ignore"):
        run = Run(problem, tol)
        if not run.start.is_finite:
            raise DivergenceError(f"the objective is {run.start.value} at the start")
        try:
            if not run.record(run.start):
                if solver == "subgradient":
                    t = inverse_sqrt(0.1) if step is None else step
                    nit, why = subgradient(run, max_iter, t)
                elif solver == "lbfgs":
                    nit, why = lbfgs(run, max_iter)
                else:
                    nit, why = proximal(run, max_iter, step, accelerated=solver == "fista")
        except (KeyboardInterrupt, SystemExit):
            objective.net.params = run.best.theta
            raise
        stationarity, gap, success = run.judge(run.best)
    message = f"the stationarity residual is {stationarity:.1e}"
    if not success:
        message = f"{why or f'max_iter={max_iter} reached'}; {message}, wanted {tol:.1e}"
    elif gap is None:
        message = f"stationary: {message}; how far F is from its minimum is not known"
    else:
        message = f"optimal: {message}"
    if gap is not None:
        message += f"{' and' if success else ','} the duality gap {gap:.1e}"
    objective.net.params = run.best.theta
    result: dict[str, Any] = {
        "x": run.best.theta.copy(), "fun": run.best.value, "stationarity": stationarity,
        "gap": gap, "success": success, "message": message, "nit": nit, "nfev": run.nfev,
        "history": run.history,
    }  # fmt: skip
    return optimize.OptimizeResult(**result)
