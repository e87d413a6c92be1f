"""L1: who reaches a stationary point, who finds the inputs that matter, and whose zeros are right?

    python -m benchmarks.l1_convergence [--quick] [--figures DIR]

Three parts. First, the solvers on the digits: FISTA must bring the stationarity residual of a tanh
network to 1e-6, while the subgradient method with a constant step stays above 1e-3; a ReLU network
may end at a kink of its own data loss, and then FISTA must say so. Second, a teacher network of
which only 5 of 30 inputs matter: which inputs does each method leave with a nonzero weight? The λ
were chosen on seeds 0 to 5, the table is of others; the prox must find just the 5 in more than half
of the runs, the subgradient in none. Third, minibatches: of linear models scikit-learn knows the
optimum, and variance reduction must end with its zeros and no others at every batch size, with a
constant and with a decaying step. Plain proximal SGD has three times the epochs, so that both take
as many gradients. The script fails otherwise. All run on one thread.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from pathlib import Path

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import numpy as np

import tinyreg as tr
from tinyreg.datasets import sparse_teacher
from tinyreg.datasets.scaling import standardise
from tinyreg.render.text import text_table
from tinyreg.solvers.schedules import cosine
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


# λ, and the constant step at batches of one. Larger batches take larger steps.
LINEAR = {
    "lasso": (tr.SquaredError(), 0.1, 0.005),
    "logistic": (tr.SigmoidCrossEntropy(), 0.02, 0.06),
    "multinomial": (tr.SoftmaxCrossEntropy(), 0.02, 0.09),
}
LONGER = {1: 1, 8: 4, 32: 10, 400: 60}
REAL = [  # λ, and the step at batches of 8
    ("diabetes", "lasso", 0.05, 0.02),
    ("breast cancer", "logistic", 0.02, 0.1),
    ("digits", "multinomial", 0.005, 0.2),
]


def planted(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """400 samples of 30 inputs, of which three have weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    noise = {"lasso": rng.normal, "logistic": rng.logistic, "multinomial": rng.gumbel}[kind]
    if kind == "multinomial":
        W = [[2, -1, 0], [-1, 1, 1], [1, 0, -2]]
        return X, np.argmax(X[:, :3] @ W + 0.3 * noise(size=(400, 3)), axis=1)
    y = X[:, :3] @ [2, -1, 1] + 0.3 * noise(size=400)
    return X, y if kind == "lasso" else y > 0


