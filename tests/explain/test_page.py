"""The page of an explanation: every number in it is the library's, and every sum adds up.

`tests/browser` looks at it in a browser.
"""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import random_targets
from tinyreg.core.layers import ACTIVATIONS
from tinyreg.explain.explanation import hand_example
from tinyreg.render.document import leading, number

LOSSES = [tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy(), tr.SquaredError()]
PENALTIES = [
    tr.L1(0.05),
    tr.L2(0.05),
    tr.ElasticNet(0.05, 0.02),
    tr.GroupLasso(0.05, axis=1),
    tr.GroupLasso(0.05, axis=0, l1=0.02, l2=0.01),
]
FACTORS = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]


class Page(HTMLParser):
    """Tags with their attributes and texts: `found` has (tag, attributes, text) of each element."""

    VOID = ("meta", "link", "input", "br", "img", "hr", "col")

    def __init__(self, html):
        super().__init__()
        self.found, self.open, self.cells = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append([tag, dict(attributes), ""])
        if tag not in self.VOID:
            self.open.append(self.found[-1])
        if "data-row" in self.found[-1][1]:
            self.cells.append([*self.open])

    def handle_startendtag(self, tag, attributes):
        self.found.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        while self.open.pop()[0] != tag:
            assert tag in ("tr", "td", "th", "p", "li")  # whose end may be left out

    def handle_data(self, data):
        for element in self.open:
            element[2] += data

    def all(self, tag, **attributes):
        return [
            (given, " ".join(text.split()))
            for name, given, text in self.found
            if name == tag and attributes.items() <= given.items()
        ]

    def arrays(self, result):
        """The arrays of the equation with this result, each {(row, column): number}."""
        arrays = {}
        for above in self.cells:
            given = {key: value for _, attributes, _ in above for key, value in attributes.items()}
            if given["data-result"] == result:
                at = int(given["data-row"]), int(given["data-col"])
                arrays.setdefault(int(given["data-array"]), {})[at] = float(above[-1][2])
        return [arrays[k] for k in sorted(arrays)]

    def made(self):
        """{name of a number: how it is made}."""
        told = [text for given, text in self.all("li") if "data-cell" in given]
        return dict(text.split(" = ", 1) for text in told)

    def stops(self):
        ((_, data),) = self.all("script", type="application/json")
        return json.loads(data)


def problem(activation="tanh", loss=LOSSES[2], penalty=None, sizes=(3, 2, 2), n=2, **settings):
    rng = np.random.default_rng(5)
    net = tr.MLP(sizes, activation)
    net.params = rng.normal(size=net.n_params)
    X = rng.normal(size=(n, sizes[0]))
    return tr.Objective(net, loss, penalty, **settings), X, random_targets(loss, n, sizes[-1], rng)


def results(objective, X, y):
    """z1, a1, p, dz1, dW1, … by the library."""
    net, trace = objective.net, objective.net.trace(X)
    outputs, last = trace.outputs, len(net.weights)
    costs = [objective.loss.value(outputs[n : n + 1], y[n : n + 1]) for n in range(len(X))]
    found = {"p": objective.loss.predict(outputs), "ℓ": np.squeeze(costs), "L": np.mean(costs)}
    for layer, z in enumerate(trace.pre_activations, start=1):
        found[f"z{layer}"] = z
        found |= {f"a{layer}": trace.activations[layer]} if layer < last else {}
    for kind, parts in zip("Wb", net.unpack(objective.data_gradient(X, y)), strict=True):
        found |= {f"d{kind}{layer}": part for layer, part in enumerate(parts, start=1)}
    dz = objective.loss.gradient(outputs, y)
    for layer in range(last, 0, -1):
        found[f"dz{layer}"] = dz
        if layer > 1:
            z, a = trace.pre_activations[layer - 2], trace.activations[layer - 1]
            da = found[f"da{layer - 1}"] = dz @ net.weights[layer - 1].T
            dz = ACTIVATIONS[net.activation].backward(da, z, a)
    return found


