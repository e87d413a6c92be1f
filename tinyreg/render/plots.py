"""Pictures of numbers, for those who have matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tinyreg.files import replacing
from tinyreg.validate import Array, check_choice

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = {
    "none": "#666666",
    "subgradient": "#D55E00",
    "proximal": "#0072B2",
    "decoupled": "#009E73",
    "naive": "#CC79A7",
    "svrg": "#56B4E9",
}
# Methods that do the same in the end cover one another; so they differ in dashes as well.
DASHES: dict[str, Any] = dict(
    zip(COLOURS, ("-", "-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))), strict=True)
)
STYLE: Any = {"axes.titlesize": "medium", "figure.titlesize": "medium", "legend.frameon": False}
WIDTH = 13.0  # inches
SMALLEST = 1e-8  # |w| below this, and not 0, is drawn at the histogram's left end
TILES = 36  # hidden units drawn of each network
DRAWN, NAMED = 300, 10  # weights along a path: at most so many, the largest of them by name,
NAME = 30  # of which at most so many letters

Curves: TypeAlias = Mapping[str, Array]  # of each method, (n_seeds, n_epochs)
Weights: TypeAlias = Mapping[str, Sequence[Array]]  # of each method, the W of each layer
Solvers: TypeAlias = Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]]


def plot_comparison(
    path: str | PathLike[str],
    *,
    objectives: Curves,
    zeros: Curves,
    scores: Curves,
    score: str,
    weights: Weights,
    seed: int,
    image_shape: tuple[int, int] | None,
    solvers: Solvers,
    rates: Mapping[str, float],
) -> None:
    """Draw what happened over the epochs, where the weights ended, and what the units look at.

    `score` is "accuracy" or "R²"; `weights` are of one seed; `solvers` have objective, stationarity
    and seconds after each full-batch step (nothing, if they diverged), and `rates` the power of 1/k
    in the bounds of those that have one (none where F is not convex). With `image_shape`, each row
    of X is an image.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    kind = _format(path)
    heights = [3.6, 3.4, WIDTH / max(len(weights), 2) + 0.6, *([3.8] if solvers else [])]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    bands: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    left, centre, right = bands[0].subplots(1, 3)
    with rc_context(STYLE):
        _draw_curves(left, objectives, "Objective F = L + R (training data)")
        left.set_yscale("log")
        left.yaxis.set_major_formatter("{x:g}")
        left.yaxis.set_minor_formatter("{x:g}")
        left.legend()
        _draw_curves(centre, zeros, "Weights exactly 0, in %", 100)
        centre.set_ylim(-4, 104)
        _draw_curves(right, scores, f"Test {score}")
        if score == "accuracy":
            all_scores = np.concatenate([curves.ravel() for curves in scores.values()])
            low, high = np.quantile(all_scores, 0.05), all_scores.max()
            right.set_ylim(max(0, low - 0.02), min(1, high) + 0.01)
        _draw_histogram(bands[1].subplots(), weights, f"Where the weights ended (seed {seed})")
        _draw_first_layers(bands[2], weights, image_shape, seed)
        for band in bands[3:]:
            _draw_convergence(band, solvers, rates)
    _save(figure, path, kind)


def _draw_curves(axes: Any, curves: Curves, title: str, scale: float = 1) -> None:
    """The mean over seeds as a line, from the smallest to the largest as a band."""
    for method, values in curves.items():
        values, colour = scale * values, COLOURS[method]
        epochs = np.arange(1, values.shape[1] + 1)
        axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
        axes.plot(epochs, values.mean(0), ls=DASHES[method], color=colour, lw=1.8, label=method)
    axes.set(title=title, xlabel="epoch")
    axes.grid(alpha=0.25)


