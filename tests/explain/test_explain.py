"""`explain` prints the library's own numbers: what stands on the page is parsed and compared."""

import json
import re

import numpy as np
import pytest

import tinyreg as tr
from tests.support.nets import random_targets
from tinyreg.cli.main import main
from tinyreg.core.layers import ACTIVATIONS
from tinyreg.datasets.scaling import Scaling
from tinyreg.explain.explanation import hand_example
from tinyreg.render.document import Document, Equation, Table, leading, number
from tinyreg.render.latex import to_latex
from tinyreg.study.model import Model

LOSSES = [tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy(), tr.SquaredError()]
PENALTIES = [
    tr.L1(0.05),
    tr.L2(0.05),
    tr.ElasticNet(0.05, 0.02),
    tr.GroupLasso(0.05, axis=1),
    tr.GroupLasso(0.05, axis=0),
    tr.GroupLasso(0.05, axis=1, l1=0.02, l2=0.01),
]
ENTRY = re.compile(r"d?([Wb])(\d+)\[(\d+)(?:,(\d+))?\]")


def problem(activation="tanh", loss=LOSSES[2], penalty=None, sizes=(3, 2, 2), n=2, **settings):
    rng = np.random.default_rng(5)
    net = tr.MLP(sizes, activation)
    net.params = rng.normal(size=net.n_params)
    X = rng.normal(size=(n, sizes[0]))
    return tr.Objective(net, loss, penalty, **settings), X, random_targets(loss, n, sizes[-1], rng)


def place(net, name):
    """The position in the parameter vector of an entry such as dW1[0,1]."""
    kind, layer, *index = ENTRY.fullmatch(name.replace("`", "")).groups()
    weights, biases = net.unpack(np.arange(net.n_params))
    block = (weights if kind == "W" else biases)[int(layer) - 1]
    return block[tuple(int(i) for i in index if i is not None)]


def text_tables(text):
    """Every table of the text: its header line, and rows of cells."""
    lines = text.splitlines()
    tables = []
    for i, line in enumerate(lines):
        if re.fullmatch(r"  -+(  -+)+", line):
            body = []
            for row in lines[i + 1 :]:
                if not row.strip():
                    break
                body.append(row.split())
            tables.append((lines[i - 1], body))
    return tables


def in_brackets(text, formula):
    """Every number in the matrices of an equation, sorted, as it is printed."""
    first, *rest = text[text.index(f"\n{formula}") + 1 :].split("\n\n")
    lines = [first]
    for paragraph in rest:
        if not paragraph.startswith("  "):
            break
        lines.append(paragraph)
    rows = re.findall(r"\[ ([^\]]*) \]", "\n".join(lines))
    return sorted(cell for row in rows for cell in row.split())


def printed(*arrays):
    return sorted(number(x) for array in arrays for x in np.ravel(array))


def assert_printed(cell, value):
    """The cell is the value, to the digits that it shows."""
    assert float(cell) == pytest.approx(value, rel=5.1e-4, abs=1e-300)
    assert (cell == "0") == (value == 0)


