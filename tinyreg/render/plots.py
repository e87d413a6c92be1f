"""Pictures, for those who have matplotlib (the extra `plot`); imported only when asked for."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyreg.validate import Array

if TYPE_CHECKING:
    from tinyreg.core.network import MLP
    from tinyreg.study.comparison import Comparison
    from tinyreg.study.convergence import Convergence
    from tinyreg.study.path import LambdaPath

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = {
    "none": "#666666",
    "subgradient": "#D55E00",
    "proximal": "#0072B2",
    "decoupled": "#009E73",
    "naive": "#CC79A7",
}
# Methods that do the same in the end cover one another; so they differ in dashes as well.
DASHES = {"none": "-", "subgradient": "-", "proximal": "--", "decoupled": "-.", "naive": ":"}
WIDTH = 13.0  # inches
SMALLEST = 1e-8  # |w| below this, and not 0, is drawn at the histogram's left end
TILES = 36  # hidden units drawn of each network


def plot_comparison(
    comparison: Comparison,
    path: str | PathLike[str],
    image_shape: tuple[int, int] | None = None,
) -> None:
    """Draw what happened over the epochs, where the weights ended, and what the units look at.

    Parameters
    ----------
    comparison : Comparison
    path : path
        The ending says the format.
    image_shape : (height, width), optional
        If each row of X is an image.
    """
    from matplotlib.figure import Figure

    methods = comparison.settings["methods"]
    heights = [3.6, 3.4, WIDTH / max(len(methods), 2) + 0.6]
    if comparison.convergence is not None:
        heights.append(3.8)
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    bands: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    top, middle, bottom = bands[:3]
    if comparison.convergence is not None:
        _draw_convergence(bands[3], comparison.convergence)

    score = "accuracy" if comparison.settings["task"] == "classification" else "R²"
    left, centre, right = top.subplots(1, 3)
    _draw_history(left, comparison, "total", "Objective F = L + R (training data)")
    _draw_history(centre, comparison, "exact_zeros", "Weights exactly 0, in %", 100)
    _draw_history(right, comparison, "validation_score", f"Test {score}")
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:g}")
    centre.set_ylim(-4, 104)
    if score == "accuracy":
        scores = np.concatenate([run.history.validation_score for run in comparison.runs])
        right.set_ylim(max(0, np.quantile(scores, 0.05) - 0.02), min(1, scores.max()) + 0.01)
    left.legend(frameon=False)

    _draw_histogram(middle.subplots(), comparison)

    grids = bottom.subplots(1, len(methods), squeeze=False, gridspec_kw={"wspace": 0.06})[0]
    for axes, method in zip(grids, methods, strict=True):
        _draw_first_layer(axes, method, comparison.networks[method], image_shape)
    unit = "hidden unit" if len(comparison.settings["sizes"]) > 2 else "output"
    what = f"each tile is one {unit}" if image_shape else "rows are inputs, columns are units"
    bottom.suptitle(
        f"First layer's weights, seed {comparison.settings['seeds'][0]}: {what}; "
        "blue negative, red positive, grey exactly 0",
        fontsize="medium",
    )
    figure.savefig(path, dpi=110)


def _draw_history(
    axes: Any, comparison: Comparison, name: str, title: str, scale: float = 1
) -> None:
    """The mean over seeds as a line, from the smallest to the largest as a band."""
    for method in comparison.settings["methods"]:
        curves = scale * np.array(
            [getattr(run.history, name) for run in comparison.runs if run.method == method]
        )
        epochs = np.arange(1, curves.shape[1] + 1)
        colour = COLOURS[method]
        axes.fill_between(epochs, curves.min(0), curves.max(0), color=colour, alpha=0.2, lw=0)
        axes.plot(epochs, curves.mean(0), DASHES[method], color=colour, lw=1.8, label=method)
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.25)


def _draw_histogram(axes: Any, comparison: Comparison) -> None:
    """log₁₀|w| for all weights of the first seed's networks, exact zeros in a bar of their own."""
    methods = comparison.settings["methods"]
    edges = np.linspace(np.log10(SMALLEST), 1, 64)
    at_zero = edges[0] - 1.0
    width = 0.8 / len(methods)
    for place, method in enumerate(methods):
        net = comparison.networks[method]
        w = np.abs(net.params[: net.n_weights].astype(np.float64))
        colour = COLOURS[method]
        logs = np.log10(np.clip(w[w > 0], SMALLEST, 10))
        axes.hist(logs, edges, histtype="stepfilled", color=colour, alpha=0.15)
        axes.hist(logs, edges, histtype="step", color=colour, lw=1.5, label=method)
        zeros = np.count_nonzero(w == 0)
        x = at_zero + (place - (len(methods) - 1) / 2) * width
        axes.bar(x, zeros, width, color=colour, alpha=0.85)
        axes.annotate(
            f"{zeros}", (x, max(zeros, 0.8)), ha="center", va="bottom", fontsize=8, color=colour
        )
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7, top=3 * axes.get_ylim()[1])
    axes.axvline(edges[0] - 0.4, color="black", lw=0.8, ls=":")
    exponents = range(int(edges[0]), 2)
    axes.set_xticks(
        [at_zero, *exponents], ["exactly 0", *(f"$10^{{{exponent}}}$" for exponent in exponents)]
    )
    axes.set_xlabel("|w|")
    axes.set_ylabel("number of weights")
    axes.set_title(
        f"Where the weights ended (seed {comparison.settings['seeds'][0]})", fontsize="medium"
    )
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.12, 1))