def test_the_hand_example_tells_where_each_number_comes_from():
    made = Page(tr.explain(*hand_example()).html()).made()
    assert made["z1[0,0]"] == "1 · 0.1 + 2 · 0.9 + 0.1 = 2"
    assert made["a1[0,1]"] == "f(-0.5) = 0"
    assert made["p[0,1]"] == "z2[0,1] = -0.5"
    assert made["ℓ"] == "½ · (1.5 − 1)² + ½ · (-0.5 − 0)² = 0.25"
    assert made["L"] == "0.25/1 = 0.25"
    assert made["dz2[0,1]"] == "(-0.5 − 0)/1 = -0.5"
    assert made["dW2[0,1]"] == "2 · (-0.5) = -1; central difference -1"
    assert made["db2[1]"] == "dz2[0,1] = -0.5; central difference -0.5"
    assert made["da1[0,0]"] == "0.5 · 0.5 + (-0.5) · (-0.25) = 0.375"
    assert made["dz1[0,1]"] == "(-0.46) · 0 = 0"
    assert made["dW1[1,0]"] == "2 · 0.375 = 0.75; central difference 0.75"


def test_where_a_unit_goes_on_there_is_no_central_difference():
    objective, X, y = hand_example()
    objective.net.weights[0][:, 1] = [-1.0, 0.5]  # z = 0 for the second unit
    made = Page(tr.explain(objective, X, y).html()).made()
    assert made["dW1[0,1]"] == "1 · 0 = 0; no central difference: kink"
    assert made["dW1[0,0]"] == "1 · 0.375 = 0.375; central difference 0.375"


def test_a_long_sum_is_told_by_its_first_terms():
    made = Page(tr.explain(*problem("relu", LOSSES[0], sizes=(9, 8, 7), n=1)).html()).made()
    assert re.search(r"^(\S+ · \S+ \+ ){3}… \(10 terms\) = ", made["z1[0,0]"])
    assert re.search(r"^exp\(\S+\)/\((exp\(\S+\) \+ ){3}… \(7 terms\)\) = ", made["p[0,6]"])


def value_of(written):
    """What a sum gives, and how large its terms are."""
    for sign, python in (("·", "*"), ("−", "-"), ("½", "0.5"), ("²", "**2")):
        written = written.replace(sign, python)
    names = {"exp": math.exp, "log": math.log}
    total = eval(written, names)
    return total, max(abs(total), eval(re.sub("(?<!e)-", "+", written), names))


@pytest.mark.parametrize(
    ("activation", "loss", "n"),
    [*((a, LOSSES[2], 1) for a in ACTIVATIONS), *(("relu", loss, 3) for loss in LOSSES)],
)
def test_each_number_has_a_sum_that_gives_it_and_is_the_librarys(activation, loss, n):
    case = problem(activation, loss, sizes=(3, 2, 3, 2), n=n)
    made, expected = Page(tr.explain(*case).html()).made(), results(*case)
    for name, array in expected.items():
        for index in np.ndindex(array.shape):
            told = made.pop(name + (f"[{','.join(map(str, index))}]" if index else ""))
            written, _, result = told.partition("; ")[0].rpartition(" = ")
            assert float(result) == pytest.approx(array[index], rel=6e-4, abs=1e-300), told
            assert (result == "0") == (array[index] == 0)
            if name[:2] in ("dW", "db"):
                difference = float(told.rpartition("central difference ")[2])
                assert difference == pytest.approx(array[index], rel=1e-3, abs=1e-8)
            if re.fullmatch(r"([\d.e+()·−½² /-]|exp|log)*", written):
                total, size = value_of(written)
                assert total == pytest.approx(float(result), abs=2e-3 * size), told
            else:
                assert re.fullmatch(r"f\(\S+\)|(d?z\d)\[\d,\d\]", written)
    assert made == {}