def test_the_hand_example_worked_by_hand():
    text = tr.explain(*hand_example()).text()
    assert "a1 = f(z1) = f [ 2  -0.5 ] = [ 2  0 ]" in text
    assert "p = z2 = [ 1.5  -0.5 ]" in text
    assert "L = Σ_n ℓ_n/N = 0.25" in text
    assert "= ( [ 1.5  -0.5 ] − [ 1  0 ] ) / 1 = [ 0.5  -0.5 ]" in text
    assert "= [ 0.375  -0.46 ] ⊙ [ 1  0 ] = [ 0.375  0 ]" in text
    assert "R = R(W1) + R(W2) = 1.125 + 0.915 = 2.04" in text
    assert "F = L + R = 0.25 + 2.04 = 2.29" in text
    (_, _), (_, second), (_, first), (_, slopes), (_, proxes), (_, steps) = text_tables(text)
    by_hand = [
        ["dW2[0,0]", "1"], ["dW2[0,1]", "-1"], ["dW2[1,0]", "0"], ["dW2[1,1]", "0"],
        ["db2[0]", "0.5"], ["db2[1]", "-0.5"],
        ["dW1[0,0]", "0.375"], ["dW1[0,1]", "0"], ["dW1[1,0]", "0.75"], ["dW1[1,1]", "0"],
        ["db1[0]", "0.375"], ["db1[1]", "0"],
    ]  # fmt: skip
    assert [row[:2] for row in second + first] == by_hand
    assert [row[2] for row in second + first] == [row[1] for row in by_hand]
    assert slopes[0][:7] == ["W1[0,0]", "0.1", "0.05", "0.5", "0.375", "0.875", "0.875"]
    assert slopes[5][:7] == ["W2[0,1]", "-0.25", "0.125", "-0.5", "-1", "-1.5", "-1.5"]
    assert proxes[0] == ["W1[0,0]", "0.1", "0.375", "0.0625", "0.05", "0.0125"]
    assert proxes[6] == ["W2[1,0]", "0.08", "0", "0.08", "0.05", "0.03"]
    oscillates = ["0.08", "0.03", "-0.02", "0.03", "-0.02", "0.03", "-0.02"]
    assert [row[3] for row in steps] == oscillates
    assert [row[4] for row in steps] == ["0.08", "0.03", "0", "0", "0", "0", "0"]


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_every_number_on_the_page_is_the_librarys(activation, loss, penalty):
    objective, X, y = problem(activation, loss, penalty)
    net, trace = objective.net, objective.net.trace(X)
    text = tr.explain(objective, X, y).text()
    (W1, W2), (b1, b2) = net.weights, net.biases
    z1, z2 = trace.pre_activations
    a1, dz = trace.activations[1], loss.gradient(z2, y)
    target = np.eye(2)[y] if y.ndim == 1 else y
    assert in_brackets(text, "z1 = x W1 + b1") == printed(X, W1, b1, z1)
    assert in_brackets(text, "a1 = f(z1)") == printed(z1, a1)
    assert in_brackets(text, "z2 = a1 W2 + b2") == printed(a1, W2, b2, z2)
    assert in_brackets(text, "dz2 = ") == printed(loss.predict(z2), target, dz)
    costs = [loss.value(z2[n : n + 1], y[n : n + 1]) for n in range(len(X))]
    assert in_brackets(text, "ℓ = ") == printed(*costs)
    assert in_brackets(text, "da1 = dz2 W2ᵀ") == printed(dz, W2, dz @ W2.T)
    terms, whole = objective.terms(X, y), objective.gradient(X, y)
    g = objective.data_gradient(X, y)
    assert f"L = Σ_n ℓ_n/N = {number(terms.data)}" in text
    assert f"= {number(terms.data)} + {number(terms.penalty)} = {number(terms.total)}" in text
    (_, _), (_, second), (_, first), (_, slopes), (_, proxes), _ = text_tables(text)
    assert len(second + first) == net.n_params
    for name, gradient, measured, gap in second + first:
        assert_printed(gradient, g[place(net, name)])
        assert float(gap) < 1e-8
        assert float(measured) == pytest.approx(g[place(net, name)], rel=1e-3, abs=1e-8)
    assert len(slopes) == len(proxes) == net.n_weights
    pull = whole - g
    after = np.concatenate(
        [
            penalty.prox(W - 0.1 * dW, 0.1).ravel()
            for W, dW in zip(net.weights, net.unpack(g)[0], strict=True)
        ]
    )
    for name, w, cost, slope, gradient, total, measured, gap in slopes:
        k = place(net, name)
        if isinstance(penalty, tr.GroupLasso):
            layer, row, column = (int(i) for i in re.findall(r"\d+", name))
            W = net.weights[layer - 1]
            assert_printed(cost, np.linalg.norm(W[row] if penalty.axis == 1 else W[:, column]))
        else:
            assert_printed(cost, penalty.value(net.params[k : k + 1]))
        assert_printed(w, net.params[k])
        assert float(slope) == pytest.approx(pull[k], rel=1e-3)
        assert_printed(gradient, g[k])
        assert_printed(total, whole[k])
        assert float(measured) == pytest.approx(whole[k], rel=1e-3, abs=1e-8)
        assert float(gap) < 1e-8
    for name, w, gradient, u, *between, result in proxes:
        k = place(net, name)
        if isinstance(penalty, tr.L2):
            assert float(u) / float(between[0]) == pytest.approx(float(result), rel=2e-3)
        if isinstance(penalty, tr.L1 | tr.ElasticNet):
            threshold, divisor = (*map(float, between), 1.0)[:2]
            shrunk = np.sign(float(u)) * max(abs(float(u)) - threshold, 0)
            assert shrunk / divisor == pytest.approx(float(result), rel=2e-3, abs=1e-4)
        if isinstance(penalty, tr.GroupLasso) and between:
            threshold, norm = map(float, between)
            factor = max(1 - threshold / norm, 0)
            assert float(u) * factor == pytest.approx(float(result), rel=2e-3)
        assert_printed(w, net.params[k])
        assert_printed(gradient, g[k])
        assert_printed(u, net.params[k] - 0.1 * g[k])
        assert_printed(result, after[k])


