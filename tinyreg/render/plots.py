"""Pictures of numbers, for those who have matplotlib (the extra `plot`).

Each returns a description of what it drew, in words, which is in the file as well where the format
has a place for it: a page shows it to those who do not see the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tinyreg.files import replacing
from tinyreg.render.document import number
from tinyreg.validate import Array, check_choice

# Each is at least 10 lighter than the one before (L* of CIE 1976), in the order none, svrg,
# proximal, subgradient, naive, decoupled: told apart in grey, and whatever colours a reader sees.
COLOURS = {
    "none": "#1A1A1A",
    "subgradient": "#C44E00",
    "proximal": "#00589C",
    "decoupled": "#2DBE98",
    "naive": "#CC6FA3",
    "svrg": "#332288",
}
# Methods that do the same in the end cover one another; so they differ in dashes as well.
DASHES: dict[str, Any] = dict(
    zip(COLOURS, ((0, (6, 1)), "-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))), strict=True)
)
MARKERS = dict(zip(COLOURS, "osD^vP", strict=True))
STYLE: Any = {"axes.titlesize": "medium", "figure.titlesize": "medium", "legend.frameon": False}
DESCRIPTION = {"png": "Description", "svg": "Description", "pdf": "Subject"}  # in the file
WIDTH = 13.0  # inches
FEW = 12  # epochs at most, each of which gets a marker
TILES = 36  # hidden units drawn of each network
ROWS = 32  # inputs of a table at most, that are named
DRAWN, NAMED = 300, 10  # weights along a path: at most so many, the largest of them by name,
NAME = 30  # of which at most so many letters
BESIDE: Any = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": "small"}  # a legend

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
    names: Sequence[str] = (),
    bound: float | None = None,
) -> str:
    """Draw what happened over the epochs, where the weights ended, and what the units look at.

    `score` is "accuracy" or "R²"; `weights` are of one seed; `solvers` have objective, stationarity
    and seconds after each full-batch step (nothing, if they diverged), and `rates` the power of 1/k
    in the bounds of those that have one (none where F is not convex). With `image_shape`, each row
    of X is an image; `names` are the inputs'. `bound` is a number that F cannot fall below, where
    one is proven.
    """
    layers = WIDTH / max(len(weights), 2) + 1 if image_shape else 5  # has room for ROWS names
    heights = [3.6, 3.4, layers, *([3.8] if solvers else [])]
    with _drawing(path, sum(heights)) as (figure, told):
        bands: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
        left, centre, right = bands[0].subplots(1, 3)
        told += _draw_curves(left, objectives, "Objective F = L + R (training data)")
        if all((v[np.isfinite(v)] > 0).all() for v in objectives.values()):
            _logarithmic(left)
        left.legend()
        told += _draw_curves(centre, zeros, "Weights exactly 0, in %", 100)
        centre.set_ylim(-4, 104)
        told += _draw_curves(right, scores, f"Test {score}")
        seen = np.concatenate([curves.ravel() for curves in scores.values()])
        if score == "accuracy" and np.isfinite(seen).all():
            # Where there are many epochs, the first of them may begin below the axis.
            late = [curves[:, (curves.shape[1] - 1) // FEW :] for curves in scores.values()]
            right.set_ylim(min(map(np.min, late)) - 0.02, seen.max() + 0.01)
        told += _draw_histogram(bands[1].subplots(), weights, seed)
        told += _draw_first_layers(bands[2], weights, image_shape, names, seed)
        for band in bands[3:]:
            told += _draw_convergence(band, solvers, rates, bound)
    return " ".join(told)


def plot_history(path: str | PathLike[str], columns: Mapping[str, Sequence[float]]) -> str:
    """Draw numbers of one training over its epochs, a panel for each."""
    with _drawing(path, 2.6) as (figure, told):
        panels = figure.subplots(1, len(columns), squeeze=False)[0]
        for axes, (name, values) in zip(panels, columns.items(), strict=True):
            words = _draw_curves(axes, {"none": np.array([values], float)}, name)
            told += [word.replace(" none ", " ") for word in words]
    return " ".join(told)


@contextmanager
def _drawing(path: str | PathLike[str], height: float) -> Iterator[tuple[Any, list[str]]]:
    """A figure that is saved in the end, and the list of the sentences that describe it.

    The format is what the path's ending names, and matplotlib knows; PNG without one.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backend_bases import FigureCanvasBase
        from matplotlib.figure import Figure
    except ImportError as e:
        raise ImportError("a picture needs matplotlib; install tinyreg[plot]") from e

    kinds = FigureCanvasBase.get_supported_filetypes()
    kind = check_choice("the ending of path", Path(path).suffix[1:].lower() or "png", kinds)
    told: list[str] = []
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, told
        _save(figure, path, kind, " ".join(told))