@pytest.mark.parametrize(
    ("loss", "penalty"),
    [*((loss, None) for loss in LOSSES), *((LOSSES[0], penalty) for penalty in PENALTIES)],
)
def test_the_cells_of_the_page_are_the_librarys_numbers(loss, penalty):
    case = problem("gelu", loss, penalty, sizes=(4, 9, 2))
    net, expected = case[0].net, results(*case)
    explanation = tr.explain(*case)
    page = Page(explanation.html())

    def assert_shown(cells, array):
        shown = leading(np.atleast_2d(array))
        assert cells == {at: float(number(x)) for at, x in np.ndenumerate(shown)}

    for name, array in expected.items():
        if np.ndim(array):
            assert_shown(page.arrays(name)[-1], array)
    x, W, b, _ = page.arrays("z1")
    for cells, array in ((x, case[1]), (W, net.weights[0]), (b, net.biases[0])):
        assert_shown(cells, array)
    for cells, array in zip(page.arrays("dW2"), (expected["a1"].T, expected["dz2"]), strict=False):
        assert_shown(cells, array)


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_the_stops_are_what_training_and_the_prox_give(penalty):
    loss = LOSSES[0]
    objective, X, y = problem("tanh", loss, penalty, sizes=(2, 2, 2), n=1)
    lr, net = 0.25, objective.net
    stops = Page(tr.explain(objective, X, y, lr=lr, steps=3).html()).stops()
    methods = {"by subgradient": "subgradient", "by prox": "proximal", "by gradient": "subgradient"}
    assert len(stops["methods"]) == (1 if penalty.smooth else 2)
    assert stops["weights"] == [f"W{k}[{i},{j}]" for k in (1, 2) for i in (0, 1) for j in (0, 1)]
    gradient = objective.data_gradient(X, y)[:8]
    for k, row in zip(FACTORS, stops["at"], strict=True):
        of_stop = {name: x if name == "axis" else k * x for name, x in vars(penalty).items()}
        R = type(penalty)(**of_stop)
        for factor, stop in zip(FACTORS, row, strict=True):
            eta = lr * factor
            u = net.params[:8] - eta * gradient
            after = [R.prox(part, eta) for part in u.reshape(2, 2, 2)]
            np.testing.assert_allclose(stop["u"], u, rtol=6e-6)
            np.testing.assert_allclose(stop["prox"], np.ravel(after), rtol=6e-6)
            for method, walk in zip(stops["methods"], stop["walks"], strict=True):
                trained = net.copy()
                for t in range(4):
                    shown = np.array(walk)[:, t]
                    np.testing.assert_allclose(shown, trained.params[:8], rtol=6e-6, atol=1e-300)
                    tr.fit(
                        trained, X, y, loss=loss, penalty=R, method=methods[method],
                        optimizer=tr.SGD(eta), epochs=1, batch_size=1,
                    )  # fmt: skip


def test_the_curve_is_the_soft_threshold():
    stops = Page(tr.explain(*hand_example(penalty=tr.ElasticNet(0.5, 0.25))).html()).stops()
    for k, row in zip(FACTORS, stops["at"], strict=True):
        for factor, stop in zip(FACTORS, row, strict=True):
            (left, low), (a, at_a), (b, at_b), (right, high) = stop["curve"]
            eta = 0.1 * factor
            assert (-a, b) == pytest.approx((eta * k * 0.5, eta * k * 0.5), rel=6e-6)
            assert at_a == at_b == 0
            shrunk = (right - b) / (1 + 2 * eta * k * 0.25)
            assert (-left, -low, high) == pytest.approx((right, shrunk, shrunk), rel=1e-4)


def test_steps_that_diverge_are_not_shown():
    objective, X, y = problem("identity", penalty=tr.L1(0.1), sizes=(2, 2, 2), n=1)
    page = Page(tr.explain(objective, X, y, lr=0.1, steps=12).html())
    last = page.stops()["at"][0][-1]
    assert last["walks"] == [None, None]
    assert last["told"].endswith("by subgradient it diverges, by prox it diverges.")


def lines(objective, X, y):
    """The lines of the drawing, {(layer, from, to): its attributes}."""
    html = tr.explain(objective, X, y).html()
    svg = html[html.index('<svg class="network"') :].partition("</svg>")[0]
    found = {}
    for drawn, title in re.findall(r"<line ([^>]*)><title>(.*?)</title>", svg):
        name = tuple(map(int, re.match(r"W(\d)\[(\d),(\d)\] = ", title).groups()))
        found[name] = dict(re.findall(r'([\w-]+)="([^"]*)"', drawn))
    return found


def test_lines_tell_sign_and_size_of_the_weights_and_zeros_have_none():
    objective, X, y = problem(sizes=(3, 4, 2))
    objective.net.weights[0][[0, 2], [1, 3]] = 0.0
    drawn = lines(objective, X, y)
    weights = {
        (layer, *index): w
        for layer, W in enumerate(objective.net.weights, start=1)
        for index, w in np.ndenumerate(W)
    }
    assert drawn.keys() == {name for name, w in weights.items() if w}
    for name, line in drawn.items():
        assert line["class"] == ("positive" if weights[name] > 0 else "negative")
        width = 1 + 5 * abs(weights[name]) / max(map(abs, weights.values()))
        assert float(line["stroke-width"]) == pytest.approx(width, abs=0.06)