def pieces(explanation, kind):
    return [p for section in explanation.sections for p in section.pieces if isinstance(p, kind)]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_matrix_is_the_librarys(activation, loss):
    objective, X, y = problem(activation, loss, sizes=(2, 3, 3, 2), n=2)
    net, trace = objective.net, objective.net.trace(X)
    equations = {e.formula.split(" ")[0]: e for e in pieces(tr.explain(objective, X, y), Equation)}
    h = 1e-30

    def result(name):
        return equations[name].numbers[-1]

    dweights, dbiases = net.unpack(objective.data_gradient(X, y))
    for layer in (1, 2, 3):
        np.testing.assert_array_equal(result(f"z{layer}"), trace.pre_activations[layer - 1])
        np.testing.assert_allclose(result(f"dW{layer}"), dweights[layer - 1], rtol=1e-13)
        np.testing.assert_allclose(result(f"db{layer}"), dbiases[layer - 1], rtol=1e-13)
        if layer < 3:
            np.testing.assert_array_equal(result(f"a{layer}"), trace.activations[layer])
            nudged = ACTIVATIONS[activation].forward(trace.pre_activations[layer - 1] + 1j * h)
            np.testing.assert_allclose(
                equations[f"dz{layer}"].numbers[2], nudged.imag / h, rtol=1e-12
            )
    np.testing.assert_array_equal(result("p"), loss.predict(trace.outputs))
    np.testing.assert_allclose(result("dz3"), loss.gradient(trace.outputs, y), rtol=1e-13)
    for equation in equations.values():
        for item in equation.numbers:
            if not isinstance(item, str):
                assert leading(item).size == item.size  # all of it: nothing is large here


@pytest.mark.parametrize("lr", [0.05, 0.2])
def test_the_steps_are_those_of_sgd_written_out(lr):
    objective, X, y = hand_example()
    net, lam, steps = objective.net, 0.5, 9
    table = pieces(tr.explain(objective, X, y, lr=lr, steps=steps), Table)[-1]
    names = [header.split("`")[1] for header in table.headers[1::2]]
    shown = np.array([row[1:] for row in table.rows])
    for method, column in (("subgradient", 0), ("prox", 1)):
        w = net.params.copy()
        for t in range(steps + 1):
            np.testing.assert_allclose(
                shown[t, column::2], [w[place(net, name)] for name in names], atol=1e-15
            )
            # forward and backward of the 2-2-2 network under ½‖·‖²
            W1, W2, b1, b2 = w[:4].reshape(2, 2), w[4:8].reshape(2, 2), w[8:10], w[10:]
            z = X @ W1 + b1
            a = np.maximum(z, 0)
            dz = a @ W2 + b2 - y
            below = dz @ W2.T * (z > 0)
            g = np.concatenate([(X.T @ below).ravel(), (a.T @ dz).ravel(), below[0], dz[0]])
            if method == "subgradient":
                g[:8] += lam * np.sign(w[:8])
                w = w - lr * g
            else:
                w = w - lr * g
                w[:8] = np.sign(w[:8]) * np.maximum(np.abs(w[:8]) - lr * lam, 0)


