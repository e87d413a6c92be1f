"""The comparison: what it measures, from which start, what it prints, writes and draws."""

import dataclasses
import json
import re

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.datasets.splits import train_test_split
from tinyreg.render.markdown import to_markdown
from tinyreg.sparsity.measures import active_inputs, active_units, dead_share
from tinyreg.study.convergence import converge

METHODS = ("none", "subgradient", "proximal", "decoupled", "naive")
MEASURES = [
    "objective",
    "data_loss",
    "penalty",
    "train_score",
    "test_score",
    "test_balanced",
    "exact_zeros",
    "near_zeros",
    "dead_inputs",
    "dead_hidden",
    "stationarity",
    "seconds",
    "n_params",
    "n_bytes",
    "compact_params",
    "compact_bytes",
    "forward_seconds",
    "compact_seconds",
]
GONE_ON = ["fista_zeros", "fista_steps", "fista_success"]
SHARES = ["exact_zeros", "near_zeros", "dead_inputs", "dead_hidden"]


def digits(n=200):
    X, y = tr.load_digits()
    return train_test_split(X[:n], y[:n])


@pytest.fixture(scope="module")
def comparison():
    return tr.compare(
        *digits(), penalty=tr.L1(3e-3), hidden=(16,), epochs=15, seeds=(0, 1), methods=METHODS
    )


def test_there_is_a_run_for_each_method_and_seed(comparison):
    assert [(run.method, run.seed) for run in comparison.runs] == [
        (method, seed) for seed in (0, 1) for method in METHODS
    ]


def test_each_method_trains_from_the_same_start_on_the_same_batches(comparison):
    X, y, _, _ = digits()
    for method, settings in {
        "none": {},
        "subgradient": {"penalty": tr.L1(3e-3), "method": "subgradient"},
        "proximal": {"penalty": tr.L1(3e-3), "method": "proximal"},
    }.items():
        net = tr.MLP((64, 16, 10), seed=0)
        tr.fit(net, X, y, loss=tr.SoftmaxCrossEntropy(), epochs=15, seed=0, **settings)
        np.testing.assert_array_equal(comparison.networks[method].params, net.params)


@pytest.mark.parametrize("method", METHODS)
def test_each_measure_is_what_its_name_says(comparison, method):
    X, y, X_test, y_test = digits()
    net = comparison.networks[method]
    run = next(run for run in comparison.runs if run.method == method and run.seed == 0)
    w = np.concatenate([W.ravel() for W in net.weights])
    data = -np.log(np.exp(z := net.forward(X)) / np.exp(z).sum(1, keepdims=True))
    assert run.data_loss == pytest.approx(data[np.arange(len(y)), y].mean(), rel=1e-10)
    assert run.penalty == pytest.approx(3e-3 * np.abs(w).sum(), rel=1e-12)
    assert run.objective == run.data_loss + run.penalty
    assert run.train_score == np.mean(net.forward(X).argmax(1) == y)
    assert run.test_score == np.mean(net.forward(X_test).argmax(1) == y_test)
    assert run.exact_zeros == np.count_nonzero(w == 0) / len(w)
    assert run.near_zeros == np.count_nonzero(np.abs(w) < 1e-3) / len(w)
    objective = tr.Objective(net, tr.SoftmaxCrossEntropy(), tr.L1(3e-3))
    assert run.stationarity == pytest.approx(objective.stationarity(X, y), rel=1e-10)
    assert run.seconds > 0
    assert (run.n_params, run.n_bytes) == (64 * 16 + 16 * 10 + 26, 8 * 1210)
    small, _ = net.compact()
    assert (run.compact_params, run.compact_bytes) == (small.n_params, small.params.nbytes)
    assert run.speed_up == run.forward_seconds / run.compact_seconds > 0
    assert run.history.total[-1] == run.objective
    lists = [values for values in vars(run.history).values() if isinstance(values, list)]
    assert [len(values) for values in lists] == [15] * 6


def test_the_prox_makes_zeros_and_the_others_do_not(comparison):
    assert comparison.of("proximal", "exact_zeros").min() > 0.3
    for method in ("none", "subgradient", "decoupled"):
        assert comparison.of(method, "exact_zeros").max() == 0
    assert comparison.of("naive", "exact_zeros").max() < 0.02


