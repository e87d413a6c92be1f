"""scikit-learn's interface: the estimators beside scikit-learn's own, its checks, two searches.

    python -m benchmarks.estimators

On three tables that ship with scikit-learn, several splits into 3/4 to train on and 1/4 to test.
The linear models are made at matched penalties, `C = 1/(λN)` and `alpha = λ`, and must have
scikit-learn's coefficients and zeros, or the script fails. So it does where a network with L2 and
`MLPClassifier(alpha=2λB)`, of the same size and with as many steps, differ by more than the sum of
their deviations over the splits. Seconds are of a fit; on each split the models follow one another.

Then scikit-learn's own checks of an estimator are counted, and λ is searched for in a pipeline: on
1,436 used cars (`dmba` ships them) with text columns, and on the words of 4,143 advertisements in a
CSR matrix, which `benchmarks.text` looks at more closely.
"""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import dmba
import numpy as np
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from tinyreg.estimators import SparseMLPClassifier, SparseMLPRegressor
from tinyreg.render.text import text_table

SEEDS = range(5)
BATCH, EPOCHS = 32, 60
LAM_L2 = 1e-4
NETWORK = {"hidden_layer_sizes": (64,), "batch_size": BATCH, "max_iter": EPOCHS}
CONVEX = {"hidden_layer_sizes": (), "solver": "fista", "max_iter": 20_000}
# The data, λ of the linear model, λ of the networks with L1 and of those with groups.
DATA = {
    "breast cancer": (load_breast_cancer, 1e-2, 1e-3, 3e-3),
    "digits": (load_digits, 2e-2, 1e-3, 1e-3),
    "diabetes": (load_diabetes, 5e-2, 1e-2, 1e-2),
}
SETTINGS = [
    {},
    {"solver": "sgd"},
    {"hidden_layer_sizes": (), "solver": "fista"},
    {"hidden_layer_sizes": (10,), "penalty": "group", "learning_rate": 0.01},
    {"early_stopping": True, "validation_fraction": 0.3},
    {"dtype": "float32"},
]


def linear(lam: float, n: int, regression: bool) -> dict:
    """The linear model with L1, by scikit-learn and by tinyreg."""
    if regression:
        theirs = {"Lasso": Lasso(alpha=lam, tol=1e-8)}
    else:
        how = {"solver": "saga", "tol": 1e-5, "max_iter": 50_000}
        theirs = {"LogisticRegression, L1": LogisticRegression(C=1 / (lam * n), l1_ratio=1, **how)}
    return theirs | {"linear, L1": ours(regression, lam=lam, **CONVEX)}


def networks(lam: float, lam_group: float, seed: int, regression: bool) -> dict:
    """Networks of one size, with as many steps: scikit-learn's, and three of tinyreg's."""
    peer = MLPRegressor if regression else MLPClassifier
    how = {"alpha": 2 * LAM_L2 * BATCH, "n_iter_no_change": np.inf, "random_state": seed}
    net = NETWORK | {"random_state": seed}
    return {
        f"{peer.__name__}, L2": peer(**NETWORK, **how),
        "network, L2": ours(regression, penalty="l2", lam=LAM_L2, **net),
        "network, L1": ours(regression, lam=lam, **net),
        "network, groups": ours(regression, penalty="group", lam=lam_group, **net),
    }


def ours(regression: bool, **settings):
    return (SparseMLPRegressor if regression else SparseMLPClassifier)(**settings)


def first_layer(model) -> np.ndarray:
    """The weights of the inputs, one row each."""
    return model.coefs_[0] if hasattr(model, "coefs_") else np.atleast_2d(model.coef_).T


def measured(model, X, X_test, y, y_test) -> tuple[float, float, int, float]:
    """The score, the share of zeros, the inputs in use, the seconds."""
    began = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - began
    weights = np.concatenate([W.ravel() for W in getattr(model, "coefs_", [first_layer(model)])])
    inputs = first_layer(model).any(axis=1).sum()
    return model.score(X_test, y_test), np.mean(weights == 0), inputs, seconds


