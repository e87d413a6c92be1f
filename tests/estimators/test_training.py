"""An estimator trains as `fit` and `minimize` do, called by hand, and as scikit-learn's models do
at the same penalty."""

import copy

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the sklearn extra")

from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import scale

import tinyreg as tr
from tinyreg.estimators import SparseMLPClassifier, SparseMLPRegressor

LAM = 3e-3
SMALL = {"hidden_layer_sizes": (6,), "lam": LAM, "max_iter": 10, "random_state": 3}
LINEAR = {"hidden_layer_sizes": (), "max_iter": 20_000, "tol": 1e-8, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return scale(X), y


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


def same(a, b):
    """The same network, bit for bit, and the same history."""
    return (
        a.network_.params.tobytes() == b.network_.params.tobytes()
        and a.loss_curve_ == b.loss_curve_
    )


# ------------------------------------------------------------ as by hand


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("method", ["proximal", "subgradient"])
def test_a_classifier_ends_where_fit_ends(iris, solver, method):
    X, y = iris
    settings = {"solver": solver, "method": method, "batch_size": 32, "learning_rate": 0.01}
    model = SparseMLPClassifier(**SMALL, **settings).fit(X, np.array(["a", "b", "c"])[y])
    net = tr.MLP((4, 6, 3), seed=3)
    history = tr.fit(
        net, X, y, loss=tr.SoftmaxCrossEntropy(), penalty=tr.L1(LAM), method=method, epochs=10,
        optimizer=tr.Adam(0.01) if solver == "adam" else tr.SGD(0.01, 0.9), batch_size=32, seed=3,
    )  # fmt: skip
    assert net.params.tobytes() == model.network_.params.tobytes()
    assert model.loss_curve_ == history.total == model.history_.total
    assert model.sparsity_ == history.exact_zeros[-1]
    assert model.n_iter_ == 10
    assert model.predict_proba(X) == pytest.approx(tr.SoftmaxCrossEntropy().predict(net.forward(X)))
    assert [W.shape for W in model.coefs_] == [(4, 6), (6, 3)]
    assert all(np.shares_memory(a, model.network_.params) for a in model.intercepts_)


@pytest.mark.parametrize(
    ("penalty", "by_hand"),
    [
        ("l1", tr.L1(0.01)),
        ("l2", tr.L2(0.01)),
        ("elasticnet", tr.ElasticNet(0.0025, 0.0075)),
        ("group", tr.GroupLasso(0.01, axis=1)),
        (None, None),
        (tr.GroupLasso(0.02, axis=0), tr.GroupLasso(0.02, axis=0)),
        ([tr.L1(0.1), None], [tr.L1(0.1), None]),
    ],
    ids=str,
)
def test_a_penalty_by_name_is_that_of_the_package(diabetes, penalty, by_hand):
    X, y = diabetes
    settings = {"penalty": penalty, "lam": 0.01, "l1_ratio": 0.25, "learning_rate": 0.01}
    model = SparseMLPRegressor(**SMALL | settings).fit(X, y)
    net = tr.MLP((10, 6, 1), seed=3)
    how = {"method": "proximal", "optimizer": tr.Adam(0.01), "batch_size": 200, "seed": 3}
    tr.fit(net, X, y, loss=tr.SquaredError(), penalty=by_hand, epochs=10, **how)
    assert net.params.tobytes() == model.network_.params.tobytes()


def test_variance_reduction_and_a_schedule_reach_fit(diabetes):
    X, y = diabetes
    lr = tr.solvers.schedules.inverse_sqrt(0.05)
    settings = {"variance_reduction": True, "solver": "sgd", "momentum": 0.0, "learning_rate": lr}
    model = SparseMLPRegressor(**SMALL | settings).fit(X, y)
    net = tr.MLP((10, 6, 1), seed=3)
    how = {"method": "proximal", "optimizer": tr.SGD(lr), "variance_reduction": True, "seed": 3}
    how |= {"penalty": tr.L1(LAM), "epochs": 10, "batch_size": 200}
    tr.fit(net, X, y, loss=tr.SquaredError(), **how)
    assert net.params.tobytes() == model.network_.params.tobytes()


def test_class_weights_are_sample_weights(iris):
    X, y = iris[0][20:], iris[1][20:]
    balanced = SparseMLPClassifier(**SMALL, class_weight="balanced").fit(X, y)
    weights = tr.class_weights(y, "balanced")
    assert same(balanced, SparseMLPClassifier(**SMALL).fit(X, y, sample_weight=weights))
    # Both at once multiply; "balanced" counts a sample as often as its weight says.
    mine = np.linspace(1, 2, len(y))
    both = SparseMLPClassifier(**SMALL, class_weight={0: 3.0, 1: 1, 2: 1}).fit(X, y, mine)
    assert same(both, SparseMLPClassifier(**SMALL).fit(X, y, mine * np.where(y == 0, 3.0, 1.0)))
    twice = SparseMLPClassifier(**SMALL, class_weight="balanced").fit(X, y, 1 + (y == 0))
    assert twice.network_.params == pytest.approx(balanced.network_.params, rel=1e-9)


def test_each_label_of_a_multilabel_target_has_a_sigmoid(iris):
    X, Y = iris[0], np.eye(3, dtype=int)[iris[1]] | (iris[0][:, :1] > 0)
    model = SparseMLPClassifier(**SMALL | {"max_iter": 100, "learning_rate": 0.05}).fit(X, Y)
    net = tr.MLP((4, 6, 3), seed=3)
    how = {"method": "proximal", "optimizer": tr.Adam(0.05), "batch_size": 150, "seed": 3}
    tr.fit(net, X, Y, loss=tr.SigmoidCrossEntropy(), penalty=tr.L1(LAM), epochs=100, **how)
    assert net.params.tobytes() == model.network_.params.tobytes()
    assert np.array_equal(model.predict(X), model.predict_proba(X) > 0.5)
    assert model.score(X, Y) > 0.8
    assert same(clone(model).fit(X, sparse.csr_array(Y)), model)
    weighted = clone(model).set_params(class_weight="balanced").fit(X, Y)
    assert not same(weighted, model)


def test_several_targets_are_learned_at_once(diabetes):
    X, y = diabetes
    Y = np.stack([y, 2 * y], axis=1)
    model = SparseMLPRegressor(**LINEAR | {"lam": 1e-3}, solver="fista").fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.score(X, Y) == pytest.approx(0.517, abs=1e-3)


# ------------------------------------------------------------ epoch by epoch


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "sgd", "learning_rate": 0.01},
        {"solver": "sgd", "momentum": 0.0, "variance_reduction": True},
        {"method": "subgradient", "dtype": "float32"},
        {"penalty": "group", "learning_rate": 0.01},
        {"learning_rate": tr.solvers.schedules.inverse_sqrt(0.1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("weighted", [False, True])
def test_ten_partial_fits_are_one_fit_of_ten_epochs(cancer, settings, form, weighted):
    X, y = form(cancer[0]), cancer[1]
    weight = np.linspace(0, 1, len(y)) if weighted else None
    whole = SparseMLPClassifier(**SMALL, **settings).fit(X, y, weight)
    for random_state in 3, np.random.default_rng(0):
        parts = clone(whole).set_params(random_state=random_state)
        whole = clone(parts).fit(X, y, weight)
        for _ in range(10):
            parts.partial_fit(X, y, weight, classes=[0, 1])
        assert same(parts, whole)
        assert parts.n_iter_ == 10
    half = clone(whole).set_params(random_state=3, max_iter=5).fit(X, y, weight)
    for _ in range(5):
        half = copy.deepcopy(half).partial_fit(X, y, weight)
    assert same(half, clone(half).set_params(max_iter=10).fit(X, y, weight))


def test_a_regressor_goes_on_with_other_samples(diabetes):
    X, y = diabetes
    model = SparseMLPRegressor(**SMALL)
    for rows in np.array_split(np.arange(len(X)), 7):
        model.partial_fit(X[rows], 77 * y[rows])  # no word of its scale: it is of a few samples
    assert model.n_iter_ == len(model.loss_curve_) == 7


def test_another_solver_goes_on_with_a_fresh_state(diabetes):
    X, y = diabetes
    model = SparseMLPRegressor(**SMALL).fit(X, y)
    before = model.network_.params.copy()
    model.set_params(solver="sgd").partial_fit(X, y)
    assert model.n_iter_ == 1
    assert 0 < np.abs(model.network_.params - before).max() < 0.1


def test_the_first_call_names_the_classes(iris):
    X, y = iris
    model = SparseMLPClassifier(**SMALL).partial_fit(X[:50], y[:50], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (150, 3)
    with pytest.raises(ValueError, match="classes must be passed"):
        clone(model).partial_fit(X, y)
    with pytest.raises(ValueError, match="unseen labels"):
        model.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="class_weight must be None or a dict"):
        clone(model).set_params(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize("settings", [{"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
def test_what_takes_all_epochs_at_once_has_no_partial_fit(settings):
    model = SparseMLPClassifier(**settings)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit([[0.0], [1.0]], [0, 1], classes=[0, 1])
    assert "early_stopping=False" in str(error.value.__cause__)


def test_a_warm_start_begins_with_the_weights_of_the_last_call(diabetes):
    X, y = diabetes
    model = SparseMLPRegressor(**LINEAR, solver="fista", lam=0.01, warm_start=True).fit(X, y)
    cold = model.n_iter_
    assert model.fit(X, y).n_iter_ == 0  # it is there
    assert model.set_params(lam=0.009).fit(X, y).n_iter_ < cold
    assert clone(model).set_params(warm_start=False).fit(X, y).n_iter_ >= cold
    with pytest.raises(ValueError, match=r"hidden_layer_sizes.*\(10, 1\)"):
        model.set_params(hidden_layer_sizes=(3,)).fit(X, y)


# ------------------------------------------------------------ early stopping


def test_early_stopping_holds_out_and_goes_back_to_the_best_epoch(iris):
    X, y = iris
    settings = SMALL | {"max_iter": 400, "learning_rate": 0.1, "lam": 0.0, "n_iter_no_change": 7}
    model = SparseMLPClassifier(**settings, early_stopping=True, validation_fraction=0.4).fit(X, y)
    assert model.n_iter_ == model.history_.stopped_epoch == model.history_.best_epoch + 7 < 400
    parts = train_test_split(X, y, test_size=0.4, random_state=3, stratify=y)
    X, X_out, y, y_out = parts
    best = clone(model).set_params(early_stopping=False, max_iter=model.history_.best_epoch)
    best.fit(X, y)
    assert best.network_.params.tobytes() == model.network_.params.tobytes()
    loss = tr.SoftmaxCrossEntropy().value(best.network_.forward(X_out), y_out)
    assert min(model.history_.validation_loss) == pytest.approx(loss, rel=1e-12)
    # Without it the run goes on from the best epoch with a fresh state.
    assert model.set_params(early_stopping=False).partial_fit(X, y).n_iter_ == 1


def test_held_out_samples_have_their_weights(diabetes):
    X, y = diabetes
    weight = np.linspace(0, 1, len(y))
    settings = {"early_stopping": True, "validation_fraction": 0.5}
    model = SparseMLPRegressor(**SMALL, **settings).fit(X, y, weight)
    _, X_out, _, y_out, _, w_out = train_test_split(X, y, weight, test_size=0.5, random_state=3)
    at_best = tr.SquaredError().value(model.network_.forward(X_out), y_out, w_out)
    assert min(model.history_.validation_loss) == pytest.approx(at_best, rel=1e-12)


# ------------------------------------------------------------ the same minimum


@pytest.mark.parametrize("solver", ["fista", "lbfgs"])
def test_lasso(diabetes, solver):
    X, y = diabetes
    lam = 0.05
    ours = SparseMLPRegressor(**LINEAR, lam=lam, solver=solver).fit(X, y)
    theirs = Lasso(alpha=lam, tol=1e-12, max_iter=10_000).fit(X, y)
    assert ours.coefs_[0].ravel() == pytest.approx(theirs.coef_, abs=1e-6)
    assert np.array_equal(ours.coefs_[0].ravel() == 0, theirs.coef_ == 0)
    assert ours.intercepts_[0] == pytest.approx(theirs.intercept_, abs=1e-6)
    assert 0 < ours.sparsity_ < 1
    assert ours.predict(X) == pytest.approx(theirs.predict(X), abs=1e-6)
    assert ours.n_iter_ >= len(ours.loss_curve_) > 1


@pytest.mark.parametrize("weighted", [False, True])
def test_l1_logistic_regression(cancer, weighted):
    X, y = cancer
    lam = 0.02
    w = np.linspace(0, 2, len(y)) if weighted else np.ones(len(y))
    ours = SparseMLPClassifier(**LINEAR, lam=lam, solver="fista").fit(X, y, w)
    peer = {"l1_ratio": 1, "solver": "saga", "tol": 1e-10, "max_iter": 100_000}
    theirs = LogisticRegression(C=1 / (lam * w.sum()), random_state=0, **peer).fit(X, y, w)
    assert ours.coefs_[0].ravel() == pytest.approx(theirs.coef_[0], abs=1e-6)
    assert np.array_equal(ours.coefs_[0].ravel() == 0, theirs.coef_[0] == 0)
    assert ours.predict_proba(X) == pytest.approx(theirs.predict_proba(X), abs=1e-6)
    assert np.array_equal(ours.predict(X), theirs.predict(X))


def test_the_weights_of_an_mlp_classifier_and_its_alpha(iris):
    X, y = iris
    settings = {"hidden_layer_sizes": (5,), "activation": "logistic", "random_state": 0}
    peer = MLPClassifier(
        **settings, solver="lbfgs", alpha=2 * LAM * len(X), tol=1e-9, max_iter=5000, max_fun=50_000
    ).fit(X, y)
    ours = SparseMLPClassifier(**settings, penalty="l2", max_iter=1).fit(X, y)
    assert [W.shape for W in ours.coefs_] == [W.shape for W in peer.coefs_]
    for mine, theirs in zip(
        [*ours.coefs_, *ours.intercepts_], [*peer.coefs_, *peer.intercepts_], strict=True
    ):
        mine[...] = theirs
    assert ours.predict_proba(X) == pytest.approx(peer.predict_proba(X), abs=1e-12)
    F = tr.Objective(ours.network_, tr.SoftmaxCrossEntropy(), tr.L2(LAM))
    assert F.stationarity(X, y) < 1e-4
    assert F.value(X, y) == pytest.approx(peer.loss_, rel=1e-12)


# ------------------------------------------------------------ what a run says


def test_only_a_full_batch_solver_says_that_it_has_not_converged(diabetes):
    X, y = diabetes
    SparseMLPRegressor(**SMALL).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="fista: max_iter=3 reached"):
        SparseMLPRegressor((), solver="fista", max_iter=3).fit(X, y)


@pytest.mark.parametrize("dtype", ["float32", np.float32, "float64"])
def test_the_dtype_is_that_of_weights_and_predictions(diabetes, dtype):
    X, y = diabetes
    model = SparseMLPRegressor(**SMALL, dtype=dtype).fit(X.astype(np.float32), y)
    wanted = np.dtype(dtype)
    assert {a.dtype for a in [*model.coefs_, *model.intercepts_]} == {wanted}
    assert model.predict(X).dtype == wanted


@pytest.mark.parametrize("change", [{"activation": "tanh"}, {"dtype": "float32"}])
def test_a_network_that_goes_on_stays_the_same(diabetes, change):
    X, y = diabetes
    model = SparseMLPRegressor(**SMALL, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="activation, dtype and outputs must stay"):
        model.set_params(**change).fit(X, y)


@pytest.mark.parametrize("hidden", [5, np.int64(5), np.array(5), [5], np.array([5]), (5,)])
def test_hidden_layers_come_as_one_number_or_several(diabetes, hidden):
    X, y = diabetes
    assert SparseMLPRegressor(hidden, max_iter=1).fit(X, y).network_.sizes == (X.shape[1], 5, 1)


@pytest.mark.parametrize("bad", ["X", "classes"])
def test_a_first_call_that_failed_leaves_nothing_behind(bad):
    X, y = np.eye(3), np.array([0, 1, 2])
    model = SparseMLPClassifier((2,))
    with pytest.raises(ValueError):  # noqa: PT011
        model.partial_fit(np.nan * X if bad == "X" else X, y, classes=[0, 1, 2][: 2 + (bad == "X")])
    model.partial_fit(X, y, classes=[0, 1, 2, 3])
    assert model.classes_.tolist() == [0, 1, 2, 3]