def test_what_the_zeros_buy_is_reported(comparison):
    assert comparison.of("none", "compact_params").tolist() == [1210, 1210]
    proximal = comparison.of("proximal", "compact_params")
    assert proximal.max() < 1210
    lines = str(comparison).splitlines()
    line = next(line for line in lines if line.startswith("parameters after compact()"))
    assert f"{proximal.mean():.0f} ± {proximal.std(ddof=1):.0f}" in line
    assert any(line.startswith("speed-up of forward()") for line in lines)


def test_every_method_takes_a_penalty_of_groups():
    penalty = tr.GroupLasso(3e-3, axis=1)
    result = tr.compare(
        *digits(), penalty=penalty, hidden=(16,), epochs=15, seeds=(0,), methods=METHODS
    )
    net = result.networks["proximal"]
    dead = ~net.weights[0].any(axis=1)
    assert 0 < dead.sum() < 64
    assert result.of("proximal", "dead_inputs") == dead.mean()
    assert result.of("proximal", "compact_params") < 1210
    for method in ("none", "subgradient", "decoupled"):
        assert result.of(method, "exact_zeros") == 0
    run = next(run for run in result.runs if run.method == "proximal")
    W1, W2 = net.weights
    groups = 4 * np.sqrt((W1**2).sum(1)).sum() + np.sqrt(10) * np.sqrt((W2**2).sum(1)).sum()
    assert run.penalty == pytest.approx(3e-3 * groups, rel=1e-12)