def test_a_weight_swings_under_the_subgradient_and_rests_under_the_prox():
    explanation = tr.explain(*hand_example())
    table = pieces(explanation, Table)[-1]
    columns = np.array([row[1:] for row in table.rows]).T
    swings = np.sign(columns[0][1:]) * np.sign(columns[0][:-1])
    assert (swings < 0).sum() == 5
    assert (columns[1] == 0).tolist() == [False, False, True, True, True, True, True]
    last = explanation.sections[-1].pieces[-1]
    assert "W1[0,0] rests at exactly 0 from step 2 on by prox" in last
    assert "By prox, the 8 penalised parameters changed sign 0 times in 6 steps, and 4" in last


def numbers_of(explanation):
    """Every number of the tables, as it is printed."""
    return [
        [number(cell) for cell in row if not isinstance(cell, str)]
        for table in pieces(explanation, Table)
        for row in table.rows
    ]


@pytest.mark.parametrize("penalty", [None, *PENALTIES], ids=repr)
def test_the_three_formats_carry_the_same_numbers(penalty):
    explanation = tr.explain(*problem("relu", LOSSES[0], penalty, sizes=(2, 3, 2)))
    expected = [row for row in numbers_of(explanation) if row]
    numeric = re.compile(r"-?\d[\d.]*(e[-+]?\d+)?")
    power = re.compile(r" \\times 10\^\{(-?\d+)\}")
    printed = {
        "text": [row for _, body in text_tables(explanation.text())[1:] for row in body],
        "markdown": [
            line.strip("|").split("|") for line in explanation.markdown().splitlines()
            if line.startswith("| ")
        ],
        "latex": [
            power.sub(r"e\1", line).strip("\\ ").replace("$", "").split("&")
            for line in explanation.latex().splitlines()
            if line.endswith(r" \\") and line.count("$") > 4
        ],
    }  # fmt: skip
    for rows in printed.values():
        found = [
            [number(float(c)) for c in row[1:] if numeric.fullmatch(c.strip())] for row in rows
        ]
        assert [row for row in found if len(row) > 1] == [row for row in expected if len(row) > 1]


