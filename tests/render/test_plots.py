"""Pictures: which file is written, and what stands on the axes."""

import errno
import itertools
import sys
import warnings

import numpy as np
import pytest

from tinyreg.render import plots

matplotlib = pytest.importorskip("matplotlib", reason="needs the plot extra")
pytest.importorskip("matplotlib.figure")  # a name of matplotlib only once it is imported
image = pytest.importorskip("PIL.Image", reason="needs the plot extra")

WALK = {"proximal": [np.array([0.1, 1.0]), np.array([0.9, 0.8]), np.zeros(2), np.zeros(2)]}
HEADS = {"": b"\x89PNG", ".png": b"\x89PNG", ".PNG": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


FELL = ([3.0, 2.0, 1.5, 1.0], [1.0, 0.5, 0.2, 0.1], [0.0, 0.1, 0.2, 0.3])


def draw_path(path, curves=(), names=(), chosen=(0.1, 0.1), walks=WALK):
    return plots.plot_path(
        path, score="test", walks=walks, chosen=dict.fromkeys(walks, chosen), curves=dict(curves),
        names=names, title="weights",
    )  # fmt: skip


def draw_comparison(path, solvers=(), rates=(), weights=None, **given):
    weights = {"proximal": [np.eye(3)]} if weights is None else weights
    curve = dict.fromkeys(weights, np.array([[2.0, 1.0]]))
    given = {"objectives": curve, "zeros": curve, "scores": curve, "image_shape": None} | given
    given = {"score": "R²"} | given
    return plots.plot_comparison(
        path, weights=weights, seed=0, solvers=dict(solvers), rates=dict(rates), **given
    )


@pytest.fixture
def drawn(monkeypatch):
    """Draws, and returns the axes of each band."""

    def run(draw, *arguments, **given):
        figures = []
        monkeypatch.setattr(plots, "_save", lambda figure, *others: figures.append(figure))
        draw("x.png", *arguments, **given)
        return [band.axes for band in figures[0].subfigs]

    return run


@pytest.mark.parametrize("ending", HEADS)
def test_the_ending_of_the_path_says_the_format_and_png_stands_in_for_none(ending, tmp_path):
    draw_path(tmp_path / f"picture{ending}")
    (file,) = tmp_path.iterdir()
    assert file.name == f"picture{ending}"
    assert file.read_bytes().startswith(HEADS[ending])


@pytest.mark.parametrize("draw", [draw_path, lambda path: draw_comparison(path, {})])
def test_an_ending_that_is_no_format_is_refused_before_anything_is_drawn(
    draw, tmp_path, monkeypatch
):
    monkeypatch.delattr("matplotlib.figure.Figure.__init__")  # none is made
    with pytest.raises(ValueError, match=r"the ending of path must be one of .*png.*, got 'txt'"):
        draw(tmp_path / "picture.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    def fails(figure, file, **settings):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "no space")

    draw_path(tmp_path / "picture.png")
    before = (tmp_path / "picture.png").read_bytes()
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fails)
    with pytest.raises(OSError, match="no space"):
        draw_path(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_solver_that_diverged_is_in_the_legend_and_not_on_the_axes(drawn):
    rates = {"fista": 2.0, "ista": 1.0}
    alone = drawn(draw_comparison, {"ista": FELL}, rates, bound=0.5)[3]
    both = drawn(draw_comparison, {"fista": ([], [], []), "ista": FELL}, rates, bound=0.5)[3]
    for panel, other in zip(alone, both, strict=True):
        assert panel.get_xlim() == other.get_xlim()
        assert panel.get_ylim() == other.get_ylim()
    told = [text.get_text() for text in both[-1].get_legend().get_texts()]
    assert told == ["fista: diverged", "ista"]


def test_the_best_solver_is_as_far_from_the_bound_as_its_gap_and_does_not_dive(drawn):
    other = ([3.0, 4.0, np.nan, 2.5], [1.0, 1.0, 1.0, 0.0], FELL[2])
    panels = drawn(draw_comparison, {"fista": FELL, "ista": other}, {"fista": 2.0}, bound=0.75)[3]
    titles = [axes.get_title() for axes in panels]
    assert titles == ["F − bound"] * 2 + ["stationarity residual"] * 2
    assert [line.get_ydata().tolist() for line in panels[1].lines] == [
        [2.25, 1.25, 0.75, 0.25], [2.25, 2.25, 2.25, 1.75],
    ]  # fmt: skip
    theory = [line for line in panels[0].lines if line.get_linestyle() == ":"]
    assert theory[0].get_ydata().tolist() == [1.25, 1.25 / 4, 1.25 / 9]
    at_rounding = ([3.0, 1.0], [1.0, 0.0], [0.0, 0.1])
    panels = drawn(draw_comparison, {"fista": at_rounding}, bound=1.0)[3]
    assert panels[1].lines[0].get_ydata()[-1] == np.spacing(1.0)
    assert [axes.get_ylim()[0] for axes in panels[2:]] == [0, 0]  # and the residual 0 is on it
    panels = drawn(draw_comparison, {"fista": ([3.0], [1.0], [0.0])}, {"fista": 2.0}, bound=1)[3]
    assert panels[1].lines[0].get_marker() != "None"


def test_where_no_bound_is_known_the_stationarity_stands_alone(drawn):
    panels = drawn(draw_comparison, {"fista": FELL}, {"fista": 2.0})[3]
    assert [axes.get_title() for axes in panels] == ["stationarity residual"] * 2
    assert "no bound" in panels[0].figure.get_suptitle()


def ticks(axis):
    """The ticks that have a label and are shown."""
    axis.axes.figure.figure.draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    every = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [tick for tick in every if low <= tick.get_loc() <= high and tick.label1.get_text()]


def labels(axis):
    return [tick.label1.get_text() for tick in ticks(axis)]


def overlaps(texts, wider=1.0):
    """Whether one text, made wider, stands over another, once the figure is laid out."""
    texts[0].figure.figure.draw_without_rendering()
    boxes = [text.get_window_extent().expanded(wider, 1) for text in texts]
    return any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.fixture
def axes():
    """Of the size that a curve has."""
    figure = matplotlib.figure.Figure(figsize=(plots.WIDTH / 3, 3.6), layout="constrained")
    return figure.subplots()


@pytest.mark.parametrize("scale", [1e-3, 0.3, 14.0, 100.0])
@pytest.mark.parametrize("factor", [1.02, 5.5, 300.0, 1e9])
def test_a_logarithmic_axis_has_some_numbers_beside_it_and_none_over_another(axes, scale, factor):
    axes.plot(scale * np.geomspace(factor, 1, 9))
    plots._logarithmic(axes)
    assert axes.get_yscale() == ("log" if factor > 5 else "linear")
    shown = ticks(axes.yaxis)
    assert len(shown) >= 2
    assert not overlaps([tick.label1 for tick in shown])


@pytest.mark.parametrize("least", [0.0, -2.0, np.nan])
def test_an_objective_that_is_0_or_less_has_its_line(drawn, least):
    curves = {"none": np.full((2, 30), least), "proximal": np.linspace(9, 1, 30)[np.newaxis]}
    weights = {m: [np.eye(3)] for m in curves}
    axes = drawn(draw_comparison, objectives=curves, weights=weights)[0][0]
    assert axes.get_yscale() == ("log" if np.isnan(least) else "linear")
    low, high = axes.get_ylim()
    assert low < (1 if np.isnan(least) else least) < high


@pytest.mark.parametrize("seconds", [0.0022, 2e5])
def test_seconds_are_numbers_with_room_between(seconds):
    figure = matplotlib.figure.Figure(figsize=(plots.WIDTH, 3.8), layout="constrained")
    curve = ([*np.geomspace(3, 1, 9)], [*np.geomspace(3, 1e-9, 9)], [*np.linspace(0, seconds, 9)])
    plots._draw_convergence(figure, {"subgradient, constant": curve}, {}, 0.5)
    shown = ticks(figure.axes[1].xaxis)
    assert len(shown) >= 2
    assert not overlaps([tick.label1 for tick in shown], wider=1.2)


@pytest.mark.parametrize(
    "scores",
    [
        [[0.1], [0.9], [0.91], [0.92], [0.93]],
        [[0.3, 0.8, 0.85, 0.86]],
        [[0.0, *[1.0] * 11], [1.0] * 12],
        [[*np.linspace(0.8, 0.9, 59), 0.1], [0.9] * 60],
    ],
    ids=["one epoch", "four epochs", "the first of 12", "the last of many"],
)
def test_an_accuracy_that_is_low_is_on_the_axis(drawn, scores):
    curves = dict(zip(plots.COLOURS, map(np.atleast_2d, scores), strict=False))
    axes = drawn(_of_accuracy, curves)[0][2]
    low, high = axes.get_ylim()
    assert low < np.min(scores) <= np.max(scores) < high


def test_the_steep_start_of_many_epochs_may_begin_below_the_axis(drawn):
    curves = {"none": np.array([[0.1, 0.5, *[0.9] * 58]])}
    assert drawn(_of_accuracy, curves)[0][2].get_ylim()[0] > 0.8


def _of_accuracy(path, curves):
    weights = {method: [np.eye(3)] for method in curves}
    return draw_comparison(path, scores=curves, score="accuracy", weights=weights)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 60])
