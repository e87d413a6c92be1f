"""The path over λ: warm starts, measures, the choice of λ, executors and failures."""

import dataclasses
import json
import multiprocessing
import os
import re
import signal
import time
import tracemalloc
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.core.training import METHODS
from tinyreg.datasets.splits import train_test_split
from tinyreg.render.markdown import to_markdown
from tinyreg.solvers.schedules import cosine
from tinyreg.study.model import Model
from tinyreg.study.path import LambdaPath
from tinyreg.study.runs import Setup
from tinyreg.study.walk import Failure, Point, Walk, is_dead, measure, with_lam
from tinyreg.study.workers import SIGNALS, Workers

LAMS = [1e-3, 1e-2, 0.1, 1.0, 10.0]  # dead at the last ones, with these long steps


def data(n=150):
    X, y = tr.load_digits()
    X, y, X_test, y_test = train_test_split(X[:n], y[:n])
    X, y, X_val, y_val = train_test_split(X, y, seed=1)
    return X, y, X_val, y_val, X_test, y_test


SETTINGS = {
    "lams": LAMS,
    "hidden": (8,),
    "optimizer": tr.Adam(0.02),
    "first_epochs": 4,
    "epochs": 3,
    "seeds": (0, 1),
}


@pytest.fixture(scope="module")
def result():
    return tr.path(*data(), **SETTINGS)


def measures(result):
    """Every point without its time, which is the machine's own."""
    return [{k: v for k, v in vars(point).items() if k != "seconds"} for point in result.points]


def test_a_walk_is_a_chain_of_warm_started_fits(result):
    X, y, X_val, y_val, X_test, y_test = data()
    net = tr.MLP((64, 8, 10), seed=1)
    walked = [p for p in result.points if (p.method, p.seed) == ("proximal", 1)]
    for i, point in enumerate(walked):
        R = tr.L1(LAMS[i])
        tr.fit(
            net,
            X,
            y,
            loss=tr.SoftmaxCrossEntropy(),
            penalty=R,
            method="proximal",
            optimizer=tr.Adam(0.02),
            epochs=3 if i else 4,
            seed=1 + i,
        )
        F = tr.Objective(net, tr.SoftmaxCrossEntropy(), R)
        W1, W2 = net.weights
        assert point.lam == LAMS[i]
        assert point.objective == pytest.approx(F.value(X, y), rel=1e-12)
        assert point.data_loss + point.penalty == pytest.approx(point.objective, rel=1e-12)
        assert point.stationarity == pytest.approx(F.stationarity(X, y), rel=1e-9)
        assert point.exact_zeros == np.mean(net.params[: net.n_weights] == 0)
        assert point.active_inputs == np.sum(np.any(W1 != 0, axis=1))
        assert point.active_units == np.sum(np.any(W1 != 0, axis=0) & np.any(W2 != 0, axis=1))
        assert point.validation_score == np.mean(net.forward(X_val).argmax(1) == y_val)
        assert point.test_score == np.mean(net.forward(X_test).argmax(1) == y_test)
        assert point.train_score == np.mean(net.forward(X).argmax(1) == y)


def test_a_walk_ends_where_the_network_is_dead(result):
    proximal = [p for p in result.points if p.method == "proximal" and p.seed == 0]
    assert len(proximal) < len(LAMS)
    assert proximal[-1].active_units == 0
    assert all(p.active_units > 0 for p in proximal[:-1])
    # A subgradient walk makes no zeros and so never ends.
    assert len([p for p in result.points if p.method == "subgradient" and p.seed == 0]) == 5


