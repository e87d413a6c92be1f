"""The estimators within scikit-learn: pipelines, searches, selection of features, routing of
metadata; and what they say of bad input."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the sklearn extra")

import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, scale

import tinyreg as tr
from tinyreg.estimators import SparseMLPClassifier, SparseMLPRegressor

FAST = {"hidden_layer_sizes": (4,), "learning_rate": 0.03, "max_iter": 20, "random_state": 0}
LASSO = {"hidden_layer_sizes": (), "solver": "fista", "max_iter": 5000}
BOTH = [SparseMLPClassifier, SparseMLPRegressor]


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


@pytest.fixture
def houses():
    """Prices that go by the area and by one of four towns, and columns of noise."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    area, noise, town = rng.uniform(50, 150, 300), rng.normal(size=300), rng.integers(4, size=300)
    colour, names = rng.integers(3, size=300), np.array(["Bern", "Genf", "Sion", "Thun"])
    table = {"area": area, "noise": noise, "town": names[town]}
    table["colour"] = np.array(["red", "blue", "grey"])[colour]
    return pandas.DataFrame(table), 3000 * area + 100_000 * (town == 1) + rng.normal(size=300)


# ------------------------------------------------------------ pipelines and searches


def test_a_search_over_lambda_on_a_table_with_text_columns(houses):
    X, y = houses
    columns = ColumnTransformer(
        [("text", OneHotEncoder(), ["town", "colour"]), ("", StandardScaler(), ["area", "noise"])]
    )
    model = make_pipeline(columns, SparseMLPRegressor(**LASSO))
    search = GridSearchCV(
        TransformedTargetRegressor(model, transformer=StandardScaler()),
        {"regressor__sparsemlpregressor__lam": [1e-4, 1e-2, 1.0]},
    ).fit(X, y)
    assert search.best_params_ == {"regressor__sparsemlpregressor__lam": 1e-4}
    assert search.best_score_ > 0.999
    columns, best = search.best_estimator_.regressor_
    at_all = search.best_estimator_.set_params(regressor__sparsemlpregressor__lam=1e-2).fit(X, y)
    columns, best = at_all.regressor_
    kept = columns.get_feature_names_out()[best.feature_importances_ > 0]
    assert set(kept) == {"text__town_Genf", "__area"}


def test_a_search_on_words():
    good, bad = ["fine tasty warm", "fine fresh"], ["cold stale", "late cold bland"]
    texts = [f"{words} soup and bread {i}" for i in range(20) for words in good + bad]
    y = np.array(["good", "good", "bad", "bad"] * 20)
    model = make_pipeline(TfidfVectorizer(), SparseMLPClassifier(**FAST | {"max_iter": 40}))
    lams = {"sparsemlpclassifier__lam": [3e-3, 10.0]}
    search = GridSearchCV(model, lams, scoring="neg_log_loss").fit(texts, y)
    assert search.best_params_ == {"sparsemlpclassifier__lam": 3e-3}
    words, net = search.best_estimator_
    assert sparse.issparse(words.transform(texts))
    assert search.best_estimator_.predict(["warm bread", "stale bread"]).tolist() == ["good", "bad"]
    sizes = dict(zip(words.get_feature_names_out(), net.feature_importances_, strict=True))
    assert sizes["cold"] > 0 == sizes["17"]  # of no use
    assert net.sparsity_ > 0.3


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.coo_matrix, sparse.csc_array])
def test_a_sparse_table_trains_as_a_dense_one(cancer, form):
    X, y = np.where(np.abs(cancer[0]) > 1, cancer[0], 0), cancer[1]
    dense = SparseMLPClassifier(**FAST).fit(X, y)
    model = SparseMLPClassifier(**FAST).fit(form(X), y)
    assert model.network_.params == pytest.approx(dense.network_.params, abs=1e-10)
    assert model.predict_proba(form(X)) == pytest.approx(dense.predict_proba(X), abs=1e-9)


# ------------------------------------------------------------ features