def measured(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Real data of this kind: diabetes (442 × 10), breast cancer (569 × 30), digits (1797 × 64)."""
    from sklearn import datasets

    if kind == "multinomial":
        return tr.load_digits()
    load = datasets.load_diabetes if kind == "lasso" else datasets.load_breast_cancer
    X, y = load(return_X_y=True)
    return standardise(X)[0], standardise(y)[0] if kind == "lasso" else y


def optimum(loss: tr.SquaredError, X: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    """θ at the minimum of F, by scikit-learn."""
    from sklearn.linear_model import Lasso, LogisticRegression

    if isinstance(loss, tr.SquaredError):
        model = Lasso(alpha=lam, tol=1e-14)
    else:
        settings = {"solver": "saga", "l1_ratio": 1.0, "tol": 1e-11, "max_iter": 100_000}
        model = LogisticRegression(C=1 / (lam * len(X)), **settings)
    model.fit(X, y)
    return np.append(np.reshape(model.coef_, (-1, X.shape[1])).T.ravel(), model.intercept_)


def zeros(kind, X, y, lam, step, batch, epochs, decaying=False):
    """Cells of a row; wrong zeros of SVRG, plain SGD and `minimize` from there; the curves."""
    loss, n_outputs = LINEAR[kind][0], max(y) + 1 if kind == "multinomial" else 1
    best = optimum(loss, X, y, lam)
    F = tr.Objective(tr.MLP((X.shape[1], n_outputs)), loss, tr.L1(lam)).on(X, y)
    net, n_weights = F.objective.net, F.objective.net.n_weights
    alive, cells, curves, wrong = best[:n_weights] != 0, [], [], []

    def compare() -> None:
        wrong.append(np.sum((net.params[:n_weights] != 0) != alive))
        above = max(F.value() - F.value(best), 0)
        told = f"{above:.0e}" if above > 1e-15 else "0"
        cells.extend([str(np.count_nonzero(net.params[:n_weights])), str(wrong[-1]), told])

    start = tr.MLP(net.sizes, seed=0).params
    for reduced in (True, False):
        net.params, counts = start, []
        spent = epochs if reduced else 3 * epochs
        lr = cosine(2 * step, spent * -(-len(X) // batch)) if decaying else step
        tr.fit(
            net, X, y, loss=loss, penalty=tr.L1(lam), method="proximal", optimizer=tr.SGD(lr),
            variance_reduction=reduced, epochs=spent, batch_size=batch,
            callback=lambda *_, counts=counts: counts.append(np.count_nonzero(net.weights[0])),
        )  # fmt: skip
        compare()
        curves.append(counts)
    tr.minimize(F.objective, X, y, tol=1e-9, max_iter=20_000)
    compare()
    return [str(alive.sum()), *cells[:-1]], wrong, [*curves, alive.sum()]


HEADING = ["optimum", "SVRG", "wrong", "F − F*", "plain", "wrong", "F − F*", "minimize", "wrong"]


def zeros_on_minibatches(quick: bool) -> dict[int, list]:
    """The tables; the curves of the lasso with a constant step, by batch size."""
    print(
        "\nnonzero weights of linear models with L1 after 40 epochs of SVRG, after 120 of plain\n"
        "proximal SGD (as many gradients), and after `minimize` from where that ended;\n"
        "wrong: of the weights, those 0 there and not at the optimum, or the other way round\n"
    )
    rows, curves = [["400 × 30", "batch", "step", *HEADING]], {}
    for kind, (_, lam, step) in LINEAR.items():
        for batch, longer in list(LONGER.items())[1 if quick else 0 :]:
            for decaying in (False, True):
                settings = (lam, longer * step, batch, 40, decaying)
                cells, wrong, curve = zeros(kind, *planted(kind), *settings)
                rows.append([kind, str(batch), "cosine" if decaying else "constant", *cells])
                assert wrong[0] == wrong[2] == 0, f"{kind}, batch {batch}: not the optimum's zeros"
                if kind == "lasso" and not decaying:
                    curves[batch] = curve
    print("\n".join(text_table(rows, left=3, rule=True)), flush=True)

    epochs = 10 if quick else 200
    print(f"\nreal data, batch 8, constant step, {epochs} and {3 * epochs} epochs\n")
    rows = [["", "λ", *HEADING]]
    for name, kind, lam, step in REAL[: 2 if quick else 3]:
        cells, wrong, _ = zeros(kind, *measured(kind), lam, step, 8, epochs)
        rows.append([name, f"{lam:g}", *cells])
        assert wrong[0] < wrong[1], f"{name}: plain SGD is nearer to the optimum's zeros"
    print("\n".join(text_table(rows, rule=True)), flush=True)
    return curves


def network_on_minibatches(quick: bool) -> None:
    """A network, of which nobody knows the optimum: how far is it from stationary?"""
    X, y, X_test, y_test = tr.datasets.train_test_split(*tr.load_digits())
    loss, R, e = tr.SoftmaxCrossEntropy(), tr.L1(1e-3), 1 if quick else 20
    settings = "L1(1e-3) by prox, SGD(0.1) and Adam(1e-3), batch 32"
    print(f"\n64-64-10 relu on {len(X)} digits, {settings}\n")
    rows = [["", "epochs", "F", "residual", "zeros", "test accuracy"]]
    plans = {
        "plain": [(False, 3 * e)],
        "SVRG": [(True, 3 * e)],
        "plain, longer": [(False, 9 * e)],  # as many gradients as SVRG
        "plain, then SVRG": [(False, 6 * e), (True, e)],  # and here
    }
    for optimizer, (name, plan) in itertools.product((tr.SGD(0.1), tr.Adam(1e-3)), plans.items()):
        net = tr.MLP((64, 64, 10), seed=0)
        for reduced, epochs in plan:
            history = tr.fit(
                net, X, y, loss=loss, penalty=R, method="proximal", optimizer=optimizer,
                epochs=epochs, variance_reduction=reduced, validation_data=(X_test, y_test),
            )  # fmt: skip
        residual = tr.Objective(net, loss, R).stationarity(X, y)
        share = f"{100 * history.exact_zeros[-1]:.1f} %"
        score = f"{100 * history.validation_score[-1]:.1f} %"
        told = [f"{history.total[-1]:.4f}", f"{residual:.1e}", share, score]
        spent = " + ".join(str(epochs) for _, epochs in plan)
        rows.append([f"{type(optimizer).__name__}, {name}", spent, *told])
    print("\n".join(text_table(rows, rule=True)), flush=True)


def draw_recovery(norms: dict[str, np.ndarray], path: Path) -> None:
    from matplotlib.figure import Figure

    from benchmarks.figures import shrink

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
    shrink(path, path)
    print(f"\nwrote {path}")


def draw_zeros(curves: dict[int, list], path: Path) -> None:
    from matplotlib.figure import Figure

    from benchmarks.figures import shrink

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True)
    for axes, (batch, (reduced, plain, best)) in zip(panels, curves.items(), strict=True):
        # Dark and light, so that they differ in grey too.
        axes.plot(1 + np.arange(len(plain)), plain, color="#E69F00", label="plain")
        spent = 3 * (1 + np.arange(len(reduced)))
        axes.plot(spent, reduced, color="#00406A", lw=2, label="variance reduction")
        axes.axhline(best, color="0.6", lw=1, ls="--", label=f"optimum: {best}", zorder=3)
        axes.set_title(f"batch {batch}", fontsize="medium", loc="left")
        axes.set_ylim(0, 31)
    panels[0].set_ylabel("nonzero weights of 30")
    panels[-1].legend(frameon=False)
    told = "gradients of each sample: one in an epoch, three with variance reduction"
    figure.supxlabel(told, fontsize="medium")
    figure.savefig(path, dpi=100)
    shrink(path, path)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller problems, in seconds")
    parser.add_argument("--figures", metavar="DIR", help="draw recovery.png and zeros.png there")
    arguments = parser.parse_args()
    print(machine_line("scikit-learn") + "\n")
    began = time.perf_counter()
    solvers_on_digits(arguments.quick)
    norms = recovery(4 if arguments.quick else 30)
    curves = zeros_on_minibatches(arguments.quick)
    network_on_minibatches(arguments.quick)
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    if arguments.figures:
        draw_recovery(norms, Path(arguments.figures, "recovery.png"))
        draw_zeros(curves, Path(arguments.figures, "zeros.png"))


if __name__ == "__main__":
    main()