def test_the_units_bear_the_numbers_of_the_first_sample():
    case = problem("gelu", LOSSES[0], sizes=(3, 2, 4, 3), n=4)
    html, expected = tr.explain(*case).html(), results(*case)
    shown = {}
    for name, text in re.findall(
        r'<text [^>]*data-of="(\w+)">(?:<tspan>\w+</tspan>)?(.*?)</text>', html
    ):
        shown.setdefault(name, []).append(text.strip())
    for name, array in expected.items():
        if name in shown and name not in ("L", "dW1", "dW2", "dW3"):
            assert shown[name] == [number(x) for x in np.atleast_2d(array)[0]]
    assert {f"{kind}{k}" for kind in ("z", "dz", "db", "dW") for k in (1, 2, 3)} < shown.keys()
    assert {"a1", "a2", "da1", "da2", "p"} < shown.keys()
    assert shown["L"] == [f"L = {number(case[0].terms(*case[1:]).data)}"]


class Own:
    """A penalty of somebody's own, 0.1 Σ √(1 + w²)."""

    smooth = True

    def value(self, w):
        return 0.1 * np.sum(np.sqrt(1 + w * w)).item()

    def subgradient(self, w):
        return 0.1 * w / np.sqrt(1 + w * w)

    def prox(self, w, step):
        return w - step * self.subgradient(w)

    def residual(self, w, g):
        return np.abs(g + self.subgradient(w))


@pytest.mark.parametrize(
    ("case", "strength"),
    [
        (problem(sizes=(3, 1), penalty=tr.L1(0.5), n=1), "λ = 0.5"),
        (problem(sizes=(3, 2), penalty=tr.ElasticNet(0.5, 0.2)), "l1 = 0.5, l2 = 0.2"),
        (problem(penalty=[tr.L1(0.1), tr.GroupLasso(0.2, axis=0)]), "each penalty times 1"),
        (problem(penalty=tr.L1(0.1), bias_penalty=tr.L2(0.2)), "each penalty times 1"),
        (problem(sizes=(2, 9, 2), bias_penalty=tr.L1(0.1)), "λ = 0.1"),
        (problem(penalty=Own()), "each penalty times 1"),
        (problem(sizes=(30, 40, 5), penalty=tr.L1(0.1), n=100), "λ = 0.1"),
    ],
)
def test_whatever_is_penalised_can_be_slid(case, strength):
    stops = Page(tr.explain(*case).html()).stops()
    assert stops["lam"][len(stops["lam"]) // 2] == strength
    assert stops["eta"][len(stops["eta"]) // 2] == "η = 0.1"
    assert len(stops["at"]) == len(stops["lam"])
    assert all(len(row) == len(stops["eta"]) for row in stops["at"])
    for stop in (stop for row in stops["at"] for stop in row):
        assert len(stop["u"]) == len(stop["prox"]) == len(stops["weights"])


def test_without_a_penalty_there_is_nothing_to_slide():
    html = tr.explain(*problem()).html()
    assert "<input" not in html
    assert "application/json" not in html


def test_the_network_is_left_as_it_is():
    objective, X, y = hand_example()
    before, explanation = objective.net.params.copy(), tr.explain(objective, X, y)
    page = explanation.html()
    np.testing.assert_array_equal(objective.net.params, before)
    objective.net.params = np.zeros(12)
    assert explanation.html() == page


def test_the_page_is_small_and_names_no_other_address():
    hand = tr.explain(*hand_example()).html()
    assert len(hand.encode()) <= 150_000
    X, y = tr.load_digits()
    objective = tr.Objective(tr.MLP((64, 64, 10)), tr.SoftmaxCrossEntropy(), tr.L1(1e-3))
    digits = tr.explain(objective, X[:1], y[:1]).html()
    assert len(digits.encode()) <= 400_000
    for page in (hand, digits):
        assert not re.search(
            r"\b(src|href|action|srcset)=|url\(|@import|https?://(?!www\.w3\.org/)", page
        )
        assert not re.search(r"innerHTML|\beval\(|document\.write", page)


def test_no_text_becomes_a_tag():
    explanation = tr.explain(*hand_example())
    explanation.sections[0].pieces.append("`</script>` <script>alert(1)</script>")
    page = explanation.html()
    assert page.count("<script") == page.count("</script>") == 2


@pytest.mark.parametrize("loss", [tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy()])
def test_a_prediction_that_rounds_to_0_has_no_sum_and_no_warning(loss):
    net = tr.MLP((1, 2))
    net.params = [900.0, -900.0, 0.0, 0.0]
    page = tr.explain(tr.Objective(net, loss), [[1.0]], [[0.0, 1.0]]).html()
    assert "log(0)" not in page
    assert "∞" not in page