def assert_latex_balances(source):
    body = source.replace(r"\{", "").replace(r"\}", "").replace(r"\$", "")
    depth = 0
    for character in body:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    assert body.count(r"\[") == body.count(r"\]")
    assert all(line.count("$") % 2 == 0 for line in body.splitlines())
    assert body.isascii()
    # In tables each row has as many cells as there are columns.
    for columns, table in re.findall(r"\\begin\{tabular\}\{(l\w*)\}(.*?)\\end", body, re.DOTALL):
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert {row.count("&") + 1 for row in rows} == {len(columns)}
    # Outside of formulas there is nothing that TeX takes for something else.
    for formula in (r"\\\[.*?\\\]", r"\$.*?\$", r"\\begin\{tabular\}.*?\\end\{tabular\}"):
        body = re.sub(formula, "", body, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)[_^&#%~]", body)


@pytest.mark.parametrize("penalty", [None, *PENALTIES], ids=repr)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_latex_balances_whatever_is_explained(activation, loss, penalty):
    case = problem(activation, loss, penalty, n=20, bias_penalty=tr.L1(0.1))
    assert_latex_balances(tr.explain(*case, steps=1).latex())


def test_latex_escapes_what_a_file_name_may_hold():
    source = to_latex(Document("t", ["row 0 of a_b%c&d#e$f{g}h^i~j\\k é.csv"]))
    assert r"a\_b\%c\&d\#e\$f\{g\}h" in source
    assert_latex_balances(source)


@pytest.mark.parametrize("data", ["digits", "many samples"])
def test_a_large_network_is_no_wall_of_numbers(data):
    if data == "digits":
        X, y = tr.load_digits()
        net, loss = tr.MLP((64, 64, 10)), tr.SoftmaxCrossEntropy()
        case = tr.Objective(net, loss, tr.L1(1e-3)), X[:1], y[:1]
    else:
        case = problem(penalty=PENALTIES[2], sizes=(30, 20, 15, 4), n=50)
    text = tr.explain(*case).text()
    assert max(map(len, text.splitlines())) <= 104
    assert len(text.splitlines()) < 450
    assert "…" in text
    assert re.search(r"16 of (4160|620) are shown", text)


def test_a_corner_is_called_a_kink():
    objective, X, y = hand_example()
    objective.net.weights[0][:, 1] = [-1.0, 0.5]  # z = 0 for the second unit
    objective.net.weights[1][0, 0] = 0.0  # a weight at the corner of |w|
    text = tr.explain(objective, X, y).text()
    tables = text_tables(text)
    kinks = [row[0] for _, body in tables[1:3] for row in body if row[2:] == ["kink", "·"]]
    assert kinks == ["dW1[0,1]", "dW1[1,1]", "db1[1]"]
    assert [row[0] for row in tables[3][1] if row[-2:] == ["kink", "·"]] == [
        "W1[0,1]",
        "W1[1,1]",
        "W2[0,0]",
    ]
    assert "a central difference is no judge" in " ".join(text.split())


def test_a_weight_at_0_in_a_live_group_is_no_kink():
    objective, X, y = problem(penalty=tr.GroupLasso(0.1, axis=1))
    objective.net.weights[0][1, 0] = 0.0  # its group lives
    objective.net.weights[0][2] = 0.0  # a dead group
    slopes = text_tables(tr.explain(objective, X, y).text())[3][1]
    assert [row[0] for row in slopes if "kink" in row] == ["W1[2,0]", "W1[2,1]"]


class Own:
    """A penalty of somebody's own: 0.1 Σ √(1 + w²), with a prox that is good enough here."""

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
    "case",
    [
        problem(sizes=(3, 2)),
        problem(sizes=(3, 1), penalty=tr.L1(0.1), n=1),
        problem(sizes=(2, 2, 2, 2, 2), penalty=[tr.L1(0.1), None, tr.L2(0.1), tr.L1(0.1)]),
        problem(penalty=tr.L1(0.1), bias_penalty=tr.L2(0.2)),
        problem(bias_penalty=tr.L1(0.1)),
        problem(penalty=Own()),
    ],
    ids=[
        "no hidden layer",
        "one output",
        "a penalty per layer",
        "bias penalty",
        "bias only",
        "own penalty",
    ],
)
def test_networks_of_all_kinds_can_be_explained(case):
    explanation = tr.explain(*case)
    json.dumps(explanation.to_dict(), allow_nan=False)
    net = case[0].net
    gradient = case[0].data_gradient(*case[1:])
    gradients = [t for t in pieces(explanation, Table) if "gradient" in t.headers]
    for row in (row for table in gradients for row in table.rows):
        assert row[1] == pytest.approx(gradient[place(net, row[0])], rel=1e-13)
    for table in (t for t in pieces(explanation, Table) if "`∂F/∂w`" in t.headers):
        for row in table.rows:
            assert row[-1] < 1e-9
    assert_latex_balances(explanation.latex())


def test_float32_is_explained_in_float64_and_nothing_is_changed():
    net = tr.MLP((3, 2, 2), dtype="float32", seed=1)
    X, y = np.ones((2, 3), np.float32), np.array([0, 1])
    before = net.params.copy(), X.copy(), y.copy()
    objective = tr.Objective(net, tr.SoftmaxCrossEntropy(), tr.L1(0.1))
    text = tr.explain(objective, X, y, steps=20).text()
    assert "The network's are float32 numbers." in " ".join(text.split())
    for was, now in zip(before, (net.params, X, y), strict=True):
        np.testing.assert_array_equal(was, now)
    gaps = [float(row[3]) for _, body in text_tables(text)[1:3] for row in body]
    assert max(gaps) < 1e-9
    assert objective.net is net
    assert net.dtype == np.float32


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lr": 0}, ValueError, "lr must be a finite number > 0"),
        ({"lr": "x"}, TypeError, "lr must be"),
        ({"steps": 0}, ValueError, "steps must be an integer >= 1"),
        ({"steps": 2.0}, TypeError, "steps must be an integer"),
        ({"X": [[1.0]]}, ValueError, "X must have shape"),
        ({"y": [[1.0]]}, ValueError, "y must have shape"),
        ({"objective": None}, TypeError, "objective must be an Objective"),
    ],
)
def test_bad_arguments_are_named(settings, error, message):
    names = ("objective", "X", "y")
    arguments = dict(zip(names, hand_example(), strict=True)) | settings
    positional = [arguments.pop(name) for name in names]
    with pytest.raises(error, match=message):
        tr.explain(*positional, **arguments)