def _draw_histogram(axes: Any, weights: Weights, title: str) -> None:
    """log₁₀|w| for all weights of each network, exact zeros in a bar of their own."""
    edges = np.linspace(np.log10(SMALLEST), 1, 64)
    at_zero = edges[0] - 1.0
    width = 0.8 / len(weights)
    for place, (method, layers) in enumerate(weights.items()):
        w, colour = np.abs(np.concatenate([W.ravel() for W in layers])), COLOURS[method]
        logs = np.log10(np.clip(w[w > 0].astype(np.float64), SMALLEST, 10))
        axes.hist(logs, edges, histtype="stepfilled", color=colour, alpha=0.15)
        axes.hist(logs, edges, histtype="step", color=colour, lw=1.5, label=method)
        zeros = np.count_nonzero(w == 0)
        x = at_zero + (place - (len(weights) - 1) / 2) * width
        axes.bar(x, zeros, width, color=colour, alpha=0.85)
        axes.text(x, max(zeros, 0.8), zeros, ha="center", va="bottom", fontsize=8, color=colour)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7, top=3 * axes.get_ylim()[1])
    axes.axvline(edges[0] - 0.4, color="black", lw=0.8, ls=":")
    exponents = range(int(edges[0]), 2)
    labels = ["exactly 0", *(f"$10^{{{exponent}}}$" for exponent in exponents)]
    axes.set_xticks([at_zero, *exponents], labels)
    axes.set(title=title, xlabel="|w|", ylabel="number of weights")
    axes.legend(loc="upper left", bbox_to_anchor=(0.12, 1))


def _draw_convergence(figure: Any, solvers: Solvers, rates: Mapping[str, float]) -> None:
    """F − F_best and stationarity, against steps and against seconds."""
    panels = figure.subplots(1, 4)
    best = min(min(objective, default=np.inf) for objective, _, _ in solvers.values())
    for i, (solver, (objective, stationarity, seconds)) in enumerate(solvers.items()):
        # Of a method that does not descend, the best so far; what is F_best itself has no place on
        # a logarithmic axis.
        above = np.minimum.accumulate(np.array(objective)) - best
        above[above <= 0] = np.nan
        label = solver if objective else f"{solver}: diverged"
        steps, style = np.arange(len(above)), {"color": f"C{i}", "lw": 1.5, "label": label}
        for place, values in enumerate((above, stationarity)):
            panels[2 * place].plot(steps, values, **style)
            panels[2 * place + 1].plot(seconds, values, **style)
        if objective and solver in rates:
            # The slope of the theory's bound, hung on the curve's first step.
            bound = above[1] * steps[1:] ** -rates[solver]
            panels[0].plot(steps[1:], bound, color=f"C{i}", lw=1, ls=":", alpha=0.8)
    for i, axes in enumerate(panels):
        along, scale = ("seconds", "linear") if i % 2 else ("steps", "log")
        title = "F − F_best" if i < 2 else "stationarity residual"
        axes.set(xscale=scale, yscale="log", xlabel=along, title=title)
        axes.grid(alpha=0.25)
    panels[0].legend(fontsize="x-small")
    note = "dotted: O(1/√k), O(1/k), O(1/k²)" if rates else "not convex: no rate is known"
    figure.suptitle(f"Full batch, from the first seed's weights ({note})")


