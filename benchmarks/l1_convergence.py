"""L1 on all samples at once: who reaches a stationary point, and who finds the inputs that matter?

    python -m benchmarks.l1_convergence [--quick] [--figure FILE.png]

Two tables. First, the solvers on the digits: FISTA must bring the stationarity residual of a tanh
network to 1e-6, while the subgradient method with a constant step stays above 1e-3; a ReLU network
may end at a kink of its own data loss, and then FISTA must say so. Second, a teacher network of
which only 5 of 30 inputs matter: which inputs does each method leave with a nonzero weight? The λ
were chosen on seeds 0 to 5, the table is of others; the prox must find just the 5 in more than half
of the runs, the subgradient in none. The script fails otherwise. All run on one thread.
"""

from __future__ import annotations

import argparse
import os
import time

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import numpy as np

import tinyreg as tr
from tinyreg.datasets import sparse_teacher
from tinyreg.render.text import text_table
from tinyreg.study.convergence import largest_curvature

INPUTS, RELEVANT = 30, 5
FIRST_SEED = 100  # λ was chosen on others


def solvers_on_digits(quick: bool) -> None:
    X, y = tr.load_digits()
    hidden, samples, iterations, tol = (16, 400, 4000, 1e-5) if quick else (64, 1797, 6000, 1e-6)
    X, y = X[:samples], y[:samples]
    print(f"digits, {samples} samples, 64-{hidden}-10, L1(1e-3), at most {iterations} iterations\n")
    rows, messages = [["net", "solver", "iterations", "F", "residual", "zeros", "s"]], []
    for activation, solver in (("tanh", "fista"), ("tanh", "subgradient"), ("relu", "fista")):
        net = tr.MLP((64, hidden, 10), activation, seed=0)
        F = tr.Objective(net, tr.SoftmaxCrossEntropy(), tr.L1(1e-3))
        step = 1 / largest_curvature(F, X, y) if solver == "subgradient" else None
        result = tr.minimize(F, X, y, solver, tol=tol, max_iter=iterations, step=step)
        zeros = np.mean(net.params[: net.n_weights] == 0)
        told = f"{result.fun:.6f}", f"{result.stationarity:.1e}", f"{100 * zeros:.1f} %"
        spent = f"{result.history['seconds'][-1]:.1f}"
        rows.append([activation, solver, str(result.nit), *told, spent])
        messages.append(f"{activation}, {solver}: {result.message}")
        if (activation, solver) == ("tanh", "fista"):
            assert result.success, "FISTA did not reach the tolerance on the tanh net"
        elif solver == "subgradient":
            assert min(result.history["stationarity"]) > 1e-3
            assert zeros == 0
        else:
            assert result.success or "kink" in result.message or "max_iter" in result.message
    print("\n".join([*text_table(rows, left=2, rule=True), "", *messages]), flush=True)


PENALTIES = {
    "no penalty": (None, "fista"),
    "L1 by subgradient": (tr.L1(0.04), "subgradient"),
    "L1 by prox": (tr.L1(0.04), "fista"),
    "group lasso by prox": (tr.GroupLasso(0.01, axis=1), "fista"),
}


def recovery(seeds: int) -> dict[str, np.ndarray]:
    """The first layer's row norms by method, for the first seed, and the truth."""
    print(f"\nsparse teacher: {RELEVANT} of {INPUTS} inputs matter, 1500 samples, {seeds} seeds\n")
    rows = [["method", "support right", "too many", "missing", "R²"]]
    norms: dict[str, np.ndarray] = {}
    for name, (R, solver) in PENALTIES.items():
        right, too_many, missing, scores = 0, [], [], []
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            X, y, relevant = sparse_teacher(1500, INPUTS, RELEVANT, seed=seed)
            net = tr.MLP((INPUTS, 16, 1), "tanh", seed=0)
            # L2 on the second layer: else it would grow while the first one shrinks under R.
            F = tr.Objective(net, tr.SquaredError(), [R, tr.L2(1e-2)])
            tr.minimize(F, X, y, solver, tol=1e-5, max_iter=2000)
            found, truth = net.weights[0].any(axis=1), np.isin(np.arange(INPUTS), relevant)
            too_many.append(np.sum(found & ~truth))
            missing.append(np.sum(truth & ~found))
            right += np.array_equal(found, truth)
            scores.append(tr.SquaredError().score(net.forward(X), y[:, np.newaxis]))
            if seed == FIRST_SEED:
                norms[name], norms["truth"] = np.linalg.norm(net.weights[0], axis=1), truth
        extra, lost = f"{np.mean(too_many):.1f}", f"{np.mean(missing):.1f}"
        rows.append([name, f"{right} of {seeds}", extra, lost, f"{np.mean(scores):.3f}"])
        if "prox" in name:
            assert right > seeds / 2, f"{name} missed the support"
        else:
            assert min(too_many) == INPUTS - RELEVANT
    print("\n".join(text_table(rows, rule=True)))
    return norms


def draw(norms: dict[str, np.ndarray], path: str) -> None:
    from matplotlib.figure import Figure

    truth = norms.pop("truth")
    figure = Figure(figsize=(11, 5), layout="constrained")
    rows = figure.subplots(len(norms), 1, sharex=True)
    for axes, (name, values) in zip(rows, norms.items(), strict=True):
        colours = np.where(truth, "#0072B2", "#D55E00")
        # A bar of height 0 is no bar: what is exactly 0 has a cross in its place.
        axes.bar(np.arange(INPUTS), np.maximum(values, 1e-6), color=colours)
        axes.plot(np.flatnonzero(values == 0), np.full(np.sum(values == 0), 2e-6), "kx", ms=4)
        axes.set_yscale("log")
        axes.set_ylim(1e-6, 5)
        axes.set_title(name, fontsize="medium", loc="left")
    rows[-1].set_xlabel("input (blue: it matters to the teacher; ×: its weights are exactly 0)")
    figure.supylabel("norm of the input's weights")
    figure.savefig(path, dpi=100)
    print(f"\nwrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller problem, in seconds")
    parser.add_argument("--figure", metavar="FILE", help="draw the support recovery there")
    arguments = parser.parse_args()
    print(machine_line() + "\n")
    began = time.perf_counter()
    solvers_on_digits(arguments.quick)
    norms = recovery(4 if arguments.quick else 30)
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    if arguments.figure:
        draw(norms, arguments.figure)


if __name__ == "__main__":
    main()