def test_epochs_are_whole_numbers_and_few_of_them_have_markers(axes, n):
    plots._draw_curves(axes, {"proximal": np.ones((2, n))}, "F")
    shown = labels(axes.xaxis)
    assert shown
    assert all(label.isdigit() for label in shown)
    assert (axes.lines[0].get_marker() in ("", "None")) == (n > plots.FEW)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "sizes", [[0.5, 123.0, -4e7], [1e-30, 1.0], [0.0], [0.0, 3.0], [1e-12], [10.0, 1.0]], ids=str
)
def test_every_weight_is_in_a_bin_of_its_own_size(drawn, sizes, dtype):
    W = np.array([sizes], dtype)
    (axes,) = drawn(draw_comparison, weights={"naive": [W, W.T]})[1]
    (step,) = [patch for patch in axes.patches if not patch.get_fill() and len(patch.get_xy()) > 5]
    x, heights = step.get_xy().T
    at = np.log10(np.abs(W[W != 0]), dtype=float)
    assert all(x.min() <= log <= x.max() for log in at)
    bar = axes.patches[-1]
    assert bar.get_height() == 2 * np.count_nonzero(W == 0)
    assert bar.get_x() + bar.get_width() < x.min()
    for log in at:
        assert (
            heights[np.searchsorted(x, log - 1e-9) : np.searchsorted(x, log + 1e-9) + 1].max() > 0
        )
    (legend,) = axes.get_legend().get_texts()
    assert legend.get_text() == f"naive: {2 * np.count_nonzero(W == 0)} of {2 * W.size} exactly 0"