def lasso():
    """400 samples of 30 inputs, of which three matter."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    return X, X[:, :3] @ [2.0, -1.0, 1.0] + 0.3 * rng.normal(size=400)


def coordinate_descent(X, y, lam):
    """The minimiser of Σ(y − b − Xw)²/2N + λ Σ|w|, one weight at a time."""
    X, y, w = X - X.mean(axis=0), y - y.mean(), np.zeros(X.shape[1])
    for _ in range(200):
        for j, x in enumerate(X.T):
            rho = x @ (y - X @ w + w[j] * x) / len(y)
            w[j] = np.sign(rho) * max(abs(rho) - lam, 0) * len(y) / (x @ x)
    return w


@pytest.fixture(scope="module")
def gone_on():
    X, y = lasso()
    return tr.compare(
        X, y, X, y, penalty=tr.L1(0.1), hidden=(), epochs=40, seeds=(0, 1), batch_size=8,
        methods=("none", "subgradient", "proximal", "svrg"), optimizer=tr.SGD(0.005),
        convergence=20,
    )  # fmt: skip


def test_gone_on_from_its_end_every_method_has_the_zeros_of_the_optimum(gone_on):
    zeros = np.mean(coordinate_descent(*lasso(), 0.1) == 0)
    assert zeros == 27 / 30
    for run in gone_on.runs:
        if run.method != "none":
            assert run.fista_zeros == zeros
            assert run.fista_success
            assert 0 < run.fista_steps < 100
    # Noise keeps some of them away from 0; without it the method has them by itself.
    assert (gone_on.of("subgradient", "exact_zeros") == 0).all()
    assert (gone_on.of("proximal", "exact_zeros") < zeros - 0.1).all()
    assert (gone_on.of("svrg", "exact_zeros") == zeros).all()
    assert gone_on.of("none", "fista_zeros").tolist() == [None, None]


def test_svrg_is_the_prox_with_variance_reduction_and_is_left_where_it_ended(gone_on):
    net = tr.MLP((30, 1), seed=0)
    tr.fit(
        net, *lasso(), loss=tr.SquaredError(), penalty=tr.L1(0.1), method="proximal",
        variance_reduction=True, optimizer=tr.SGD(0.005), epochs=40, batch_size=8, seed=0,
    )  # fmt: skip
    np.testing.assert_array_equal(gone_on.networks["svrg"].params, net.params)


def test_the_table_and_the_verdict_hold_the_zeros_against_those_further_on(gone_on):
    lines = str(gone_on).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("weights exactly 0"))
    assert lines[place + 1].split("  ")[1] == "after FISTA from there"
    assert lines[place + 1].split()[4:] == ["-", *["90.0", "±", "0.0", "%"] * 3]
    steps = max(run.fista_steps for run in gone_on.runs)
    assert (
        f"FISTA: at most {steps} full-batch steps from where each run ended; 6 of 6 ended optimal"
    ) in lines
    assert "; FISTA, going on from there, makes 90.0 %; the objective" in gone_on.verdict()


def test_what_is_not_stationary_after_so_many_steps_is_said_not_to_be():
    result = tr.compare(
        *digits(), hidden=(8,), epochs=2, seeds=(0,), dtype="float32", convergence=5
    )
    for method in ("subgradient", "proximal"):
        double = tr.MLP((64, 8, 10))
        double.params = result.networks[method].params
        F = tr.Objective(double, tr.SoftmaxCrossEntropy(), tr.L1(1e-3))
        tr.minimize(F, *digits()[:2], max_iter=3)
        zeros = np.mean(double.params[: double.n_weights] == 0)
        assert result.of(method, "fista_zeros") == zeros > 0
    assert "at most 3 full-batch steps" in str(result)
    assert "none of 2 ended stationary" in str(result)
    without = str(tr.compare(*digits(), hidden=(8,), epochs=1, seeds=(0,)))
    assert "FISTA" not in without


def test_dead_units_and_inputs_are_counted():
    net = tr.MLP((4, 3, 2, 2))
    net.params = np.ones(net.n_params)
    assert not (~active_inputs(net)).any()
    assert not (~active_units(net)).any()
    net.weights[0][1] = 0  # an input
    net.weights[0][:, 0] = 0  # a unit without incoming weights
    net.weights[2][1] = 0  # a unit without outgoing weights
    assert active_inputs(net).tolist() == [True, False, True, True]
    assert active_units(net).tolist() == [False, True, True, True, False]
    assert dead_share(active_units(net)) == 2 / 5
    assert dead_share(active_units(tr.MLP((4, 2)))) == 0


def test_the_json_is_as_documented(comparison, tmp_path):
    comparison.to_json(tmp_path / "comparison.json")
    content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert list(content) == ["settings", "inputs", "runs"]
    assert content["settings"]["sizes"] == [64, 16, 10]
    assert content["settings"]["methods"] == list(METHODS)
    for run in content["runs"]:
        assert list(run) == ["method", "seed", *MEASURES, "history", *GONE_ON]
        assert run["fista_zeros"] is None
        assert all(0 <= run[name] <= 1 for name in SHARES)
        assert len(run["history"]["total"]) == 15
    assert content["runs"][2]["objective"] == comparison.runs[2].objective


def test_the_table_shows_mean_and_spread(comparison):
    text = str(comparison)
    lines = text.splitlines()
    header = next(line for line in lines if line.split() == list(METHODS))
    zeros = next(line for line in lines if line.startswith("weights exactly 0"))
    values = 100 * comparison.of("proximal", "exact_zeros")
    shown = f"{values.mean():.1f} ± {values.std(ddof=1):.1f} %"
    end = header.index("proximal") + len("proximal")
    assert zeros[:end].endswith(shown)
    assert max(map(len, lines[:-1])) < 120


def test_the_document_is_markdown_too(comparison):
    title, _, _, *table, verdict = filter(None, to_markdown(comparison.document()).splitlines())
    table, notes = table[: 2 + 14], table[2 + 14 :]
    assert title.startswith("# data: 160 training and 40 test samples")
    assert table[0] == "|  | none | subgradient | proximal | decoupled | naive |"
    assert all(line.count("|") - line.count(r"\|") == 7 for line in table)
    assert [note.split()[0] for note in notes] == ["always", "proximal"]
    assert verdict == comparison.verdict().replace("|", r"\|").replace("<", r"\<")


def test_the_verdict_is_computed_from_the_runs(comparison):
    verdict = comparison.verdict()
    share = 100 * comparison.of("proximal", "exact_zeros").mean()
    assert verdict.startswith(f"Proximal made {share:.1f} % of the weights exactly 0")
    assert "subgradient none" in verdict or "subgradient made none" in verdict
    objectives = {m: comparison.of(m, "objective").mean() for m in METHODS[1:]}
    worst = max(objectives, key=objectives.get)
    assert f"{objectives[worst]:.4g} ({worst})" in verdict
    assert verdict.count(".\n") == 0
    assert verdict.endswith(".")


def test_the_verdict_of_a_smooth_penalty_claims_no_zeros():
    result = tr.compare(*digits(), penalty=tr.L2(1e-3), hidden=(8,), epochs=2, seeds=(0,))
    assert re.match("(Subgradient|Proximal) made none of the weights exactly 0", result.verdict())
    assert "for all of them" in result.verdict()  # a smooth penalty needs no prox
    alone = tr.compare(*digits(), hidden=(8,), epochs=1, seeds=(0,), methods=("none",))
    assert "nothing to compare" in alone.verdict()
    _, table, _ = str(alone).split("\n\n")
    assert " ± " not in table  # one seed has no spread


def test_regression_reports_r2():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6))
    y = np.stack([X[:, 0] - X[:, 1], 2 * X[:, 2]], axis=1)
    result = tr.compare(
        X[:80], y[:80], X[80:], y[80:], penalty=tr.L1(1e-2), hidden=(), epochs=150, seeds=(0,),
        optimizer=tr.SGD(0.05),
    )  # fmt: skip
    assert result.settings["task"] == "regression"
    assert "R²" in str(result)
    assert result.of("proximal", "test_score")[0] > 0.95
    assert result.networks["proximal"].sizes == (6, 2)
    assert result.of("proximal", "dead_inputs")[0] == 0.5


@pytest.mark.parametrize("dtype", [None, object])
@pytest.mark.parametrize("labels", [["b", "a", "c"], [-1, 0, 1], [True, False, True]])
def test_labels_may_be_anything_that_sorts(labels, dtype):
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(30, 2)), np.arange(30) % 3
    y = np.array(labels)[codes]
    y = y.astype(dtype) if dtype is object and y.dtype.kind == "U" else y
    result = tr.compare(X, y, X[:9], y[:9], hidden=(4,), epochs=1, seeds=(0,))
    assert result.settings["sizes"] == [2, 4, len(set(labels))]


def test_float32_and_progress(tmp_path):
    seen = []
    result = tr.compare(
        *digits(), hidden=(8,), epochs=2, seeds=[3], dtype="float32", activation="tanh",
        methods=["proximal"], progress=seen.append,
    )  # fmt: skip
    assert seen == ["seed 3, proximal: epoch 1 of 2", "seed 3, proximal: epoch 2 of 2"]
    assert result.networks["proximal"].params.dtype == np.float32
    assert list(result.networks) == ["proximal"]
    numpy_settings = tr.compare(
        *digits(), hidden=np.array([3]), epochs=np.int64(1), seeds=np.array([0]), methods=["none"],
        batch_size=np.int32(50), penalty=tr.L1(np.float32(0.5)),
    )  # fmt: skip
    numpy_settings.to_json(tmp_path / "n.json")
    result.to_json(tmp_path / "c.json")  # nothing in it is a NumPy scalar


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"methods": ("prox",)}, ValueError, "methods must be one of none, .* got 'prox'"),
        ({"methods": ()}, ValueError, "methods must be one or more, each once"),
        ({"methods": "none"}, TypeError, "methods must be a sequence, got str"),
        ({"methods": ("none", "none")}, ValueError, "methods must be one or more, each once"),
        ({"seeds": 3}, TypeError, "seeds must be a sequence, got int 3"),
        ({"seeds": ([0],)}, TypeError, "seeds must be a sequence"),
        ({"progress": "x"}, TypeError, "progress must be a function"),
        ({"seeds": (0, -1)}, ValueError, "seeds must be an integer >= 0"),
        ({"seeds": (0, 0)}, ValueError, "seeds must be one or more, each once"),
        ({"hidden": 64}, TypeError, "hidden must be a sequence, got int 64"),
        ({"hidden": (0,)}, ValueError, r"sizes\[1\] must be an integer >= 1"),
        ({"epochs": 0}, ValueError, "epochs must be"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"penalty": 0.1}, TypeError, "penalty must be a penalty"),
        ({"optimizer": "adam"}, TypeError, "optimizer must be"),
        ({"activation": "cube"}, ValueError, "activation must be"),
        ({"dtype": "half"}, ValueError, "dtype must be"),
        ({"task": "clustering"}, ValueError, "task must be one of classification, regression"),
        ({"task": "regression", "y": ["a"] * 160}, TypeError, "y must be a dense array of real"),
        ({"task": "classification", "y": np.ones(160) / 3}, ValueError, "y must be class labels"),
        ({"X": np.full((160, 64), np.nan)}, ValueError, "X must be finite"),
        ({"X_test": None}, TypeError, "X_test must be a dense array of real numbers, got NoneType"),
        ({"X": np.zeros((0, 64))}, ValueError, "X must not be empty"),
        ({"X": np.zeros(5)}, ValueError, "X must have shape"),
        ({"y": np.zeros(5, int)}, ValueError, "y must hold a target for each of the 160 samples"),
        ({"X_test": np.zeros((40, 3))}, ValueError, r"X_test must have shape \(n_samples, 64\)"),
        ({"y_test": np.full(40, 11)}, ValueError, "y_test must hold labels that y has too, got 11"),
    ],
)
def test_a_bad_argument_is_named(changes, error, words):
    arguments = dict(zip(("X", "y", "X_test", "y_test"), digits(), strict=True)) | {"epochs": 1}
    with pytest.raises(error, match=words):
        tr.compare(**arguments | changes)


def test_a_run_that_diverges_says_which():
    with pytest.raises(tr.DivergenceError, match="none, seed 0: training diverged in epoch 1"):
        tr.compare(*digits(), hidden=(8,), epochs=5, seeds=(0,), optimizer=tr.SGD(1e200))


def test_the_picture_is_drawn(comparison, gone_on, tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="needs the plot extra")
    solvers = dataclasses.replace(comparison, convergence=gone_on.convergence)
    solvers.plot(tmp_path / "digits.png", (8, 8))
    pixels = image.imread(tmp_path / "digits.png")
    assert pixels.shape[0] > 1300  # with room for the solvers
    assert len(np.unique(pixels[::5, ::5].reshape(-1, pixels.shape[2]), axis=0)) > 100
    with pytest.raises(ValueError, match=r"image_shape must multiply to the 64 inputs"):
        comparison.plot(tmp_path / "wrong.png", (8, 9))


def test_convergence_runs_from_the_first_seeds_weights():
    X, y, X_test, y_test = digits()
    result = tr.compare(
        X, y, X_test, y_test, hidden=(), epochs=1, seeds=(4, 0), methods=["none"], convergence=30
    )
    start = tr.Objective(tr.MLP((64, 10), seed=4), tr.SoftmaxCrossEntropy(), tr.L1(1e-3))
    for curve in result.convergence.curves:
        assert curve.objective[0] == pytest.approx(start.value(X, y), rel=1e-12)
        assert len(curve.objective) == len(curve.seconds) <= 31
    least = min(curve.gap for curve in result.convergence.curves)  # convex: the gap is known
    assert f"at most {least:.1e} above the optimum" in str(result)
    assert str(result).endswith(str(result.convergence))
    markdown = to_markdown(result.convergence.document())
    assert to_markdown(result.document()).endswith(markdown)
    assert markdown.startswith("| full batch | steps | F − F\\_best | stationarity |")
    assert "| fista | 30 |" in markdown
    assert markdown.splitlines()[-1].startswith("F\\_best = ")


def test_the_solvers_rank_as_the_theory_says():
    X, y, _, _ = digits(100)
    F = tr.Objective(tr.MLP((64, 10)), tr.SoftmaxCrossEntropy(), tr.L1(1e-3))
    before = F.net.params.copy()
    result = converge(F, X, y, 60)
    np.testing.assert_array_equal(F.net.params, before)
    end = {curve.solver: min(curve.objective) - result.best for curve in result.curves}
    assert end["lbfgs"] <= end["fista"] < end["ista"] < end["subgradient, constant"]
    zeros = {curve.solver: curve.exact_zeros for curve in result.curves}
    assert zeros["subgradient, constant"] == zeros["subgradient, 1/√k"] == 0
    assert min(zeros["ista"], zeros["fista"], zeros["lbfgs"]) > 0.2
    assert result.convex
    assert json.dumps(result.to_dict())


@pytest.mark.parametrize(("steps", "comes_back"), [(5, False), (200, True)])
def test_a_solver_has_diverged_if_it_ended_far_above_its_start(steps, comes_back):
    X, y = np.array([[1.0], [-1.0]]), np.array([3.0, -3.0])  # F = ½(w − 3)² + ½b², L = 1
    F = tr.Objective(tr.MLP((1, 1)), tr.SquaredError())
    curves = {curve.solver: curve for curve in converge(F, X, y, steps).curves}
    decaying = curves.pop("subgradient, 1/√k")
    expected = F.value(X, y) * np.cumprod((1 - 10 / np.sqrt(np.arange(1, steps + 1))) ** 2)
    n = len(decaying.objective) - 1
    np.testing.assert_allclose(decaying.objective[1:][:90], expected[:n][:90], rtol=1e-6)
    assert decaying.diverged != comes_back
    assert not any(curve.diverged for curve in curves.values())


@pytest.mark.parametrize(
    ("activation", "word"), [("tanh", "max_iter=60 reached"), ("relu", "the objective became inf")]
)
def test_the_table_says_which_solver_diverged(activation, word):
    X, y = np.random.default_rng(0).normal(size=(2, 60, 8))
    F = tr.Objective(tr.MLP((8, 16, 1), activation), tr.SquaredError(), tr.L1(1e-2))
    result = converge(F, X, y[:, 0], 60)
    assert [c.solver for c in result.curves if c.diverged] == ["subgradient, 1/√k"]
    assert word in result.curves[1].message
    assert max(result.curves[1].objective) > 1e20 * result.curves[1].objective[0]
    rows = dict(line.split("  ", 1) for line in str(result).splitlines()[2:-1])
    assert rows["subgradient, 1/√k"].split()[1:4] == ["diverged", "-", "-"]
    assert sum("diverged" in row for row in rows.values()) == 1
    at_once = dataclasses.replace(result.curves[1], objective=result.curves[1].objective[:1])
    assert at_once.diverged == ("became" in word)  # from the start straight to infinity


def test_a_solver_that_diverged_is_not_drawn(gone_on, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "tinyreg.study.comparison.plot_comparison", lambda path, **given: drawn.update(given)
    )
    X, y = np.random.default_rng(0).normal(size=(2, 60, 8))
    settings = {"hidden": (16,), "epochs": 1, "seeds": (0,), "methods": ["none"]}
    tr.compare(X, y[:, 0], X, y[:, 0], **settings, convergence=20).plot("x.png")
    lengths = {solver: len(objective) for solver, (objective, _, _) in drawn["solvers"].items()}
    assert lengths.pop("subgradient, 1/√k") == 0
    assert min(lengths.values()) > 15
    assert drawn["rates"] == {}  # which only a convex problem has
    gone_on.plot("x.png")
    assert drawn["rates"]["fista"] == 2


def test_large_numbers_are_in_powers_of_ten_in_every_table():
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = 1e12 * X[:, 0]
    F = np.mean(y**2) / 2
    with pytest.warns(UserWarning, match="y has mean"):
        result = tr.compare(X, y, X, y, hidden=(), epochs=2, seeds=(0, 1), convergence=2)
    assert F > 1e23
    assert not re.search(r"\d{7}", str(result))
    lines = str(result).splitlines()
    objective = next(line for line in lines if line.startswith("objective"))
    assert objective.split()[6:9] == [f"{F:.3e}", "±", objective.split()[8]]
    assert re.fullmatch(r"\de[+-]\d\d", objective.split()[8])
    result.runs[0] = dataclasses.replace(result.runs[0], test_score=-np.inf)
    line = next(line for line in str(result).splitlines() if line.startswith("test R²"))
    assert "-inf ± nan" in line


def test_a_group_lasso_is_compared_and_converges_without_lbfgs():
    result = tr.compare(
        *digits(), penalty=tr.GroupLasso(3e-3, axis=1), hidden=(8,), epochs=3, seeds=(0,),
        convergence=10,
    )  # fmt: skip
    solvers = [curve.solver for curve in result.convergence.curves]
    assert solvers == ["subgradient, constant", "subgradient, 1/√k", "ista", "fista"]
    assert not result.convergence.convex
    assert result.of("proximal", "dead_inputs")[0] > 0


def test_a_method_or_a_measure_that_is_none_is_named():
    X, y = np.eye(2), ["a", "b"]
    comparison = tr.compare(X, y, X, y, hidden=(), epochs=1)
    with pytest.raises(ValueError, match="method must be one of none, subgradient, proximal, got"):
        comparison.of("typo", "seconds")
    with pytest.raises(ValueError, match="name must be one of method, seed, objective"):
        comparison.of("none", "typo")
    with pytest.raises(TypeError, match=r"penalty must be a penalty such as L1.*, got str 'l1'"):
        tr.Objective(tr.MLP((2, 2)), tr.SoftmaxCrossEntropy(), "l1")