def _draw_first_layers(
    figure: Any, weights: Weights, image_shape: tuple[int, int] | None, seed: int
) -> None:
    panels = figure.subplots(1, len(weights), squeeze=False, gridspec_kw={"wspace": 0.06})[0]
    style = {"interpolation": "nearest", "aspect": "equal" if image_shape else "auto"}
    for axes, (method, layers) in zip(panels, weights.items(), strict=True):
        W = layers[0].astype(np.float64)
        picture = W if image_shape is None else _mosaic(W, image_shape)
        limit = np.quantile(np.abs(W), 0.99) or 1.0
        colours = np.where(picture == 0, np.nan, picture)
        axes.imshow(colours, cmap="RdBu_r", vmin=-limit, vmax=limit, **style)
        # Exact zeros get a grey of their own, which no value of the colour map has.
        axes.imshow(np.where(picture == 0, 0.62, np.nan), cmap="gray", vmin=0, vmax=1, **style)
        axes.set(facecolor="white", xticks=[], yticks=[], frame_on=False)
        zeros, unused = 100 * np.mean(W == 0), np.count_nonzero(~W.any(axis=1))
        title = f"{method}: {zeros:.0f} % zeros, {unused} of {len(W)} inputs unused"
        axes.set_title(title, color=COLOURS[method])
    unit = "hidden unit" if max(map(len, weights.values())) > 1 else "output"
    what = f"each tile is one {unit}" if image_shape else "rows are inputs, columns are units"
    figure.suptitle(
        f"First layer's weights, seed {seed}: {what}; blue negative, red positive, grey exactly 0"
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
        top, left = place // columns * (height + 1), place % columns * (width + 1)
        picture[top : top + height, left : left + width] = W[:, unit].reshape(image_shape)
    return picture


def plot_path(
    path: str | PathLike[str],
    *,
    score: str,
    walks: Mapping[str, Sequence[Array]],
    chosen: Mapping[str, tuple[float, float]],
    curves: Mapping[str, tuple[Array, Array]],
    names: Sequence[str],
    title: str,
) -> None:
    """Draw what a zero costs: score against sparsity, sparsity against λ, and weights against λ.

    `score` is "test" or "validation"; `walks` have λ, score, share of zeros and of near zeros;
    `chosen` the best λ and the one-standard-error choice. `curves` have λ and a row of numbers for
    each, of which `names` are the names and `title` says what they are.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    kind = _format(path)
    figure = Figure(figsize=(WIDTH, 9.6), layout="constrained")
    bands: Any = figure.subfigures(2, 1)
    left, right = bands[0].subplots(1, 2)
    for method, (lams, scores, exact, near) in walks.items():
        style: dict[str, Any] = {"color": COLOURS[method], "lw": 1.5, "ms": 5}
        hollow = style | {"mfc": "none", "alpha": 0.6, "label": f"{method}, |w| < 0.001"}
        star, at = style | {"ms": 15, "mec": "white"}, lams == chosen[method][1]
        for axes, x, y in ((left, 100 * exact, scores), (right, lams, 100 * exact)):
            axes.plot(x, y, "o-", label=f"{method}, w = 0", **style)
            axes.plot(x[at], y[at], "*", **star)
        left.plot(100 * near, scores, "o:", **hollow)
        right.plot(lams, 100 * near, "o:", **hollow)
    panels = bands[1].subplots(1, max(len(curves), 1), squeeze=False)[0]
    with rc_context(STYLE):
        along = "weights that are zero (filled) or nearly zero (hollow), in %"
        cost = "What a zero costs (★ one-standard-error choice)"
        left.set(title=cost, xlabel=along, ylabel=f"{score} score")
        right.set(title="Zeros along the path", xlabel="λ", ylabel="%", xscale="log")
        for axes in (left, right):
            axes.grid(alpha=0.25)
            axes.legend(fontsize="small")
        most = f", the {DRAWN} largest" if len(names) > DRAWN else ""
        for axes, (method, (lams, values)) in zip(panels, curves.items(), strict=False):
            axes.set_title(f"{method}: {title}{most}", color=COLOURS[method])
            _draw_weights(axes, lams, values, names, chosen[method])
    _save(figure, path, kind)


def _draw_weights(
    axes: Any, lams: Array, values: Array, names: Sequence[str], chosen: tuple[float, float]
) -> None:
    """A curve for each column, sparse on the left, dense on the right; the largest by name."""
    peaks, at_choice = np.abs(values).max(axis=0), np.abs(values[lams == chosen[1]]).sum(axis=0)
    order = np.lexsort((-peaks, -at_choice))[: min(DRAWN, np.count_nonzero(peaks))]
    axes.plot(lams, values[:, order[NAMED:]], color="0.8", lw=0.7)
    # The names stand where their curves end, in that order, and so far apart that none is hidden.
    named = order[:NAMED][np.argsort(values[0, order[:NAMED]], kind="stable")]
    ends, steps = values[0, named], np.arange(len(named)) * np.ptp(values) / 16
    places = np.maximum.accumulate(ends - steps) + steps
    places -= np.sum(places - ends) / max(len(named), 1)
    beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "clip_on": False}
    for k, end, place in zip(named, ends, places, strict=True):
        colour = f"C{k % 10}"  # the same for each method
        axes.plot(lams, values[:, k], ".-", color=colour, lw=1.6)
        axes.plot([1, 1.03], [end, place], color=colour, lw=0.6, **beside)
        label: dict[str, Any] = {"color": colour, "fontsize": "small", "va": "center"}
        axes.text(1.04, place, names[k][:NAME], **label, **beside)
    for lam, what, dashes in zip(chosen, ("best", "one standard error"), "-:", strict=True):
        axes.axvline(lam, color="black", lw=1, ls=dashes, label=what)
    axes.set(xlabel="λ, from sparse to dense", xscale="log", xlim=(1.3 * lams[-1], lams[0]))
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", loc="upper left", frameon=True)


def _format(path: str | PathLike[str]) -> str:
    """The format that the path's ending names, and matplotlib knows; PNG without one."""
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    return check_choice("the ending of path", Path(path).suffix[1:].lower() or "png", kinds)


def _save(figure: Any, path: str | PathLike[str], kind: str) -> None:
    with replacing(path) as file:
        figure.savefig(file, dpi=110, format=kind)