@pytest.mark.parametrize(("methods", "inputs", "shape"), [(5, 64, (8, 8)), (6, 2000, None)])
def test_titles_of_the_first_layer_do_not_overlap(drawn, methods, inputs, shape):
    weights = {m: [np.zeros((inputs, 1)), np.ones((1, 1))] for m in [*plots.COLOURS][:methods]}
    panels = drawn(draw_comparison, weights=weights, image_shape=shape)[2]
    titles = [axes.title for axes in panels]
    assert len(titles) == methods
    assert not overlaps(titles)


def test_rows_of_a_table_have_the_inputs_names_where_they_are_few(drawn):
    names = ["cost_$", "$x$", "a\nb", "long " * 20]
    weights = {m: [np.eye(4)] for m in ("none", "naive")}
    panels = drawn(draw_comparison, weights=weights, names=names)[2]
    assert labels(panels[0].yaxis) == ["cost_$", "$x$", "a b", ("long " * 20)[: plots.NAME]]
    assert labels(panels[1].yaxis) == []
    assert not any(text.get_parse_math() for text in panels[0].get_yticklabels())
    weights = {m: [np.ones((plots.ROWS, 2))] for m in plots.COLOURS}
    panels = drawn(draw_comparison, weights=weights, names=["a"] * plots.ROWS)[2]
    assert not overlaps([tick.label1 for tick in ticks(panels[0].yaxis)])
    many = [str(i) for i in range(plots.ROWS + 1)]
    panels = drawn(draw_comparison, weights={"none": [np.ones((len(many), 2))]}, names=many)[2]
    assert labels(panels[0].yaxis) == []


