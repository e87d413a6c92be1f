"""What a notebook shows: the numbers of each result, in a notebook that really runs as well."""

import json
import re
from importlib.util import find_spec

import numpy as np
import pytest

import tinyreg as tr
from tinyreg import notebook
from tinyreg.core.training import History
from tinyreg.explain.explanation import hand_example
from tinyreg.render.text import to_text

rng = np.random.default_rng(0)
X, y = rng.normal(size=(30, 3)), rng.normal(size=30)
PARTS = X[:20], y[:20], X[20:], y[20:]
HOW = {"hidden": (2,), "epochs": 2, "seeds": (0,)}


def numbers(text):
    return re.findall(r"-?\d+\.\d+(?:e[-+]\d+)?", text)


@pytest.fixture(scope="module")
def comparison():
    return tr.compare(*PARTS, penalty=tr.L1(0.1), **HOW)


@pytest.mark.parametrize("kind", ["explanation", "report", "comparison", "path"])
def test_a_result_shows_the_numbers_of_its_tables(kind, comparison):
    result = {
        "explanation": lambda: tr.explain(*hand_example()),
        "report": lambda: tr.check_gradient(lambda x: (x**2).sum(), lambda x: x, np.ones(2)),
        "comparison": lambda: comparison,
        "path": lambda: tr.path(*PARTS, lams=(0.01, 0.1), first_epochs=2, **HOW),
    }[kind]()
    shown, expected = result._repr_html_(), numbers(to_text(result.document()))
    assert not {*expected} - {*numbers(shown)}
    assert " id=" not in shown
    assert "<script" not in shown
    pictured = kind in ("comparison", "path") and find_spec("matplotlib") is not None
    assert shown.count("data:image/png;base64,iVBOR") == pictured
    if pictured:
        assert re.search(r'<img [^>]*alt="[^"]{40,}"', shown)


def test_without_matplotlib_there_is_no_picture(comparison, monkeypatch):
    monkeypatch.setattr(notebook, "find_spec", lambda name: None)
    assert "<img" not in comparison._repr_html_()


def test_a_history_shows_some_epochs_with_the_best_and_the_last():
    rise = [float(i) for i in range(1, 51)]
    told = History(rise, rise, rise, [i / 100 for i in rise], rise, rise, best_epoch=17)
    cells = re.findall(r"<th scope=\"row\">(.*?)</th>", told._repr_html_())
    assert cells == ["1", "8", "15", "17 (best)", "22", "29", "36", "43", "50"]
    assert "<td>50.0 %</td>" in told._repr_html_()
    assert "validation" not in History(rise, rise, rise, rise)._repr_html_()
    assert "0 epochs" in History()._repr_html_()


def test_a_network_shows_its_layers_and_their_zeros():
    net = tr.MLP((3, 4, 2))
    net.weights[0][1] = 0
    shown = net._repr_html_()
    assert "3 × 4</td><td>33.3 %</td><td>1 of 3</td>" in shown
    assert "26 parameters, 20 of them weights" in shown


def marks(shown):
    """The number line's names, their places and numbers."""
    texts = re.findall(r'<text x="([\d.]+)"[^>]*>(\S+) (\S+)</text>', shown)
    return {name: (float(place), float(number)) for place, name, number in texts}


def test_the_worst_coordinate_stands_on_a_number_line():
    report = tr.check_gradient(lambda x: (x**2).sum(), lambda x: x, np.array([3.0, 4.0]))
    line = marks(report._repr_html_())
    assert (line["given"][1], line["numeric"][1]) == (4, 8)
    assert line["given"][0] < line["numeric"][0]


def test_a_right_gradient_is_one_mark():
    report = tr.check_gradient(lambda x: (x**2).sum(), lambda x: 2 * x, np.array([3.0, 4.0]))
    line = marks(report._repr_html_())
    assert line["given"][0] == line["numeric"][0] == notebook.WIDTH / 2


@pytest.mark.parametrize(("slope", "between"), [(0.5, True), (2.0, False)])
def test_a_kink_is_the_bar_from_one_slope_to_the_other(slope, between):
    report = tr.check_gradient(lambda x: abs(x).sum(), lambda x: x + slope, np.zeros(1))
    line = marks(report._repr_html_())
    assert (line["D⁻"][1], line["D⁺"][1], line["given"][1]) == (-1, 1, slope)
    assert (line["D⁻"][0] < line["given"][0] < line["D⁺"][0]) == between
    x, width = map(
        float, re.search(r'<rect x="([\d.]+)" .*?width="([\d.]+)"', report._repr_html_()).groups()
    )
    assert x == pytest.approx(line["D⁻"][0], abs=0.1)
    assert x + width == pytest.approx(line["D⁺"][0], abs=0.2)


def test_names_stay_text():
    hostile = "<script>alert(1)</script>"
    line = notebook.number_line(hostile, {"given": 1.0, "numeric": None})
    assert "<script" not in line
    assert "numeric" not in line


def test_a_real_notebook_shows_all_of_them():
    nbformat = pytest.importorskip("nbformat", reason="needs the pages extra")
    client = pytest.importorskip("nbclient", reason="needs the pages extra")
    pytest.importorskip("ipykernel", reason="needs the pages extra")
    set_up = f"""
import numpy as np, tinyreg as tr
from tinyreg.explain.explanation import hand_example
rng = np.random.default_rng(0)
X, y = rng.normal(size=(30, 3)), rng.normal(size=30)
parts, how = (X[:20], y[:20], X[20:], y[20:]), {HOW!r}
net = tr.MLP((3, 2, 1))
"""
    shown = [
        "tr.explain(*hand_example())",
        "tr.check_gradients(tr.Objective(net, tr.SquaredError(), tr.L1(0.1)), X, y)",
        "tr.compare(*parts, **how)",
        "tr.path(*parts, lams=(0.01, 0.1), first_epochs=2, **how)",
        "tr.fit(net, X, y, loss=tr.SquaredError(), epochs=3)",
        "net",
    ]
    cells = [nbformat.v4.new_code_cell(code) for code in (set_up, *shown)]
    book = nbformat.v4.new_notebook(cells=cells)
    client.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    for cell in book.cells[1:]:
        (output,) = (o for o in cell.outputs if o.output_type == "execute_result")
        assert output.data["text/html"].startswith('<div class="tinyreg">'), cell.source
        assert "text/plain" in output.data
    json.dumps(book)
