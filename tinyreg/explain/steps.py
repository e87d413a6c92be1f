"""A few steps of SGD from the same weights, by subgradient and by prox."""

from __future__ import annotations

import numpy as np

from tinyreg.core.objective import Problem
from tinyreg.core.optimizers import SGD
from tinyreg.core.training import step
from tinyreg.errors import DivergenceError
from tinyreg.explain.onepass import OnePass, Written
from tinyreg.render.document import Table, number
from tinyreg.validate import Array


def steps(this: OnePass, lr: float, n: int) -> list[Written]:
    """What the two methods do to three weights, in numbers, and to all, in words."""
    penalised = this.problem.objective.penalised
    among = np.r_[tuple(B.span for B, _ in penalised)]
    smooth = [R.smooth for _, R in penalised]
    by_subgradient = path_by(this.problem, lr, n, "subgradient")
    by_prox = path_by(this.problem, lr, n, "proximal")
    chosen = [(k, this.name(k)) for k in most_telling(by_prox, among)]
    samples = "this sample" if len(this.trace.outputs) == 1 else "these samples"
    said = f"SGD with η = {number(lr)} on {samples}"
    rule = "`w ← w − η (∂L/∂w + s)`, where s is the penalty's slope at w"
    if all(smooth):
        said += (
            f": {rule}. The penalty has a slope everywhere, so that "
            'method="proximal" goes by it too, and takes the same steps.'
        )
        paths, heads, told = {"By gradient": by_subgradient}, ["`{}`"], []
    else:
        said += (
            f", twice from the same weights. By subgradient: {rule}. By prox: "
            "`w ← prox(w − η ∂L/∂w)`."
        )
        said += " Smooth penalties go by their slope there too." if any(smooth) else ""
        paths = {"By subgradient": by_subgradient, "By prox": by_prox}
        heads = ["`{}` subgr.", "prox"]
        told = [_at_rest(name, by_subgradient[:, k], by_prox[:, k]) for k, name in chosen]
        if by_prox[-1, among].all():
            told.append(f"A larger λ or η, or more steps than {n}, would show weights at rest.")
    told = [*(_told(method, path[:, among]) for method, path in paths.items()), *told]
    headers = ["step", *(head.format(name) for _, name in chosen for head in heads)]
    rows = [[str(t), *(p[t, k] for k, _ in chosen for p in paths.values())] for t in range(n + 1)]
    return [said, Table(headers, rows, rule=True), " ".join(filter(None, told))]


def path_by(problem: Problem, lr: float, n: int, method: str) -> Array:
    """The parameters before the first step and after each, (n + 1, n_params)."""
    params, optimizer = problem.objective.net.params, SGD(lr)
    state, path = optimizer.start(params), [params.copy()]
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(1, n + 1):
            step(problem.objective, optimizer, state, problem.data_gradient(), method)
            if not np.isfinite(params).all():
                raise DivergenceError(
                    f"the steps by {method} diverged at step {t}; try a learning rate below {lr:g}"
                )
            path.append(params.copy())
    params[...] = path[0]  # the next method begins there too
    return np.array(path)


def most_telling(path: Array, among: Array, most: int = 3) -> list[int]:
    """The weights that the prox puts to 0 first, but one, and then the largest."""
    zero = (path[:, among] == 0) & (path[0, among] != 0)
    when = np.where(zero.any(axis=0), zero.argmax(axis=0), len(path))
    first = among[np.argsort(when, kind="stable")][: min(most - 1, zero.any(axis=0).sum())].tolist()
    large = among[np.argsort(-np.abs(path[0, among]), kind="stable")].tolist()
    return [*first, *(k for k in large if k not in first)][:most]


def _told(method: str, path: Array) -> str:
    """What happened to all penalised weights along a path."""
    zeros = int(np.sum(path[-1] == 0))
    return (
        f"{method}, the {_times(path.shape[1], 'penalised parameter')} changed sign "
        f"{_times(_flips(path), 'time')} in {_times(len(path) - 1, 'step')}, and "
        f"{zeros or 'none'} of them {'are' if zeros > 1 else 'is'} exactly 0 at the end."
    )


def _at_rest(name: str, by_subgradient: Array, by_prox: Array) -> str:
    """What one weight did, if the prox has put it to rest."""
    since = max(np.flatnonzero(by_prox), default=-1) + 1
    if since == len(by_prox):
        return ""
    return (
        f"{name} rests at exactly 0 from step {since} on by prox; by subgradient it changed sign "
        f"{_times(_flips(by_subgradient), 'time')}, and is {number(by_subgradient[-1])} at the end."
    )


def _flips(path: Array) -> int:
    """How often a sign changes from one step to the next."""
    signs = np.sign(path)
    return int(np.sum(signs[1:] * signs[:-1] < 0))


def _times(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"