def test_exact_zeros_are_white_and_the_rest_is_the_lighter_the_larger(tmp_path, drawn):
    W = np.array([[-2.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 2.0]])
    (axes,) = drawn(draw_comparison, weights={"none": [W]})[2]
    colours, over = (picture.to_rgba(picture.get_array()) for picture in axes.images)
    seen = lightness(over[0, :, 3:] * over[0, :, :3] + (1 - over[0, :, 3:]) * colours[0, :, :3])
    assert seen[3] == pytest.approx(100, abs=0.1)
    others = np.delete(seen, 3)
    assert (np.diff(others) >= 0).all()
    assert np.diff(others[[0, 1, 2, 4, 5]]).min() > 10
    assert others.max() < 90


# Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of Color Vision
# Deficiency, IEEE Trans. Vis. Comput. Graph. 15, 2009, table 1, severity 1.0; of linear sRGB.
SEEN_BY = {
    "all": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopes": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(rgb, seen_by="all"):
    """CIE L*a*b* of sRGB in [0, 1], white D65."""
    rgb = np.asarray(rgb, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(SEEN_BY[seen_by]), 0, 1)
    t = linear @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lightness(rgb):
    return lab(rgb)[..., 0]


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_colours_of_methods_are_told_apart_by_everyone_and_in_grey(seen_by):
    to_rgb = matplotlib.colors.to_rgb
    seen = {method: lab(to_rgb(colour), seen_by) for method, colour in plots.COLOURS.items()}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 12
        assert plots.DASHES[one] != plots.DASHES[other]
        assert plots.MARKERS[one] != plots.MARKERS[other]
        if seen_by == "all":
            assert abs(seen[one][0] - seen[other][0]) > 9.5
    assert max(colour[0] for colour in seen.values()) < 75  # on white


def test_the_description_is_returned_and_in_the_file(tmp_path):
    weights = {"none": [np.ones((3, 2))], "proximal": [np.eye(3)[:, :2]]}
    for draw, words in (
        (lambda path: draw_comparison(path, {"ista": FELL}, weights=weights, bound=0.75), [
            "Objective F = L + R (training data), after epoch 2: none 1; proximal 1.",
            "(seed 0), exactly 0 of 6: none 0; proximal 4.",
            "proximal: 67 % zeros, 1 of 3 inputs unused.",
            "F − bound in the end: ista 0.25. stationarity residual in the end: ista 0.1.",
        ]),
        (lambda path: draw_path(path, {"proximal": (np.array([0.1, 1]), np.eye(2))}, "ab"), [
            "proximal, first: λ 0.1; test score 0.9; zeros in % 0.",
            "proximal, last: λ 1; test score 0.8; zeros in % 0.",
            "proximal: weights at λ = 0.1, the largest: a 1; b 0.",
        ]),
        (lambda path: plots.plot_history(path, {"F": [3.0, 2.5], "L": [2.0, 1.0]}), [
            "F, after epoch 2: 2.5. L, after epoch 2: 1."
        ]),
    ):  # fmt: skip
        told = draw(tmp_path / "a.png")
        assert [word for word in words if word not in told] == []
        with image.open(tmp_path / "a.png") as picture:
            assert picture.text["Description"] == told
    for ending in ("svg", "pdf", "jpg"):
        assert draw(tmp_path / f"a.{ending}") == told
    assert told in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (draw_path, draw_comparison):
        with pytest.raises(ImportError, match=r"install tinyreg\[plot\]"):
            draw(tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def panels(drawn):
    """Draws the weights along a path and returns their panels."""
    return lambda curves, names, chosen: drawn(draw_path, curves, names, chosen)[1]


def test_a_path_of_which_nothing_is_left_says_so(drawn, tmp_path):
    assert draw_path(tmp_path / "x.png", walks={}) == "Every walk broke off."
    ((left, right),) = drawn(draw_path, walks={})
    assert left.texts[0].get_text() == right.texts[0].get_text() == "every walk broke off"


def test_a_path_of_one_lam_and_names_of_any_letters_are_drawn(tmp_path):
    walks = {m: [np.array([1e-5])] + [np.zeros(1)] * 3 for m in ("naive", "svrg")}
    curves = {m: (walks[m][0], np.array([[1.0, -2.0, 0.5]])) for m in walks}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_path(tmp_path / "x.png", curves, ["$\\frac$", "a_$", "x\ny"], (1e-5, 1e-5), walks)


def test_the_choice_is_a_star_on_both_upper_panels(drawn):
    (upper,) = drawn(draw_path, chosen=(0.1, 1.0))
    for axes, place in zip(upper, ([0, 0.8], [1.0, 0]), strict=True):
        stars = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "*"]
        assert stars == [[place]]


def test_weights_along_a_path_are_named_where_they_end_and_apart(panels):
    lams = np.array([0.1, 1.0, 10.0])
    ends = np.linspace(-1, 1, 14)
    ends[3:8] = 0.3 + 1e-3 * np.arange(5)  # near one another
    values = ends * np.array([[1.0], [0.5], [0.0]])
    values[1, [0, 13]] = 0  # not chosen at 1.0
    names = [f"name {i}" for i in range(14)]
    (axes,) = panels({"proximal": (lams, values)}, names, (0.1, 1.0))
    named = [text.get_text() for text in axes.texts]
    assert len(named) == plots.NAMED
    assert {"name 0", "name 13"}.isdisjoint(named)
    at = [names.index(name) for name in named]
    places = [text.get_position()[1] for text in axes.texts]
    assert [*np.argsort(ends[at])] == [*np.argsort(places)]
    assert np.diff(places).min() >= np.ptp(values) / 16 - 1e-12
    left, right = axes.get_xlim()
    assert (left > 10, right) == (True, 0.1)  # from sparse to dense
    assert {line.get_xdata()[0] for line in axes.lines if line.get_label()[0] != "_"} == {0.1, 1.0}


def test_of_many_weights_the_largest_are_drawn_and_of_none_nothing(panels):
    lams, n = np.array([0.5]), plots.DRAWN + 50
    values = np.linspace(-1, 2, n)[np.newaxis]
    names = [f"{i} {'long' * 20}" for i in range(n)]
    (axes,) = panels({"proximal": (lams, values)}, names, (0.3, 0.4))
    assert axes.get_title() == f"proximal: weights, the {plots.DRAWN} largest"
    assert len(axes.lines) == plots.DRAWN + plots.NAMED + 2  # a line to each name; two λ
    largest = [f"{i} {'long' * 20}"[: plots.NAME] for i in range(n - plots.NAMED, n)]
    assert [text.get_text() for text in axes.texts] == largest
    (axes,) = panels({"proximal": (lams, 0 * values)}, names, (0.5, 0.5))
    assert (len(axes.lines), len(axes.texts)) == (2, 0)