def _draw_convergence(figure: Any, convergence: Convergence) -> None:
    """F − F_best and stationarity, against steps and against seconds."""
    first, *others = figure.subplots(1, 4)
    axes_of = {
        (first, "steps", "F − F_best"): "objective",
        (others[0], "seconds", "F − F_best"): "objective",
        (others[1], "steps", "stationarity residual"): "stationarity",
        (others[2], "seconds", "stationarity residual"): "stationarity",
    }
    for (axes, along, title), name in axes_of.items():
        for i, curve in enumerate(convergence.curves):
            values = np.array(getattr(curve, name))
            if name == "objective":
                # Of a method that does not descend, the best so far; what is F_best itself has no
                # place on a logarithmic axis.
                values = np.minimum.accumulate(values) - convergence.best
                values[values <= 0] = np.nan
            x = np.arange(len(values)) if along == "steps" else np.array(curve.seconds)
            axes.plot(x, values, color=f"C{i}", lw=1.5, label=curve.solver)
            power = convergence.rates.get(curve.solver)
            if power is not None and along == "steps" and name == "objective":
                # The slope of the theory's bound, hung on the curve's first step.
                k = np.arange(1, len(values))
                axes.plot(k, values[1] * k**-power, color=f"C{i}", lw=1, ls=":", alpha=0.8)
        axes.set_xscale("log" if along == "steps" else "linear")
        axes.set_yscale("log")
        axes.set_xlabel(along)
        axes.set_title(title, fontsize="medium")
        axes.grid(alpha=0.25)
    first.legend(frameon=False, fontsize="x-small")
    note = (
        "dotted: O(1/√k), O(1/k), O(1/k²)" if convergence.convex else "not convex: no rate is known"
    )
    figure.suptitle(f"Full batch, from the first seed's weights ({note})", fontsize="medium")


def _draw_first_layer(
    axes: Any, method: str, net: MLP, image_shape: tuple[int, int] | None
) -> None:
    W = net.weights[0].astype(np.float64)
    picture = W if image_shape is None else _mosaic(W, image_shape)
    limit = np.quantile(np.abs(W), 0.99) or 1.0
    axes.set_facecolor("white")
    axes.imshow(
        np.where(picture == 0, np.nan, picture),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
        aspect="equal" if image_shape else "auto",
    )
    # Exact zeros get a grey of their own, which no value of the colour map has.
    grey = np.where(picture == 0, 0.62, np.nan)
    axes.imshow(
        grey,
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        aspect="equal" if image_shape else "auto",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)
    unused = np.count_nonzero(~W.any(axis=1))
    axes.set_title(
        f"{method}: {100 * np.mean(W == 0):.0f} % zeros, {unused} of {len(W)} inputs unused",
        fontsize="medium",
        color=COLOURS[method],
    )


def _mosaic(W: Array, image_shape: tuple[int, int]) -> Array:
    """The units with the largest weights, each as an image, in a square with gaps (NaN)."""
    height, width = image_shape
    if height * width != len(W):
        raise ValueError(
            f"image_shape must multiply to the {len(W)} inputs of the network, got {image_shape}"
        )
    units = np.argsort(-np.abs(W).sum(axis=0), kind="stable")[:TILES]
    columns = int(np.ceil(np.sqrt(len(units))))
    rows = int(np.ceil(len(units) / columns))
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for place, unit in enumerate(units):
        top = (place // columns) * (height + 1)
        left = (place % columns) * (width + 1)
        picture[top : top + height, left : left + width] = W[:, unit].reshape(image_shape)
    return picture


def plot_path(path: LambdaPath, file: str | PathLike[str]) -> None:
    """Draw what a zero costs: score against sparsity, and sparsity against λ.

    Parameters
    ----------
    path : LambdaPath
    file : path
        The ending says the format.
    """
    from matplotlib.figure import Figure

    kind = "test" if path.settings["n_test"] else "validation"
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for method in path.settings["methods"]:
        lams, colour = path.lams(method), COLOURS[method]
        score = path.mean(method, f"{kind}_score")
        exact, near = 100 * path.mean(method, "exact_zeros"), 100 * path.mean(method, "near_zeros")
        style = {"color": colour, "lw": 1.5}
        left.plot(exact, score, "o-", ms=5, label=f"{method}, w = 0", **style)
        left.plot(
            near, score, "o:", ms=5, mfc="none", alpha=0.6, label=f"{method}, |w| < 0.001", **style
        )
        right.plot(lams, exact, "o-", ms=5, label=f"{method}, w = 0", **style)
        right.plot(
            lams, near, "o:", ms=5, mfc="none", alpha=0.6, label=f"{method}, |w| < 0.001", **style
        )
        _, chosen = path.best(method)
        at = lams.index(chosen)
        left.plot(exact[at], score[at], "*", ms=15, color=colour, mec="white")
        right.plot(chosen, exact[at], "*", ms=15, color=colour, mec="white")
    left.set_xlabel("weights that are zero (filled) or nearly zero (hollow), in %")
    left.set_ylabel(f"{kind} score")
    left.set_title("What a zero costs (★ one-standard-error choice)", fontsize="medium")
    right.set_xscale("log")
    right.set_xlabel("λ")
    right.set_ylabel("%")
    right.set_title("Zeros along the path", fontsize="medium")
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(file, dpi=110)