def test_steps_that_overflow_are_a_divergence():
    with pytest.raises(tr.DivergenceError, match="try a learning rate below"):
        tr.explain(*hand_example(), lr=1e100)


COMMANDS = [
    [],
    ["--penalty", "none"],
    ["--loss", "softmax", "--activation", "gelu", "--penalty", "grouplasso", "--lam", "0.1"],
    ["--sizes", "64,16,10", "--penalty", "elasticnet", "--row", "7"],
    ["--data", "digits", "--penalty", "l2", "--seed", "3", "--loss", "sigmoid"],
    ["--sizes", "5,1", "--loss", "sigmoid", "--dtype", "float32", "--lr", "0.5", "--steps", "2"],
    ["--x", "3,-4.5", "--target", "0,1"],
]


@pytest.mark.parametrize("style", ["text", "markdown", "latex"])
@pytest.mark.parametrize("options", COMMANDS, ids=" ".join)
def test_the_command_prints_each_format(options, style, capsys):
    assert main(["explain", *options, "--format", style]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    begins = {"text": "A ", "markdown": "# A ", "latex": r"\documentclass"}
    assert out.startswith(begins[style])
    if style == "latex":
        assert_latex_balances(out)


class Huber(tr.SquaredError):
    """½e² up to 1, and |e| − ½ beyond."""

    def per_sample(self, outputs, targets):
        e = np.abs(outputs - targets)
        return np.where(e < 1, e * e / 2, e - 0.5).sum(axis=1)

    def delta(self, outputs, targets, weight):
        return np.clip(outputs - targets, -1, 1) * weight[:, None]


def test_a_loss_of_ones_own_is_not_given_the_formula_of_ours():
    objective, X, y = hand_example(loss=Huber())
    text = tr.explain(objective, 10 * X, y).text()
    assert "(p − y)/N" not in text
    assert "whichever of the three" not in text
    assert "dz2 = ∂L/∂z2" in text


@pytest.mark.parametrize(
    ("penalty", "weights", "kinks"),
    [
        # 5e-6 lies within h = 1e-5 of the corner at 0, however steep the smooth part is elsewhere
        (tr.ElasticNet(0.1, 1.0), (5e-6, 20.0), ["W1[0,0]"]),
        (tr.ElasticNet(1e-4, 1000.0), (5e-6, 20.0), ["W1[0,0]"]),
        (tr.GroupLasso(1.0, axis=1) + tr.L1(0.03), (5e-6, 20.0), ["W1[0,0]"]),
        (tr.GroupLasso(1.0, axis=1), (0.0, 20.0), []),  # a live group has no corner
        (tr.GroupLasso(1.0, axis=1), (1e-6, 0.0), ["W1[0,0]"]),
        (tr.GroupLasso(1.0, axis=1), (2e-5, 1e-5), []),  # small, and smooth: no corner within h
        (tr.L1(0.1), (2e-5, -2e-5), []),
        (tr.L1(0.1), (0.0, -1e-6), ["W1[0,0]", "W1[0,1]"]),
        (tr.L2(0.1), (0.0, 1.0), []),
    ],
)
def test_a_kink_of_the_penalty_is_a_corner_within_reach(penalty, weights, kinks):
    net = tr.MLP((1, 2))
    net.params = [*weights, 0.0, 0.0]
    explanation = tr.explain(tr.Objective(net, tr.SquaredError(), penalty), [[1.0]], [[1.0, 1.0]])
    (table,) = (t for t in pieces(explanation, Table) if "`∂F/∂w`" in t.headers)
    assert [row[0].strip("`") for row in table.rows if "kink" in row] == kinks


def test_a_mixed_list_says_how_the_smooth_penalties_go():
    mixed = " ".join(tr.explain(*hand_example(penalty=[tr.L2(0.5), tr.L1(0.5)])).text().split())
    alike = tr.explain(*hand_example()).text()
    assert "Smooth penalties go by their slope there too." in mixed
    assert "Smooth penalties" not in alike


def test_a_penalty_of_the_biases_is_called_that():
    net = tr.MLP((2, 1))
    bias_only = tr.Objective(net, tr.SquaredError(), bias_penalty=tr.L2(0.1))
    both = tr.Objective(net, tr.SquaredError(), tr.L1(0.1), bias_penalty=tr.L2(0.1))
    X, y = [[1.0, 2.0]], [1.0]
    assert "R is a function of the biases; its" in tr.explain(bias_only, X, y).text()
    assert "R is a function of the weights and of the biases; its" in tr.explain(both, X, y).text()


def test_a_prox_that_stops_nothing_says_what_would():
    hint = "A larger λ or η, or more steps than 6, would show weights at rest."
    shown = {lam: hand_example(penalty=tr.L1(lam)) for lam in (0.5, 1e-3)}
    texts = {lam: " ".join(str(tr.explain(*case)).split()) for lam, case in shown.items()}
    assert [hint in texts[lam] for lam in (0.5, 1e-3)] == [False, True]
    assert hint not in " ".join(str(tr.explain(*hand_example(penalty=tr.L2(0.5)))).split())


def test_dots_are_explained_wherever_they_stand():
    rng = np.random.default_rng(0)
    explanation = tr.explain(
        tr.Objective(tr.MLP((2, 3, 1)), tr.SquaredError()), rng.normal(size=(5, 2)), np.ones(5)
    )
    assert "⋮" in explanation.text()
    assert "dots for the rest" in explanation.text()


def test_json_has_no_marks_of_formulas():
    assert "`" not in json.dumps(tr.explain(*hand_example()).to_dict())


# What matplotlib's parser of TeX lacks, in words that it has.
IN_ITS_WORDS = {
    r"\tfrac12": r"\frac{1}{2}", r"\lvert": "|", r"\rvert": "|", r"\lVert": r"\|",
    r"\rVert": r"\|", r"\top": "T", r"\qquad": r"\quad ", r"\cdots": r"\ldots",
    r"\vdots": r"\ldots", r"\begin{pmatrix}": "(", r"\end{pmatrix}": ")", r"\\": ";", "&": " ",
}  # fmt: skip


def test_the_formulas_are_tex_to_another_parser():
    mathtext = pytest.importorskip("matplotlib.mathtext", reason="needs the plot extra")
    cases = [
        {},
        {"activation": "gelu", "loss": tr.SoftmaxCrossEntropy(), "penalty": tr.L2(0.1)},
        {"activation": "silu", "loss": tr.SigmoidCrossEntropy(), "penalty": tr.GroupLasso(0.1, 1)},
        {"activation": "leaky_relu", "penalty": tr.GroupLasso(0.1, axis=0) + tr.L1(0.1)},
    ]
    pages = [tr.explain(*hand_example(**settings)) for settings in cases]
    objective, X, y = hand_example()
    columns, one = ["a", "b"], Scaling(np.ones(2), np.ones(2))
    model = Model(objective.net, objective.loss, columns, scaling=one, target_scaling=one)
    pages.append(tr.explain(objective, X, y, model=model))
    formulas = set()
    for page in pages:
        body = page.latex().partition(r"\begin{document}")[2]
        formulas |= set(re.findall(r"(?<!\\)\$(.+?)(?<!\\)\$", body))
        for aligned in re.findall(r"\\begin\{aligned\}\n(.+?)\n\\end\{aligned\}", body, re.DOTALL):
            formulas |= set(aligned.split(" \\\\\n"))
    parser, parsed = mathtext.MathTextParser("agg"), set()
    for formula in formulas:
        for theirs, known in IN_ITS_WORDS.items():
            formula = formula.replace(theirs, known)
        alike = re.sub(r"\d+(\.\d+)?", "1", formula)  # but for the numbers
        if alike not in parsed:
            parser.parse(f"${formula}$")
            parsed.add(alike)
    assert len(parsed) > 60