@pytest.mark.parametrize("make", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_the_executor_does_not_change_the_numbers(result, make):
    lines = []
    with make(2) as executor:
        other = tr.path(*data(), **SETTINGS, executor=executor, progress=lines.append)
    assert measures(other) == measures(result)
    assert len(lines) == 4


def test_progress_is_told_stop_by_stop(result):
    lines = []
    tr.path(*data(), **SETTINGS | {"seeds": (0,)}, progress=lines.append)
    assert lines[0] == "subgradient, seed 0, λ = 1.00e-03"
    assert len(lines) == len([p for p in result.points if p.seed == 0])


BLANK = Model(tr.MLP((4, 2)), tr.SquaredError(), ["a", "b", "c", "d"])


def table(scores, zeros=None, method="proximal", **settings):
    """A path with given validation scores: a row for each seed, a column for each λ."""
    points = [
        Point(
            method, seed, lam, 1, 1, 0, zeros[i] if zeros else 0.1 * i, 0, 3, 2, 0.9, score,
            score - 0.1, 1e-3, 1, validation_balanced=-score,
        )
        for seed, row in enumerate(scores)
        for i, (lam, score) in enumerate(zip([0.1, 0.2, 0.3, 0.4], row, strict=False))
    ]  # fmt: skip
    settings |= {
        "seeds": list(range(len(scores))),
        "methods": [method],
        "n_train": 5,
        "n_validation": 5,
        "n_test": 5,
        "sizes": [4, 2],
        "class_weight": settings.get("class_weight"),
        "always": None,
        "activation": "relu",
        "loss": "",
        "penalty": "",
        "optimizer": "",
        "first_epochs": 1,
        "epochs": 1,
    }
    params = {method: dict.fromkeys([0.1, 0.2, 0.3, 0.4], np.zeros(BLANK.net.n_params))}
    return LambdaPath(settings, points, [], BLANK, params)


def test_the_one_standard_error_rule_by_hand():
    # Means 0.80, 0.90, …; at the best λ the seeds give 0.85, 0.90, 0.95: s = 0.05 with n − 1
    # (0.0408 with n), standard error 0.05/√3 = 0.0289, and the limit is 0.8711 (0.8764 with n).
    for third, chosen in ((0.87, 0.2), (0.874, 0.3)):
        seeds = [[0.8, score, third, 0.7] for score in (0.85, 0.90, 0.95)]
        assert table(seeds).best("proximal") == (0.2, chosen)


def test_one_seed_has_no_standard_error_and_a_tie_goes_to_the_sparser():
    assert table([[0.8, 0.9, 0.9, 0.7]]).best("proximal") == (0.2, 0.3)


def test_only_lambdas_that_every_seed_reached_are_compared():
    result = table([[0.8, 0.9, 0.95], [0.8, 0.9]])
    assert result.lams("proximal") == [0.1, 0.2]
    assert result.best("proximal")[0] == 0.2


def test_the_cost_of_zeros_is_read_at_the_first_lambda_that_has_them():
    result = table([[0.9, 0.8, 0.7, 0.6]], zeros=[0.2, 0.5, 0.85, 0.9])
    assert result.at_zeros("proximal", 0.5) == (0.2, pytest.approx(0.7))
    assert result.at_zeros("proximal", 0.6) == (0.3, pytest.approx(0.6))
    assert result.at_zeros("proximal", 0.95) is None
    text = str(result)
    assert "50 %: 0.700   80 %: 0.600   90 %: 0.500   95 %: never" in text
    assert "*+1.00e-01" in text


def test_json_and_table_hold_every_stop(result, tmp_path):
    result.to_json(tmp_path / "path.json")
    content = json.loads((tmp_path / "path.json").read_text(encoding="utf-8"))
    assert list(content) == ["settings", "best", "points", "failures"]
    assert len(content["points"]) == len(result.points)
    assert content["best"]["proximal"]["best"] == result.best("proximal")[0]
    lines = str(result).splitlines()
    assert sum("e-03" in line.split()[0] for line in lines if line.split()) >= 2
    assert max(map(len, lines)) < 110


def test_the_document_is_markdown_too(result):
    lines = to_markdown(result.document()).splitlines()
    assert lines[0].startswith("# data: 96 training, 24 validation and 30 test samples")
    stops = [line for line in lines if line.startswith("|") and "e-03 |" in line]
    assert {line.count("|") for line in stops} == {12}
    for method in ("subgradient", "proximal"):
        assert f"{method}  (\\* best validation score, + one-standard-error choice)" in lines


def test_the_picture_is_drawn(result, tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="needs the plot extra")
    failed = [Failure("subgradient", seed, 0.1, "diverged") for seed in (0, 1)]
    dataclasses.replace(result, failures=failed).plot(tmp_path / "path.png")
    assert min(image.imread(tmp_path / "path.png").shape[:2]) > 300


def test_a_target_in_other_units_is_warned_of_where_something_trains_by_steps():
    X, y = linear("squared")
    settings = {"lams": [0.1], "hidden": (), "epochs": 1, "first_epochs": 1, "seeds": [0]}
    tr.path(X, 100 * y, X, 100 * y, **settings, methods=["proximal"])
    with pytest.warns(UserWarning, match=r"y has mean .* and deviation") as warned:
        tr.path(X, 100 * y, X, 100 * y, **settings)
    assert [warning.filename for warning in warned] == [__file__]


def test_no_hidden_layer_no_test_data_and_real_targets():
    X, y = linear("squared")
    result = tr.path(X, y, X, y, lams=[0.1, 0.2], hidden=(), epochs=1, seeds=[0])
    assert {(point.test_score, point.test_balanced) for point in result.points} == {(None, None)}
    assert {point.active_units for point in result.points} == {0}
    text = str(result)
    assert "validation score at the smallest λ whose share" in text
    assert re.search(r" train  valid  resid +gap\n", text)


def linear(kind, n=90, d=12):
    """Correlated columns of several sizes, of which three matter, and targets of a kind."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, d)) @ (np.eye(d) + 0.4 * rng.normal(size=(d, d)))
    X *= np.linspace(0.5, 1.5, d)
    z = X[:, [0, 4, 7]] @ [[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]]
    z += rng.normal(size=z.shape)
    if kind == "squared":
        return X, z[:, 0] + 3
    if kind == "sigmoid":
        return X, np.where(z > 1, 1, 0)
    return X, np.array(["few", "many", "some"])[(z + np.array([0, 2, 1])).argmax(axis=1)]


def slopes(kind, X, y, W, b, classes, weights):
    """∂L/∂W and ∂L/∂b, from the formulas."""
    z, target = X @ W + b, y.reshape(len(X), -1)
    if kind == "softmax":
        target = y[:, np.newaxis] == classes
        e = np.exp(z - z.max(axis=1, keepdims=True))
    predicted = {
        "squared": lambda: z,
        "sigmoid": lambda: 1 / (1 + np.exp(-z)),
        "softmax": lambda: e / e.sum(axis=1, keepdims=True),
    }[kind]()
    error = weights[:, np.newaxis] / weights.sum() * (predicted - target)
    return X.T @ error, error.sum(axis=0)


@pytest.mark.parametrize(
    ("kind", "class_weight", "penalty", "ridge", "form"),
    [
        ("squared", None, tr.L1(1.0), 0, np.asarray),
        ("squared", None, [tr.ElasticNet(2.0, 1.0)], 0.5, sparse.csr_array),
        ("sigmoid", None, tr.L1(3.0), 0, sparse.coo_matrix),
        ("softmax", None, tr.ElasticNet(1.0, 0.1), 0.1, np.asarray),
        ("softmax", "balanced", tr.L1(1.0), 0, sparse.csc_array),
    ],
)
def test_without_hidden_layers_the_proximal_walk_is_the_lasso_path(
    kind, class_weight, penalty, ridge, form
):
    X, y = linear(kind)
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    weights = 1 / counts[codes] if class_weight else np.ones(len(X))
    loss = {"squared": tr.SquaredError(), "sigmoid": tr.SigmoidCrossEntropy()}.get(kind)
    targets = codes if loss is None else y
    largest = tr.lambda_max(form(X), targets, loss or tr.SoftmaxCrossEntropy(), weights)
    lams = [share * largest for share in (0.01, 0.1, 0.3, 0.7, 0.999, 1, 2)]
    result = tr.path(
        form(X), y, X, y, loss=loss, lams=lams, hidden=(), methods=["proximal"],
        class_weight=class_weight, penalty=penalty,
    )  # fmt: skip
    assert result.lams("proximal") == lams[:6]  # at λ_max it ends
    for point in result.points:
        net = result.model("proximal", point.lam).net
        (W,), (b,) = net.weights, net.biases
        dW, db = slopes(kind, X, y, W, b, classes, weights)
        dW, zero = dW + 2 * ridge * point.lam * W, W == 0
        # A slope that is below λ, be it by little, leaves no weight; where there is one, it is λ.
        assert np.all(np.abs(dW[zero]) <= (1 + 1e-6) * point.lam)
        np.testing.assert_allclose(-dW[~zero], point.lam * np.sign(W[~zero]), rtol=2e-3)
        assert np.abs(db).max() < 1e-5
        assert point.certified
        assert 0 <= point.gap <= 1e-6 * max(1, point.objective)
        assert point.exact_zeros == zero.mean()
    assert [point.exact_zeros < 1 for point in result.points] == [True] * 5 + [False]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["squared", "sigmoid", "softmax"])
@pytest.mark.parametrize("share", [1, 1.001, 1e30])
def test_nothing_is_left_from_lambda_max_on(kind, share, dtype):
    X, y = linear(kind)
    X = X.astype(dtype)
    targets = np.unique(y, return_inverse=True)[1] if kind == "softmax" else y
    loss = {"squared": tr.SquaredError(), "sigmoid": tr.SigmoidCrossEntropy()}.get(kind)
    largest = tr.lambda_max(X, targets, loss or tr.SoftmaxCrossEntropy())
    result = tr.path(
        X, y, X, y, loss=loss, lams=[0.3 * largest, share * largest], hidden=(), dtype=dtype,
        methods=["proximal"], seeds=[3, 7],
    )  # fmt: skip
    some, none = result.points  # one walk for all seeds
    assert (some.seed, none.seed, none.exact_zeros) == (3, 3, 1)
    assert 0 < some.exact_zeros < 1
    assert some.certified
    assert none.certified


def test_the_inputs_left_are_those_of_coordinate_descent():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="needs scikit-learn")
    X, y = linear("squared")
    lams = np.geomspace(1e-3, 1, 9) * tr.lambda_max(X, y, tr.SquaredError())
    result = tr.path(X, y, X, y, lams=lams, hidden=(), methods=["proximal"])
    centred = X - X.mean(axis=0), y - y.mean()
    _, W, _ = linear_model.lasso_path(*centred, alphas=lams[::-1], tol=1e-12, max_iter=100_000)
    for lam, w in zip(lams, W.T[::-1], strict=True):
        kept = {f"x{i}" for i in np.flatnonzero(np.abs(w) > 1e-9)}
        assert set(result.inputs("proximal", lam)) == kept
    assert len(kept) == 0 < len(result.inputs("proximal", lams[5])) < 12


def test_walks_to_minima_go_down_and_end_at_the_first_lambda_that_leaves_nothing():
    X, y = linear("softmax")
    lams, seen = [0.05, 0.1, 1.0, 2.0], []
    settings = {"lams": lams, "hidden": (), "methods": ["proximal"], "seeds": [0]}
    result = tr.path(
        X, y, X, y, **settings, penalty=tr.GroupLasso(1.0, axis=1), progress=seen.append
    )
    assert seen == [f"proximal, seed 0, λ = {lam:.2e}" for lam in lams[::-1]]
    assert result.lams("proximal") == [p.lam for p in result.points] == lams[:3]
    assert [point.active_inputs > 0 for point in result.points] == [True, True, False]
    # The parameters are those of their λ, and one that fails is named.
    for point in result.points:
        assert result.model("proximal", point.lam).net.weights[0].any() == (point.lam < 1)
    failed = tr.path(X, y, X, y, **settings, penalty=Fails(1.0))
    assert [(f.lam, f.reason) for f in failed.failures] == [(0.1, "KeyError: 'boom'")]
    assert [point.lam for point in failed.points] == [1.0]


class Fails(tr.L1):
    """A penalty with a bug that shows at one λ."""

    def prox(self, w, step):
        if self.lam == 0.1:
            raise KeyError("boom")
        return super().prox(w, step)


@pytest.mark.parametrize(
    ("penalty", "form", "dtype"),
    [
        (tr.L1(1.0), np.asarray, "float64"),
        (tr.L1(1.0), sparse.csr_array, "float32"),
        ([tr.ElasticNet(1.0, 0.3)], sparse.csr_array, "float64"),
    ],
)
def test_few_inputs_are_solved_for_and_the_minimum_is_that_over_all(
    penalty, form, dtype, monkeypatch
):
    seen = []

    def counted(objective, *data, **how):
        end = tr.minimize(objective, *data, **how)
        seen.append((objective.net.sizes[0], end.nit))
        return end

    monkeypatch.setattr("tinyreg.study.walk.minimize", counted)
    rng = np.random.default_rng(0)
    X = np.where(rng.random((80, 120)) < 0.4, rng.normal(size=(80, 120)), 0).astype(dtype)
    y = X[:, :4].sum(axis=1) > 0.5
    lams = tr.lambda_max(X, y.astype(int), tr.SoftmaxCrossEntropy()) * np.array([0.2, 0.4, 0.7])
    settings = {"lams": lams, "hidden": (), "methods": ["proximal"], "dtype": dtype}
    result = tr.path(form(X), y, X, y, **settings, penalty=penalty)
    for point in result.points:
        F = tr.Objective(tr.MLP((120, 2)), tr.SoftmaxCrossEntropy(), with_lam(penalty, point.lam))
        least = tr.minimize(F, X, y.astype(int), tol=1e-9, max_iter=20_000)
        assert least.success
        assert point.certified
        assert point.objective == pytest.approx(least.fun, rel=1e-4)
        kept = np.flatnonzero(F.net.weights[0].any(axis=1))
        assert set(result.inputs("proximal", point.lam)) == {f"x{i}" for i in kept}
    few, most = ([nit for n, nit in seen if (n == 120) == whole] for whole in (False, True))
    assert sum(most) < 0.2 * sum(few)


class Huber(tr.SquaredError):
    """A loss of somebody's own, linear far from the target."""

    def per_sample(self, outputs, targets):
        size = np.abs(outputs - targets)
        return np.where(size < 1, size**2 / 2, size - 0.5).sum(axis=1)

    def error(self, outputs, targets):
        return np.clip(outputs - targets, -1, 1)


def test_a_loss_of_ones_own_has_no_largest_lambda_that_is_known():
    X, y = linear("squared")
    y[:3] += 100
    largest = tr.lambda_max(X, y, tr.SquaredError())
    lams = [0.03, 2 * largest, 4 * largest]
    result = tr.path(X, y, X, y, loss=Huber(), lams=lams, hidden=(), methods=["proximal"])
    (W,), (b,) = (net := result.model("proximal", lams[0]).net).weights, net.biases
    slope = X.T @ np.clip(X @ W + b - y[:, np.newaxis], -1, 1) / len(X)
    np.testing.assert_allclose(-slope[W != 0], lams[0] * np.sign(W[W != 0]), rtol=1e-3)
    assert not result.points[0].certified
    assert result.lams("proximal") == lams[:2]  # where the walk leaves nothing


def test_group_lasso_without_hidden_layers_goes_to_its_stationary_point():
    X, y = linear("softmax")
    R = tr.GroupLasso(2.0, axis=1)
    lams = [0.02, 0.1, 1.0, 2.0]  # at the third nothing is left, and the walk ends
    result = tr.path(X, y, X, y, lams=lams, hidden=(), penalty=[R], methods=["proximal"])
    assert result.lams("proximal") == lams[:3]
    for point in result.points:
        (W,), (b,) = (net := result.model("proximal", point.lam).net).weights, net.biases
        dW, _ = slopes("softmax", X, y, W, b, np.unique(y), np.ones(len(X)))
        zero, kappa = ~W.any(axis=1), point.lam * np.sqrt(3)
        assert np.all(np.linalg.norm(dW[zero], axis=1) <= kappa * (1 + 1e-6))
        norms = np.linalg.norm(W[~zero], axis=1, keepdims=True)
        np.testing.assert_allclose(-dW[~zero], kappa * W[~zero] / norms, atol=2e-3 * point.lam)
        assert point.active_inputs == np.sum(~zero)
        assert (point.gap, point.certified) == (None, False)
    assert 0 < result.points[1].active_inputs < 12
    assert not re.search(r" gap\n", str(result))


def test_each_layer_may_have_a_penalty_of_its_own(result):
    own = {"penalty": [tr.GroupLasso(4.0, axis=1), None], "methods": ["proximal"], "seeds": (1,)}
    other = tr.path(*data(), **SETTINGS | own)
    for point in other.points[:3]:
        net = other.model("proximal", point.lam).net
        value = tr.GroupLasso(point.lam, axis=1).value(net.weights[0])
        assert point.penalty == pytest.approx(value, rel=1e-12)
        assert point.exact_zeros * net.n_weights == 8 * (64 - point.active_inputs)  # whole rows
    same = [{"penalty": [tr.L1(5.0), tr.L1(5.0)]}, {"penalty": (tr.L1(1.0), tr.L1(1.0))}]
    for settings in same:
        alike = tr.path(*data(), **SETTINGS | settings)
        F, G = ([point.objective for point in one.points] for one in (alike, result))
        assert pytest.approx(G) == F


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_path_has_the_network_of_each_lambda_also_where_it_was_kept(dtype, tmp_path):
    X, y, X_val, y_val, *_ = data()
    settings, lines = SETTINGS | {"dtype": dtype, "out": tmp_path}, []
    first = tr.path(X, y, X_val, y_val, **settings)
    swapped = settings | {"seeds": (1, 0), "progress": lines.append}
    again = tr.path(X, y, X_val, y_val, **swapped)
    assert len([line for line in lines if line.endswith("kept from before")]) == len(lines) == 4
    for walked, seed in ((first, 0), (again, 1)):
        for point in (p for p in walked.points if p.seed == seed):
            model = walked.model(point.method, point.lam)
            F = tr.Objective(model.net, tr.SoftmaxCrossEntropy(), tr.L1(point.lam))
            assert model.net.dtype == dtype
            assert point.objective == pytest.approx(F.value(X, y), rel=1e-12)
            assert point.validation_score == np.mean(model.predict(X_val) == y_val)
            size = np.abs(model.net.weights[0]).sum(axis=1)
            names = [f"x{i}" for i in np.argsort(-size, kind="stable") if size[i]]
            assert walked.inputs(point.method, point.lam) == names
            assert len(names) == point.active_inputs
    with pytest.raises(ValueError, match="method and lam must be ones walked, got 'naive' and 1"):
        first.model("naive", 1)


def test_inputs_have_the_names_of_a_frame_and_classes_their_own(tmp_path):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    X, y = linear("softmax")
    frame = pandas.DataFrame(X, columns=[f"word {i}" for i in range(12)])
    settings = {"lams": [0.03, 0.3], "hidden": (), "methods": ["proximal"]}
    result = tr.path(frame, y, frame, y, **settings)
    lam = result.best("proximal")[1]
    kept = result.inputs("proximal", lam)
    assert 0 < len(kept) < 12
    assert f"at + seed 0 keeps {len(kept)} of 12 inputs: {', '.join(kept)}\n" in str(result)
    assert result.to_dict()["best"]["proximal"]["inputs"] == kept
    model = result.model("proximal", lam)
    assert {*model.inputs()} == {*kept}
    np.testing.assert_array_equal(model.predict(frame.iloc[:, ::-1]), model.predict(X))
    assert {*model.predict(X)} == {"few", "many", "some"}


def test_class_weights_are_in_the_objective_and_not_in_the_scores():
    X, y = linear("softmax")
    rare = np.flatnonzero((y != "few") | (np.arange(90) < 40))
    X, y = X[rare], y[rare]
    settings = {"lams": [1e-3, 0.03], "hidden": (4,), "epochs": 5, "seeds": [0]}
    result = tr.path(X, y, X, y, X, y, **settings, class_weight={"few": 3.0})
    for point in result.points:
        model = result.model(point.method, point.lam)
        p = model.probabilities(X)[np.arange(len(y)), np.unique(y, return_inverse=True)[1]]
        weights = np.where(y == "few", 3.0, 1.0)
        assert point.data_loss == pytest.approx(-np.average(np.log(p), weights=weights))
        right = model.predict(X) == y
        assert point.test_score == pytest.approx(np.mean(right))
        recall = [right[y == label].mean() for label in np.unique(y)]
        assert point.test_balanced == point.validation_balanced == pytest.approx(np.mean(recall))
    assert " valid   test  balanced  resid\n" in str(result)
    assert "class weights {'few': 3.0}" in str(result)
    commonest = np.mean(y == "many")
    assert f"always 'many', the commonest class: {commonest:.3f}, balanced 0.333" in str(result)


def test_with_class_weights_the_balanced_accuracy_chooses():
    scores = [[0.8, 0.9, 0.7, 0.6]]
    assert table(scores).best("proximal") == (0.2, 0.2)
    # In `table` it is the negative of the score.
    assert table(scores, class_weight="balanced").best("proximal") == (0.4, 0.4)


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_sparse_data_are_walked_as_dense_ones(hidden):
    X, y = linear("squared")
    X[np.random.default_rng(0).random(X.shape) < 0.7] = 0
    settings = {"lams": [0.01, 0.1], "hidden": hidden, "seeds": [0], "epochs": 3}
    dense = tr.path(X, y, X, y, X, y, **settings)
    walked = tr.path(*(sparse.csr_array(X), y) * 3, **settings)
    numbers = [
        np.array(
            [[v for v in point.values() if not isinstance(v, str)] for point in measures(each)]
        )
        for each in (dense, walked)
    ]
    np.testing.assert_allclose(*(array.astype(float) for array in numbers), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("dtype", "copies"), [("float64", 0), ("float32", 0.5)])
def test_at_most_one_converted_copy_of_the_data_is_made(dtype, copies):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 200)), rng.normal(size=4000)
    settings = {"lams": [0.1], "hidden": (2,), "first_epochs": 1, "seeds": [0], "dtype": dtype}
    tracemalloc.start()
    tr.path(X, y, X[:50], y[:50], **settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (copies + 0.4) * X.nbytes


def test_a_walk_that_diverges_keeps_what_came_before():
    def schedule(step):
        return 1e-3 if step < 8 else 1e200

    result = tr.path(*data(), **SETTINGS | {"optimizer": tr.SGD(schedule), "first_epochs": 2})
    assert {(f.method, f.seed) for f in result.failures} == {
        (m, s) for m in ("subgradient", "proximal") for s in (0, 1)
    }
    for failure in result.failures:
        before = [p for p in result.points if (p.method, p.seed) == (failure.method, failure.seed)]
        assert failure.lam == LAMS[len(before)]
        assert "diverged" in failure.reason
    assert "broke off: proximal, seed 1, λ = " in str(result)


class Deadly(tr.L1):
    """A penalty that kills its process, at the larger λ and for one method only."""

    def prox(self, w, step):
        if self.lam > 0.05 and multiprocessing.parent_process() is not None:
            os._exit(3)
        return super().prox(w, step)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_is_named_with_its_lambda_and_the_rest_is_kept(result, workers):
    with ProcessPoolExecutor(workers) as executor:
        other = tr.path(
            *data(), **SETTINGS, methods=["proximal", "subgradient"], penalty=Deadly(1.0),
            executor=executor,
        )  # fmt: skip
        again = tr.path(*data(), **SETTINGS, executor=executor)  # of a pool that is broken now
    assert [(f.method, f.seed, f.lam) for f in other.failures] == [
        ("proximal", 0, 0.1),
        ("proximal", 1, 0.1),
    ]
    assert "the worker died" in other.failures[0].reason
    kept = [m for m in measures(result) if m["method"] == "subgradient" or m["lam"] < 0.05]
    assert sorted(measures(other), key=str) == sorted(kept, key=str)
    assert other.best("subgradient")
    assert measures(again) == measures(result)
    assert not again.failures


class Raising(tr.L1):
    """A penalty with a bug that shows at a larger λ."""

    def prox(self, w, step):
        if self.lam > 0.05:
            raise KeyError("boom")
        return super().prox(w, step)


@pytest.mark.parametrize("make", [None, ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_walk_that_raises_ends_alike_in_every_executor(result, make):
    settings = SETTINGS | {"penalty": Raising(1.0)}
    if make is None:
        other = tr.path(*data(), **settings)
    else:
        with make(2) as executor:
            other = tr.path(*data(), **settings, executor=executor)
    assert [(f.seed, f.lam, f.reason) for f in other.failures] == [
        (0, 0.1, "KeyError: 'boom'"),
        (1, 0.1, "KeyError: 'boom'"),
    ]
    assert measures(other) == [
        m for m in measures(result) if m["method"] == "subgradient" or m["lam"] < 0.05
    ]


def test_the_schedules_of_the_package_go_through_a_process_pool():
    settings = SETTINGS | {"optimizer": tr.SGD(cosine(0.1, 40)), "seeds": (0,)}
    with ProcessPoolExecutor(2) as executor:
        other = tr.path(*data(), **settings, executor=executor)
    assert not other.failures
    assert measures(other) == measures(tr.path(*data(), **settings))


def test_what_cannot_be_pickled_goes_to_threads_and_is_named_before_any_process_trains():
    settings = SETTINGS | {"optimizer": tr.SGD(lambda step: 0.1), "seeds": (0,), "lams": [1e-3]}
    with ThreadPoolExecutor(2) as executor:
        other = tr.path(*data(), **settings, executor=executor)
    assert measures(other) == measures(tr.path(*data(), **settings))
    lines = []
    for name, changes in (("lambda", {}), ("Local", {"optimizer": None, "penalty": local()})):
        told = pytest.raises(TypeError, match=f"executor must be .* by pickle; got .*{name}")
        with ProcessPoolExecutor(1) as executor, told:
            tr.path(*data(), **settings | changes, executor=executor, progress=lines.append)
    assert lines == []


def local():
    class Local(tr.L1):
        """A penalty that no other process can find."""

    return Local(1.0)


def test_walks_that_wait_for_other_peoples_workers_are_cancelled_by_an_error():
    def fails(line):
        raise RuntimeError(line)

    with ThreadPoolExecutor(1) as executor:
        submitted, submit = [], executor.submit
        executor.submit = lambda *task: submitted.append(submit(*task)) or submitted[-1]
        with pytest.raises(RuntimeError, match="seed 0 done"):
            tr.path(*data(), **SETTINGS, executor=executor, progress=fails)
    assert [future.cancelled() for future in submitted][-2:] == [True, True]


def test_our_own_workers_are_ended_by_an_error_and_no_others():
    before = multiprocessing.active_children()
    other = multiprocessing.Process(target=time.sleep, args=(60,))
    other.start()
    futures = []

    def fails():
        with Workers(2) as executor:
            futures.extend(executor.submit(time.sleep, 60) for _ in range(8))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert all(isinstance(future.exception(), BrokenExecutor) for future in futures)
    assert other in multiprocessing.active_children()
    other.kill()
    other.join()
    assert {*multiprocessing.active_children()} <= {*before}


def test_a_signal_waits_until_the_workers_are_made(monkeypatch):
    made = []

    def submit(self, *task):
        signal.raise_signal(signal.SIGINT)  # in a fork, where Python would drop the exception
        made.append(task)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit)
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(KeyboardInterrupt):
        Workers(1).submit(print, 1)
    assert made == [(print, 1)]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_hidden_layers_may_come_as_an_array():
    result = tr.path(*data(), **SETTINGS | {"hidden": np.array([8, 4]), "lams": [1e-3]})
    assert result.settings["sizes"] == [64, 8, 4, 10]


def test_a_walk_that_broke_off_does_not_shorten_the_others():
    result = table([[0.8, 0.9, 0.95], [0.8, 0.9, 0.95], [0.1]])
    result.failures.append(Failure("proximal", 2, 0.2, "diverged"))
    assert result.lams("proximal") == [0.1, 0.2, 0.3]
    assert result.mean("proximal", "validation_score")[0] == pytest.approx(0.8)


def test_a_net_is_dead_where_any_layer_is():
    net = tr.MLP((4, 3, 2))
    assert not is_dead(net)
    for layer in (0, 1):
        dead = net.copy()
        dead.weights[layer][:] = 0
        assert is_dead(dead)


def test_a_unit_is_active_with_weights_on_both_sides():
    X, y, X_val, y_val, _, _ = data()
    loss, R = tr.SoftmaxCrossEntropy(), tr.L1(0.1)
    setup = Setup(
        {"train": (X, y), "validation": (X_val, y_val)}, METHODS, loss=loss, penalty=R,
        methods=["proximal"], hidden=(6,), activation="relu", dtype="float64",
        optimizer=tr.SGD(0.1), epochs=1, batch_size=32, seeds=[0],
    )  # fmt: skip
    task = Walk(setup, "proximal", 0, (0.1,), 1, np.inf)
    net, history = tr.MLP((64, 6, 10), seed=0), tr.History([1.0], [0.0], [1.0], [0.0])

    def active():
        return measure(task, 0.1, tr.Objective(net, loss, R), history, 0.0).active_units

    assert active() == 6
    net.weights[1][2] = 0  # its output is not used
    net.weights[0][:, 4] = 0  # its input is not
    assert active() == 4


@dataclass(frozen=True)
class Own(tr.L1):
    """A penalty of somebody's own, with a field that is no λ."""

    power: float = 3.0


@pytest.mark.parametrize(
    ("penalty", "walked"),
    [
        (tr.L2(3.0), tr.L2(0.5)),
        (tr.ElasticNet(2.0, 1.0), tr.ElasticNet(0.5, 0.25)),
        (tr.ElasticNet(2.0, 4.0), tr.ElasticNet(0.5, 1.0)),
        (Own(2.0, 9.0), Own(0.5, 9.0)),
        (tr.GroupLasso(2.0, axis=1) + tr.L1(3.0), tr.GroupLasso(0.5, axis=1, l1=0.75)),
        ([tr.GroupLasso(0.1, axis=1), None], [tr.GroupLasso(0.5, axis=1), None]),
        ([tr.L1(0.75), tr.L2(3.0), None], [tr.L1(0.125), tr.L2(0.5), None]),
        ((tr.ElasticNet(4.0, 9.0), tr.L1(1.0)), [tr.ElasticNet(0.5, 1.125), tr.L1(0.125)]),
    ],
    ids=str,
)
def test_the_largest_lambda_of_a_penalty_is_walked_and_the_others_keep_their_ratio(penalty, walked):
    assert with_lam(penalty, 0.5) == walked


@pytest.mark.parametrize(
    ("penalty", "error"),
    [
        (tr.ElasticNet(0.0, 1.0), ValueError),
        (tr.L1(0.0), ValueError),
        ([None, tr.L1(0.0)], ValueError),
        (None, ValueError),
        (0.1, TypeError),
        (tr.L1, TypeError),
        ([tr.L1(1.0), "L1"], TypeError),
    ],
    ids=str,
)
def test_a_penalty_without_a_lambda_to_walk_is_refused(penalty, error):
    with pytest.raises(error, match="penalty must "):
        with_lam(penalty, 0.5)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"lams": []}, ValueError, "lams must not be empty"),
        ({"lams": [0.1, 0.01]}, ValueError, "lams must be numbers > 0, strictly ascending, got"),
        ({"lams": [0.1, 0.1]}, ValueError, "strictly ascending"),
        ({"lams": [0.0, 0.1]}, ValueError, "lams must be numbers > 0"),
        ({"lams": [[0.1]]}, ValueError, "lams must be numbers > 0"),
        ({"lams": [0.1, np.nan]}, ValueError, "lams must be finite"),
        ({"lams": [1, [2]]}, ValueError, "lams must be a rectangular array"),
        ({"lams": ["a"]}, TypeError, "lams must be .* numbers"),
        ({"lams": 0.1}, ValueError, "lams must be numbers > 0"),
        (
            {"loss": "softmax", "y": ["a"] * 96},
            TypeError,
            "loss must be a loss such as .* 'softmax'",
        ),
        ({"loss": tr.SquaredError}, TypeError, "loss must be a loss such as"),
        ({"methods": ("none",)}, ValueError, "methods must be one of subgradient"),
        ({"methods": "proximal"}, TypeError, "methods must be a sequence"),
        ({"seeds": ()}, ValueError, "seeds must be one or more"),
        ({"penalty": 0.1}, TypeError, "penalty must be a dataclass"),
        ({"optimizer": "sgd"}, TypeError, "optimizer must be SGD"),
        ({"epochs": 0}, ValueError, "epochs must be"),
        ({"first_epochs": 0}, ValueError, "first_epochs must be"),
        ({"X": np.full((96, 64), np.nan)}, ValueError, "X must be finite"),
        ({"X_validation": np.zeros((24, 3))}, ValueError, r"X_validation must have shape .*, 64\)"),
        ({"penalty": [tr.L1(1.0)]}, ValueError, "penalty must .*2"),
        ({"penalty": [None, None]}, ValueError, "penalty must have λ > 0"),
        ({"task": "classes"}, ValueError, "task must be one of classification"),
        ({"class_weight": "even"}, ValueError, "class_weight must be"),
        ({"executor": 3}, TypeError, "executor must be a PEP 3148 executor, got int 3"),
        ({"progress": "x"}, TypeError, "progress must be a function"),
        ({"X_test": None}, ValueError, "X_test and y_test go together"),
    ],
)
def test_bad_arguments_are_named(changes, error, words):
    names = ("X", "y", "X_validation", "y_validation", "X_test", "y_test")
    arguments = dict(zip(names, data(), strict=True)) | SETTINGS
    with pytest.raises(error, match=words):
        tr.path(**arguments | changes)


def test_large_numbers_are_printed_in_powers_of_ten(result):
    huge = [dataclasses.replace(p, objective=1e24, test_score=-3e15) for p in result.points]
    text = str(dataclasses.replace(result, points=huge))
    assert "1.000e+24" in text
    assert "-3.000e+15" in text
    assert not re.search(r"\d{8}", text)
