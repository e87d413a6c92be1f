"""Pictures: which file is written, and what stands on the axes."""

import errno

import numpy as np
import pytest

from tinyreg.render import plots

pytest.importorskip("matplotlib", reason="needs the plot extra")

WALK = {"proximal": [np.array([0.1, 1.0]), np.array([0.9, 0.8]), np.zeros(2), np.zeros(2)]}
HEADS = {"": b"\x89PNG", ".png": b"\x89PNG", ".PNG": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def draw_path(path, curves=(), names=(), chosen=(0.1, 0.1)):
    plots.plot_path(
        path, score="test", walks=WALK, chosen={"proximal": chosen}, curves=dict(curves),
        names=names, title="weights",
    )  # fmt: skip


def draw_comparison(path, solvers, rates=()):
    curve = {"proximal": np.array([[2.0, 1.0]])}
    plots.plot_comparison(
        path, objectives=curve, zeros=curve, scores=curve, score="R²",
        weights={"proximal": [np.eye(3)]}, seed=0, image_shape=None, solvers=solvers,
        rates=dict(rates),
    )  # fmt: skip


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


def test_a_solver_that_diverged_is_in_the_legend_and_not_on_the_axes(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path, kind: figures.append(figure))
    fell = ([3.0, 2.0, 1.5, 1.0], [1.0, 0.5, 0.2, 0.1], [0.0, 0.1, 0.2, 0.3])
    rates = {"fista": 2.0, "ista": 1.0}
    draw_comparison("x.png", {"ista": fell}, rates)
    draw_comparison("x.png", {"fista": ([], [], []), "ista": fell}, rates)
    alone, both = (figure.subfigs[3].axes for figure in figures)
    for panel, other in zip(alone, both, strict=True):
        assert panel.get_xlim() == other.get_xlim()
        assert panel.get_ylim() == other.get_ylim()
    told = [text.get_text() for text in both[0].get_legend().get_texts()]
    assert told == ["fista: diverged", "ista"]


@pytest.fixture
def panels(monkeypatch):
    """Draws the weights along a path and returns their panels."""

    def drawn(curves, names, chosen):
        figures = []
        monkeypatch.setattr(plots, "_save", lambda figure, path, kind: figures.append(figure))
        draw_path("x.png", curves, names, chosen)
        return figures[0].subfigs[1].axes

    return drawn


def test_the_choice_is_a_star_on_both_upper_panels(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path, kind: figures.append(figure))
    draw_path("x.png", chosen=(0.1, 1.0))
    for axes, place in zip(figures[0].subfigs[0].axes, ([0, 0.8], [1.0, 0]), strict=True):
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
    (axes,) = panels({}, names, (0.5, 0.5))
    assert len(axes.lines) == 0