def compared(name: str) -> list[list[str]]:
    """The rows of one data set."""
    load, lam_linear, lam, lam_group = DATA[name]
    X, y = load(return_X_y=True)
    regression, runs = name == "diabetes", {}
    for seed in SEEDS:
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=seed)
        scaler = StandardScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
        if regression:
            scaler = StandardScaler().fit(y_train[:, np.newaxis])
            y_train, y_test = (
                scaler.transform(a[:, np.newaxis]).ravel() for a in (y_train, y_test)
            )
        models = linear(lam_linear, len(X_train), regression)
        a, b = models.values()
        models |= networks(lam, lam_group, seed, regression)
        for kind, model in models.items():
            run = measured(model, X_train, X_test, y_train, y_test)
            runs.setdefault(kind, []).append(run)
        difference = np.abs(first_layer(a) - first_layer(b)).max()
        assert difference <= 1e-2 * np.abs(first_layer(a)).max(), f"coefficients: {difference}"
        other = np.sum((first_layer(a) == 0) != (first_layer(b) == 0))
        assert other <= max(1, first_layer(a).size // 100), f"{other} zeros differ"
    means, deviations, medians = (
        {k: f(r, axis=0) for k, r in runs.items()} for f in (np.mean, np.std, np.median)
    )
    theirs, mine = [*runs][2:4]
    assert abs(means[theirs][0] - means[mine][0]) <= deviations[theirs][0] + deviations[mine][0]
    return [
        [name if kind == next(iter(runs)) else "", kind,
         f"{means[kind][0]:.3f} ± {deviations[kind][0]:.3f}", f"{100 * means[kind][1]:.1f} %",
         f"{means[kind][2]:.0f} of {X.shape[1]}", f"{medians[kind][3]:.3f}"]
        for kind in runs
    ]  # fmt: skip


def checked() -> None:
    """How many of scikit-learn's checks pass, and which do not."""
    rows, told = [["check_estimator: passed", "classifier", "regressor"]], []
    for settings in SETTINGS:
        name = ", ".join(f"{name}={value!r}" for name, value in settings.items()) or "the defaults"
        counts, failed = [], set()
        for regression in False, True:
            with warnings.catch_warnings(action="ignore"):
                results = check_estimator(ours(regression, **settings), on_fail=None, on_skip=None)
            status = Counter(each["status"] for each in results)
            counts.append(f"{status['passed']} of {len(results) - status['skipped']}")
            failed |= {each["check_name"] for each in results if each["status"] == "failed"}
        rows.append([name, *counts])
        told += [f"not with {name}:", *(f"    {name}" for name in sorted(failed))] if failed else []
    print("\n".join([*text_table(rows, rule=True), *told]), flush=True)


def searched(title: str, search: GridSearchCV, X, X_test, y, y_test) -> None:
    """Fit a search over λ and say what it found."""
    began = time.perf_counter()
    search.fit(X, y)
    seconds = time.perf_counter() - began
    steps = getattr(search.best_estimator_, "regressor_", search.best_estimator_)
    net = steps[-1]
    (lam,) = search.best_params_.values()
    alive = net.feature_importances_ > 0
    names = steps[:-1].get_feature_names_out()[alive]
    order = np.argsort(-net.feature_importances_[alive])
    print(f"\n{title}: λ = {lam:g}, score {search.best_score_:.3f} over three folds, "
          f"{search.score(X_test, y_test):.3f} on the test rows,\n{alive.sum()} of {alive.size} "
          f"columns kept, {100 * net.sparsity_:.1f} % of the weights 0; {seconds:.0f} s; first "
          f"are\n{', '.join(names[order[:8]])}")  # fmt: skip


def cars() -> None:
    """The price of a used car: numbers as they are, text columns one-hot."""
    table = dmba.load_data("ToyotaCorolla.csv").drop(columns="Id")
    X, y = table.drop(columns="Price"), table["Price"].to_numpy(dtype=float)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        (StandardScaler(), make_column_selector(dtype_include="number")),
        verbose_feature_names_out=False, sparse_threshold=0,
    )  # fmt: skip
    net = SparseMLPRegressor(
        (16,), penalty="group", max_iter=20, batch_size=32, learning_rate=3e-3, random_state=0
    )
    model = TransformedTargetRegressor(make_pipeline(columns, net), transformer=StandardScaler())
    search = GridSearchCV(model, {"regressor__sparsemlpregressor__lam": [3e-4, 1e-3, 3e-3]}, cv=3)
    searched("used cars", search, *train_test_split(X, y, random_state=0))


def ads() -> None:
    """Whether an advertisement is approved of, from its words in a CSR matrix."""
    table = dmba.load_data("farm-ads.csv", header=None)
    words = CountVectorizer(token_pattern=r"\S+", binary=True, min_df=5)
    net = SparseMLPClassifier(**CONVEX, tol=1e-3)
    search = GridSearchCV(
        make_pipeline(words, net), {"sparsemlpclassifier__lam": [1e-3, 3e-3]}, cv=3
    )
    split = train_test_split(table[1], table[0].to_numpy(), random_state=0)
    searched("advertisements, CSR", search, *split)


def main() -> None:
    print(machine_line("scikit-learn", "dmba"), "\n")
    began = time.perf_counter()
    warnings.filterwarnings("ignore", message="Stochastic Optimizer")  # of MLPClassifier
    rows = [["", "", "test score", "weights 0", "inputs", "s"]]
    rows += [row for name in DATA for row in compared(name)]
    print("\n".join(text_table(rows, left=2, rule=True)))
    print(f"\naccuracy and R², means and deviations over {len(SEEDS)} splits; batches of {BATCH}, "
          f"{EPOCHS} epochs\n", flush=True)  # fmt: skip
    checked()
    cars()
    ads()
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