@pytest.mark.parametrize(
    ("kind", "settings", "threshold"),
    [
        (SparseMLPClassifier, {"lam": 0.01}, None),
        (SparseMLPClassifier, {"penalty": "group", "lam": 3e-3}, 1e-12),
        (SparseMLPRegressor, LASSO | {"lam": 0.05}, None),
    ],
)
def test_select_from_model_drops_the_inputs_without_a_weight(kind, settings, threshold):
    pandas = pytest.importorskip("pandas")
    load = load_diabetes if kind is SparseMLPRegressor else load_breast_cancer
    table, y = load(return_X_y=True, as_frame=True)
    y = scale(y) if kind is SparseMLPRegressor else y
    select = SelectFromModel(kind(**FAST | settings), threshold=threshold)
    model = make_pipeline(StandardScaler(), select).set_output(transform="pandas").fit(table, y)
    net = select.estimator_
    assert net.feature_names_in_.tolist() == table.columns.tolist()
    alive = [name for name, W in zip(table.columns, net.coefs_[0], strict=True) if W.any()]
    assert 0 < len(alive) < table.shape[1]
    assert model.get_feature_names_out().tolist() == alive
    kept = model.transform(table)
    assert isinstance(kept, pandas.DataFrame)
    assert kept.columns.tolist() == alive


# ------------------------------------------------------------ metadata


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_sample_weights_are_routed_through_pipeline_and_search(cancer):
    X, y = cancer
    weight = np.where(y == 0, 0.0, 1.0)
    weight[:10] = 1.0
    net = SparseMLPClassifier(**FAST).set_fit_request(sample_weight=True)
    net.set_score_request(sample_weight=True)
    model = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), net)
    search = GridSearchCV(model, {"sparsemlpclassifier__lam": [1e-3]}, cv=3)
    search.fit(X, y, sample_weight=weight)
    by_hand = SparseMLPClassifier(**FAST, lam=1e-3).fit(
        StandardScaler().fit_transform(X), y, weight
    )
    assert np.array_equal(search.best_estimator_[-1].network_.params, by_hand.network_.params)
    assert "sample_weight" in net.get_metadata_routing().fit.requests
    assert {*net.get_metadata_routing().partial_fit.requests} == {"sample_weight", "classes"}
    routed = cross_validate(model, X, y, params={"sample_weight": weight}, cv=3)
    assert not np.array_equal(routed["test_score"], cross_validate(model, X, y, cv=3)["test_score"])


# ------------------------------------------------------------ copies and seeds


@pytest.mark.parametrize("kind", BOTH)
def test_copies_predict_the_same_and_clones_forget(cancer, kind):
    X, y = cancer
    model = kind(**FAST, penalty=[tr.L1(0.01), tr.GroupLasso(0.01, axis=1)]).fit(X, y)
    for twin in pickle.loads(pickle.dumps(model)), copy.deepcopy(model):
        assert np.array_equal(twin.predict(X), model.predict(X))
        twin.partial_fit(X, y)
        assert not np.array_equal(twin.network_.params, model.network_.params)
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not hasattr(fresh, "network_")
    assert not hasattr(fresh, "coefs_")
    assert "penalty=[L1(lam=0.01)," in repr(fresh)


@pytest.mark.parametrize(
    "make",
    [
        lambda: 5,
        lambda: np.int64(5),
        lambda: np.random.RandomState(5),
        lambda: np.random.default_rng(5),
        lambda: np.random.Generator(np.random.Philox(5)),
    ],
)
def test_the_same_random_state_gives_the_same_network(cancer, make):
    first, second = (SparseMLPClassifier(**FAST | {"random_state": make()}) for _ in range(2))
    assert np.array_equal(*(m.fit(*cancer).network_.params for m in (first, second)))
    params = first.network_.params.copy()
    again = np.array_equal(first.fit(*cancer).network_.params, params)
    assert again == isinstance(make(), int | np.integer)


def test_without_a_random_state_no_two_networks_are_the_same(cancer):
    model = SparseMLPClassifier(**FAST | {"random_state": None})
    assert not np.array_equal(*(clone(model).fit(*cancer).coefs_[0] for _ in range(2)))


def test_the_folds_of_a_cross_validation_do_not_depend_on_the_number_of_processes(cancer):
    serial, parallel = (
        cross_val_score(SparseMLPClassifier(**FAST), *cancer, cv=3, n_jobs=jobs) for jobs in (1, 2)
    )
    assert np.array_equal(serial, parallel)
    assert serial.min() > 0.93