def _save(figure: Any, path: str | PathLike[str], kind: str, told: str) -> None:
    within = {"metadata": {DESCRIPTION[kind]: told}} if kind in DESCRIPTION else {}
    with replacing(path) as file:
        figure.savefig(file, dpi=110, format=kind, **within)


def _words(what: str, values: Mapping[str, float]) -> str:
    """What it is, and the numbers by name, as a sentence."""
    return f"{what}: {'; '.join(f'{name} {number(x)}' for name, x in values.items())}."


def _short(name: str) -> str:
    """As much of a name as has room, on one line."""
    return " ".join(name.split())[:NAME]


def _logarithmic(axes: Any) -> None:
    """A logarithmic axis upwards, where numbers differ much; as many along it as have room."""
    from matplotlib.ticker import LogLocator

    low, high = axes.dataLim.intervaly
    if high < 5 * low:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")


def _draw_curves(axes: Any, curves: Curves, title: str, scale: float = 1) -> list[str]:
    """The mean over seeds as a line, from the smallest to the largest as a band."""
    ends = {}
    for method, values in curves.items():
        values, colour = scale * values, COLOURS[method]
        epochs, mean = np.arange(1, values.shape[1] + 1), values.mean(0)
        style = {"ls": DASHES[method], "color": colour, "lw": 1.8, "label": method}
        marker = MARKERS[method] if len(epochs) <= FEW else ""
        axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
        axes.plot(epochs, mean, marker=marker, ms=4, **style)
        ends[method] = mean[-1]
    axes.set(title=title, xlabel="epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.25)
    return [_words(f"{title}, after epoch {len(epochs)}", ends)]


def _draw_histogram(axes: Any, weights: Weights, seed: int) -> list[str]:
    """log₁₀|w| for all weights of each network, exact zeros in a bar of their own."""
    sizes = {m: np.abs(np.concatenate([*map(np.ravel, Ws)])) for m, Ws in weights.items()}
    logs = {m: np.log10(w[(w > 0) & (w < np.inf)], dtype=float) for m, w in sizes.items()}
    zeros = {method: int(np.sum(w == 0)) for method, w in sizes.items()}
    seen = np.concatenate([*logs.values()])
    high = np.ceil(seen.max()) if seen.size else 0.0
    low = np.floor(seen.min(initial=high - 2))
    unit, edges = (high - low) / 8, np.linspace(low, high, 64)
    width = 0.8 * unit / len(weights)
    for place, (method, w) in enumerate(sizes.items()):
        style = {"color": COLOURS[method], "ls": DASHES[method]}
        label = f"{method}: {zeros[method]} of {len(w)} exactly 0"
        axes.hist(logs[method], edges, histtype="stepfilled", color=COLOURS[method], alpha=0.15)
        axes.hist(logs[method], edges, histtype="step", lw=1.5, label=label, **style)
        x = low - unit + (place - (len(weights) - 1) / 2) * width
        axes.bar(x, zeros[method], width, color=COLOURS[method])
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.axvline(low - unit / 2, color="black", lw=0.8, ls=":")
    exponents = np.arange(low, high + 1, np.ceil((high - low) / 12)).astype(int)
    labels = ["exactly 0", *(f"$10^{{{exponent}}}$" for exponent in exponents)]
    axes.set_xticks([low - unit, *exponents], labels)
    title = f"Where the weights ended (seed {seed})"
    axes.set(title=title, xlabel="|w|", ylabel="number of weights")
    axes.legend(**BESIDE)
    return [_words(f"{title}, exactly 0 of {len(w)}", zeros)]


def _draw_convergence(
    figure: Any, solvers: Solvers, rates: Mapping[str, float], bound: float | None
) -> list[str]:
    """F over its lower bound, where there is one, and stationarity: by steps and by seconds.

    F − F_best would fall to nothing for the best, however far from the optimum it ended; F − bound
    is never below F − F*.
    """
    titles = ["stationarity residual"] if bound is None else ["F − bound", "stationarity residual"]
    panels = figure.subplots(1, 2 * len(titles))
    ends: dict[str, dict[str, float]] = {title: {} for title in titles}
    for method, (solver, (objective, stationarity, seconds)) in zip(
        COLOURS, solvers.items(), strict=False
    ):
        label = solver if objective else f"{solver}: diverged"
        style = {"color": COLOURS[method], "ls": DASHES[method], "lw": 1.5, "label": label}
        style |= {"marker": MARKERS[method] if len(objective) <= FEW else "", "ms": 4}
        shown, steps = [np.array(stationarity, float)], np.arange(len(objective))
        if bound is not None:
            # Of a method that does not descend, the best so far; rounding is no progress.
            best = np.fmin.accumulate(np.array(objective, float))
            shown.insert(0, np.maximum(best - bound, np.spacing(np.abs(best))))
            if len(objective) > 1 and solver in rates:
                # The slope of the theory's bound, hung on the curve's first step.
                line = shown[0][1] * steps[1:] ** -rates[solver]
                panels[0].plot(steps[1:], line, color=COLOURS[method], lw=1, ls=":", alpha=0.8)
        for i, values in enumerate(shown):
            panels[2 * i].plot(steps[1:], values[1:], **style)
            panels[2 * i + 1].plot(seconds, values, **style)
            if objective:
                ends[titles[i]][solver] = values[-1]
    for i, axes in enumerate(panels):
        along, scale = ("seconds", "linear") if i % 2 else ("steps", "log")
        axes.set(xscale=scale, xlabel=along, title=titles[i // 2])
        if scale == "linear":  # short numbers: a panel is narrow
            axes.ticklabel_format(axis="x", scilimits=(-1, 3))
        y = np.concatenate([line.get_ydata() for line in axes.lines])
        if (y == 0).any():  # at the bottom
            axes.set_yscale("symlog", linthresh=y[y > 0].min(initial=1))
            axes.set_ylim(bottom=0)
        else:
            axes.set_yscale("log")
        axes.grid(alpha=0.25)
    panels[-1].legend(**BESIDE)
    note = "no bound of F is known"
    if bound is not None:
        note = "F ≥ bound, by a duality gap; dotted: O(1/√k), O(1/k), O(1/k²)"
    title = f"Full batch, from the first seed's weights ({note})"
    figure.suptitle(title)
    return [f"{title}.", *(_words(f"{what} in the end", of) for what, of in ends.items())]


def _draw_first_layers(
    figure: Any,
    weights: Weights,
    image_shape: tuple[int, int] | None,
    names: Sequence[str],
    seed: int,
) -> list[str]:
    panels = figure.subplots(1, len(weights), squeeze=False, gridspec_kw={"wspace": 0.06})[0]
    style = {"interpolation": "nearest", "aspect": "equal" if image_shape else "auto"}
    told = []
    for axes, (method, layers) in zip(panels, weights.items(), strict=True):
        W = layers[0].astype(np.float64)
        picture = W if image_shape is None else _mosaic(W, image_shape)
        limit = np.quantile(np.abs(W), 0.99) or 1.0
        # The lighter the larger, from negative to positive; exact zeros are white, gaps are grey.
        axes.imshow(picture, cmap="cividis", vmin=-limit, vmax=1.15 * limit, **style)
        others = np.select([picture == 0, np.isnan(picture)], [1.0, 0.85], np.nan)
        axes.imshow(others, cmap="gray", vmin=0, vmax=1, **style)
        axes.set(xticks=[], yticks=[])
        zeros, unused = 100 * np.mean(W == 0), np.count_nonzero(~W.any(axis=1))
        said = [f"{method}: {zeros:.0f} % zeros", f"{unused} of {len(W)} inputs unused"]
        axes.set_title("\n".join(said), fontsize="small")
        told.append(", ".join(said))
    if image_shape is None and 0 < len(names) <= ROWS:
        labels: Any = {"fontsize": "small", "parse_math": False}
        panels[0].set_yticks(range(len(names)), [_short(name) for name in names], **labels)
    unit = "hidden unit" if max(map(len, weights.values())) > 1 else "output"
    what = f"each tile is one {unit}" if image_shape else "rows are inputs, columns are units"
    title = f"First layer's weights, seed {seed}: {what}"
    figure.suptitle(
        f"{title}; the darker the lower, blue negative, yellow positive, white exactly 0"
    )
    return [f"{title}; {'; '.join(told)}."]


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
) -> str:
    """Draw what a zero costs: score against sparsity, sparsity against λ, and weights against λ.

    `score` is "test" or "validation"; `walks` have λ, score, share of zeros and of near zeros;
    `chosen` the best λ and the one-standard-error choice. `curves` have λ and a row of numbers for
    each, of which `names` are the names and `title` says what they are.
    """
    with _drawing(path, 9.6 if curves else 5) as (figure, told):
        bands: Any = figure.subfigures(2 if curves else 1, 1, squeeze=False)[:, 0]
        left, right = bands[0].subplots(1, 2)
        for method, (lams, scores, exact, near) in walks.items():
            colour, marker = COLOURS[method], MARKERS[method]
            style: dict[str, Any] = {"color": colour, "lw": 1.5, "ms": 5}
            hollow = style | {"mfc": "none", "alpha": 0.6, "label": f"{method}, |w| < 0.001"}
            star, at = style | {"ms": 15, "mec": "white"}, lams == chosen[method][1]
            for axes, x, y in ((left, 100 * exact, scores), (right, lams, 100 * exact)):
                axes.plot(x, y, f"{marker}-", label=f"{method}, w = 0", **style)
                axes.plot(x[at], y[at], "*", **star)
            left.plot(100 * near, scores, f"{marker}:", **hollow)
            right.plot(lams, 100 * near, f"{marker}:", **hollow)
            for place, i in (("first", 0), ("last", -1), ("chosen", int(at.argmax()))):
                end = {"λ": lams[i], f"{score} score": scores[i], "zeros in %": 100 * exact[i]}
                told.append(_words(f"{method}, {place}", end))
        along = "weights that are zero (filled) or nearly zero (hollow), in %"
        cost = "What a zero costs (★ one-standard-error choice)"
        left.set(title=cost, xlabel=along, ylabel=f"{score} score")
        right.set(title="Zeros along the path", xlabel="λ", ylabel="%", xscale="log")
        for axes in (left, right):
            axes.grid(alpha=0.25)
            if walks:
                axes.legend(fontsize="small")
            else:
                axes.text(0.5, 0.5, "every walk broke off", transform=axes.transAxes, ha="center")
        heard = "What a zero costs: score against zeros, and zeros against λ."
        told.insert(0, heard if walks else "Every walk broke off.")
        most = f", the {DRAWN} largest" if len(names) > DRAWN else ""
        panels = bands[-1].subplots(1, len(curves), squeeze=False)[0] if curves else ()
        for axes, (method, (lams, values)) in zip(panels, curves.items(), strict=True):
            axes.set_title(f"{method}: {title}{most}")
            ends = _draw_weights(axes, lams, values, names, chosen[method])
            told.append(_words(f"{method}: {title} at λ = {number(lams[0])}, the largest", ends))
    return " ".join(told)


def _draw_weights(
    axes: Any, lams: Array, values: Array, names: Sequence[str], chosen: tuple[float, float]
) -> dict[str, float]:
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
        axes.text(1.04, place, _short(names[k]), parse_math=False, **label, **beside)
    for lam, what, dashes in zip(chosen, ("best", "one standard error"), "-:", strict=True):
        axes.axvline(lam, color="black", lw=1, ls=dashes, label=what)
    axes.set_xlim(max(1.3 * lams[-1], 3 * lams[0]), lams[0])
    axes.set(xlabel="λ, from sparse to dense", xscale="log")
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small", loc="upper left", frameon=True)
    return {_short(names[k]): float(end) for k, end in zip(named[::-1], ends[::-1], strict=True)}