# ------------------------------------------------------------ what comes in


@pytest.mark.parametrize(
    "labels",
    [np.array(["no", "yes"]), np.array(["no", "yes"], object), np.array([False, True]), [3.0, 7.0]],
    ids=str,
)
def test_labels_of_any_kind_come_back(cancer, labels):
    X, y = cancer[0], np.asarray(labels)[cancer[1]]
    model = SparseMLPClassifier(**FAST).fit(X, y)
    assert model.classes_.tolist() == list(labels)
    assert model.classes_.dtype == y.dtype
    assert set(model.predict(X)) == set(labels)
    p = model.predict_proba(X)
    assert p.shape == (len(X), 2)
    assert p.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(p[:, 1] > 0.5, model.predict(X) == labels[1])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lam": -1.0}, "'lam' parameter"),
        ({"penalty": "L1"}, "'penalty' parameter"),
        ({"penalty": tr.L1}, "penalty must be a penalty such as"),
        ({"penalty": [tr.L1(0.1)]}, "penalty must have one entry for each of the 2 layers"),
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": "4"}, "'hidden_layer_sizes' parameter"),
        ({"activation": "swish"}, "'activation' parameter"),
        ({"solver": "newton"}, "'solver' parameter"),
        ({"solver": "lbfgs", "penalty": "group"}, "lbfgs"),
        ({"method": "naive"}, "'method' parameter"),
        ({"learning_rate": 0}, "'learning_rate' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"tol": 0.0}, "'tol' parameter"),
        ({"random_state": "a"}, "'random_state' parameter"),
        ({"dtype": "float16"}, "'dtype' parameter"),
        ({"class_weight": "even"}, "'class_weight' parameter"),
        ({"X": np.full((6, 2), np.nan)}, "NaN"),
        ({"X": np.zeros((5, 2))}, "inconsistent numbers of samples"),
        ({"y": np.ones(6)}, "at least two classes, got one class: 1"),
        ({"y": np.linspace(0, 1, 6)}, "continuous"),
        ({"y": np.arange(12).reshape(6, 2)}, "multiclass-multioutput|1d array"),
        ({"sample_weight": np.zeros(6)}, "zero|positive sum"),
        ({"sample_weight": -np.ones(6)}, "`sample_weight`"),
        ({"sample_weight": [1.0, 2.0]}, "sample_weight.shape"),
    ],
    ids=str,
)
def test_a_bad_argument_is_named(change, told):
    data = {"X": np.eye(6, 2), "y": [0, 1, 0, 1, 0, 1]}
    settings = {
        name: value for name, value in change.items() if name not in (*data, "sample_weight")
    }
    model = SparseMLPClassifier(**FAST | settings)
    with pytest.raises((ValueError, TypeError), match=told):
        model.fit(**data | {name: change[name] for name in change if name not in settings})
    assert not hasattr(model, "network_")


def test_a_fit_that_fails_leaves_nothing_to_predict_with(cancer):
    X, y = cancer
    model = SparseMLPClassifier(**FAST).fit(X, y)
    with pytest.raises(tr.DivergenceError):
        model.set_params(solver="sgd", learning_rate=1e6).fit(X, np.arange(len(y)) % 3)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        model.predict(X)


def test_a_column_is_taken_as_targets_with_a_warning(cancer):
    X, y = cancer
    for kind in BOTH:
        with pytest.warns(sklearn.exceptions.DataConversionWarning, match="column-vector"):
            column = kind(**FAST).fit(X, y[:, np.newaxis])
        assert np.array_equal(column.predict(X), kind(**FAST).fit(X, y).predict(X))
        assert column.predict(X).shape == y.shape


def test_one_sample_is_enough_for_a_regression_and_not_for_classes():
    assert SparseMLPRegressor(**FAST).fit([[1.0, 2.0]], [0.5]).predict([[1.0, 2.0]]).shape == (1,)
    with pytest.raises(ValueError, match="one class"):
        SparseMLPClassifier(**FAST).fit([[1.0, 2.0]], [1])
