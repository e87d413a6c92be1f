"""scikit-learn's interface: `SparseMLPClassifier` and `SparseMLPRegressor`.

Labels, tables, weights and parameters are checked by scikit-learn; the training is that of `fit`
and `minimize`, and ends where these end when called by hand. Parameters are named as those of
scikit-learn's MLPClassifier and have its meanings and defaults, where it has them.

λ (`lam`) belongs to the mean loss: it means the same for N and for 10 N samples. The same minimum
have, with w the weights of the samples (Σw = N without) and B the size of the batches,

    penalty="l1", no hidden layers      Lasso(alpha=λ),  LogisticRegression(l1_ratio=1, C=1/(λ Σw))
    penalty="l2"                        MLPClassifier(alpha=2λB), MLPRegressor(alpha=2λB)
"""

from __future__ import annotations

import warnings
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np

from tinyreg.checkpoint import Memory
from tinyreg.core.layers import ACTIVATIONS
from tinyreg.core.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective, Penalties
from tinyreg.core.optimizers import SGD, Adam, Schedule
from tinyreg.core.penalties import L1, L2, ElasticNet, Penalty
from tinyreg.core.training import History, fit
from tinyreg.solvers.minimize import SOLVERS, minimize
from tinyreg.solvers.stopping import EarlyStopping
from tinyreg.sparsity.groups import GroupLasso
from tinyreg.sparsity.measures import zero_share
from tinyreg.validate import Array, Data, Maybe, named

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelEncoder
    from sklearn.utils import check_random_state, class_weight, column_or_1d, multiclass, validation
    from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
    from sklearn.utils.metaestimators import available_if
except ImportError as e:
    needed = 'scikit-learn 1.8 or newer: pip install "tinyreg[sklearn]"'
    raise ImportError(f"tinyreg.estimators needs {needed}") from e

COUNT = Interval(Integral, 1, None, closed="left")


def _seed(random_state: Any) -> int:
    """One seed for the weights, the split and the order of the samples; an int is that seed."""
    if isinstance(random_state, Integral):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        random_state = np.random.RandomState(random_state.bit_generator)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _trains_by_epochs(estimator: _SparseMLP) -> bool:
    if estimator.solver in SOLVERS or estimator.early_stopping:
        raise AttributeError("partial_fit wants solver 'adam' or 'sgd', and early_stopping=False")
    return True


@dataclass(eq=False, repr=False)
class _SparseMLP(BaseEstimator):
    """What both share: the parameters, one way to train, and the network seen from outside."""

    hidden_layer_sizes: Any = (100,)
    activation: str = "relu"
    _: KW_ONLY
    penalty: Any = "l1"
    lam: float = 1e-3
    l1_ratio: float = 0.5
    method: str = "proximal"
    variance_reduction: bool = False
    solver: str = "adam"
    learning_rate: float | Schedule = 1e-3
    momentum: float = 0.9
    batch_size: Any = "auto"
    max_iter: int = 200
    tol: float = 1e-6
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    warm_start: bool = False
    random_state: int | np.random.RandomState | np.random.Generator | None = None
    dtype: str = "float64"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", COUNT],
        "activation": [StrOptions({*ACTIVATIONS, "logistic"})],
        "penalty": [
            StrOptions({"l1", "l2", "elasticnet", "group"}), None, list, tuple,
            HasMethods(["value", "subgradient", "prox", "residual"]),
        ],
        "lam": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "method": [StrOptions({"subgradient", "proximal", "decoupled"})],
        "variance_reduction": ["boolean"],
        "solver": [StrOptions({"adam", "sgd", *SOLVERS})],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), callable],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [StrOptions({"auto"}), COUNT],
        "max_iter": [COUNT],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [COUNT],
        "warm_start": ["boolean"],
        "random_state": ["random_state", np.random.Generator],
        "dtype": [StrOptions({"float64", "float32"}), Options(type, {np.float64, np.float32})],
    }  # fmt: skip
    _loss: ClassVar[Any]

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Data, y: Data, sample_weight: Maybe = None) -> Self:
        """Train on X, array or sparse matrix of shape (n_samples, n_features), and y.

        y is (n_samples,) or (n_samples, n_outputs); sample_weight, (n_samples,), says how much
        each sample counts in the mean loss.
        """
        return self._train(X, y, sample_weight)

    @available_if(_trains_by_epochs)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Data, y: Data, sample_weight: Maybe = None) -> Self:
        """One epoch more, on these samples: ten calls are one `fit` of ten epochs, bit for bit."""
        return self._train(X, y, sample_weight, more=True)

    def _train(self, X: Any, y: Any, weight: Any, more: bool = False) -> Self:
        """All epochs, or with `more` one more, from where the last call ended."""
        new = not (hasattr(self, "network_") and (more or self.warm_start))
        how = {"accept_sparse": "csr", "multi_output": True, "dtype": self.dtype, "reset": new}
        numeric = isinstance(self, RegressorMixin)
        X, y = validation.validate_data(self, X, y, y_numeric=numeric, **how)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if weight is not None:
            weight = validation._check_sample_weight(weight, X, ensure_non_negative=True)
        if new:  # else a fit that fails leaves a network that knows other classes
            self.__dict__.pop("network_", None)
        y, weight, n_out = self._encode(y, weight, new, more)

        hidden, seed = self.hidden_layer_sizes, _seed(self.random_state)
        sizes = (X.shape[1], *np.ravel(hidden).tolist(), n_out)
        activation = {"logistic": "sigmoid"}.get(self.activation, self.activation)
        if new:
            with named("hidden_layer_sizes"):
                net = MLP(sizes, activation, self.dtype, seed)
        else:
            net = self.network_
            wanted = sizes, activation, np.dtype(self.dtype).name
            if (came := (net.sizes, net.activation, net.dtype.name)) != wanted:
                must = "hidden_layer_sizes, activation, dtype and outputs must stay, to go on"
                raise ValueError(f"{must}; the network has {came}, wanted are {wanted}")
        if self.solver in SOLVERS:
            self._minimize(net, X, y, weight)
        else:
            self._fit(net, X, y, weight, seed, more)
        self.network_: MLP = net
        return self

    def _minimize(self, net: MLP, X: Any, y: Array, weight: Maybe) -> None:
        objective = Objective(net, self._loss, self._penalty())
        until: dict[str, Any] = {"max_iter": self.max_iter, "tol": self.tol}
        result = minimize(objective, X, y, self.solver, sample_weight=weight, **until)
        if not result.success:
            warnings.warn(f"{self.solver}: {result.message}", ConvergenceWarning, stacklevel=5)
        self.history_, self.n_iter_ = History(total=result.history["objective"][1:]), result.nit
        self._memory: Memory | None = None

    def _fit(self, net: MLP, X: Any, y: Array, weight: Maybe, seed: int, more: bool) -> None:
        sgd = self.solver == "sgd"
        optimizer = SGD(self.learning_rate, self.momentum) if sgd else Adam(self.learning_rate)
        kind = (self.solver, self.momentum)  # another one has another state
        memory: Memory | None = getattr(self, "_memory", None) if more else None
        if memory is None or self._kind != kind:
            memory = Memory.new(net.params, optimizer, seed, History())
        held_out = stopping = None
        if self.early_stopping:
            parts = [X, y] if weight is None else [X, y, weight]
            classes = y if isinstance(self, ClassifierMixin) and y.ndim == 1 else None
            how = {"test_size": self.validation_fraction, "stratify": classes}
            parts = train_test_split(*parts, random_state=seed, **how)
            (X, y, *weights), held_out = parts[::2], tuple(parts[1::2])
            weight = weights[0] if weights else None
            stopping = EarlyStopping(self.n_iter_no_change, restore_best=True)
        self.history_ = fit(
            net, X, y, loss=self._loss, penalty=self._penalty(), method=self.method,
            variance_reduction=self.variance_reduction, optimizer=optimizer,
            epochs=len(memory.history.total) + (1 if more else self.max_iter),
            batch_size=200 if self.batch_size == "auto" else self.batch_size,
            sample_weight=weight, validation_data=held_out, callback=stopping, resume=memory,
        )  # fmt: skip
        self.n_iter_ = len(self.history_.total)
        # The last epoch's state does not belong to the best epoch's parameters.
        self._memory = None if self.early_stopping else memory
        self._kind: tuple[str, float] = kind

    def _penalty(self) -> Penalties:
        if not isinstance(self.penalty, str):
            return self.penalty
        lam, l1 = self.lam, self.lam * self.l1_ratio
        known: dict[str, Penalty] = {
            "l1": L1(lam), "l2": L2(lam), "elasticnet": ElasticNet(l1, lam - l1),
            "group": GroupLasso(lam, axis=1),
        }  # fmt: skip
        return known[self.penalty]

    def _encode(self, y: Any, weight: Maybe, new: bool, more: bool) -> tuple[Array, Maybe, int]:
        """The targets of the loss, the weights of the samples, the number of outputs."""
        raise NotImplementedError

    def _predictions(self, X: Data) -> Array:
        """The loss's prediction for each row of X, (n_samples, n_outputs)."""
        validation.check_is_fitted(self, "network_")
        how = {"accept_sparse": "csr", "dtype": self.network_.dtype, "reset": False}
        return self._loss.predict(self.network_.forward(validation.validate_data(self, X, **how)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    coefs_ = property(lambda self: [*self.network_.weights])
    intercepts_ = property(lambda self: [*self.network_.biases])
    loss_curve_ = property(lambda self: self.history_.total)
    sparsity_ = property(lambda self: zero_share(self.network_))
    feature_importances_ = property(lambda self: np.linalg.norm(self.network_.weights[0], axis=1))


@dataclass(eq=False, repr=False, kw_only=True)
class SparseMLPClassifier(ClassifierMixin, _SparseMLP):
    """A classifier whose weights become exactly 0: one of K classes, or several labels at once.

    It goes where an `MLPClassifier` goes: into pipelines, searches over `lam`, and
    `SelectFromModel`, which drops the inputs that have no weight.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        The units of each hidden layer; () makes a linear model.
    activation : {"relu", "tanh", "logistic", "identity", …}, default="relu"
        Or another name in `tinyreg.core.layers.ACTIVATIONS`.
    penalty : {"l1", "l2", "elasticnet", "group"}, None, object or list, default="l1"
        λΣ|w|, λΣw², λrΣ|w| + λ(1 − r)Σw², or `GroupLasso(lam, axis=1)`, which drops inputs and
        hidden units as a whole: of all weights, not of biases. Or a penalty such as `L1(1e-3)`, or
        a list with one (or None) for each layer; `lam` then has no effect.
    lam, l1_ratio : float, default=1e-3 and 0.5
        λ, by which the penalty is added to the mean loss; r.
    method : {"proximal", "subgradient", "decoupled"}, default="proximal"
        How the penalty meets "adam" and "sgd", as in `tinyreg.fit`. Only the first gives zeros.
    variance_reduction : bool, default=False
        SVRG, with which the zeros are those of the optimum.
    solver : {"adam", "sgd", "fista", "ista", "lbfgs", "subgradient"}, default="adam"
        The last four, on all samples at once, are those of `tinyreg.minimize` and the ones to take
        for linear models: early stopping, `learning_rate` and so on belong to the first two.
    learning_rate, momentum : float (or a function of the number of steps); float
        default=1e-3 and 0.9; the momentum is that of "sgd".
    batch_size : int or "auto", default="auto"
        "auto" is min(200, n_samples).
    max_iter : int, default=200
        Epochs, which are all run unless stopped early; or iterations of a full-batch solver.
    tol : float, default=1e-6
        What a full-batch solver has to reach, or warn: see `tinyreg.minimize`. The others take no
        change of the loss for convergence.
    early_stopping, validation_fraction, n_iter_no_change : bool, float, int
        default=False, 0.1 and 10: whether to hold out this share of the samples (stratified, each
        with its weight), stop when their loss has not fallen for so many epochs, and go back to the
        best epoch.
    warm_start : bool, default=False
        Whether `fit` begins with the weights of the last call.
    random_state : int, RandomState, Generator or None, default=None
        An int is the `seed` of `tinyreg.MLP` and `tinyreg.fit`.
    dtype : {"float64", "float32"}, default="float64"
    class_weight : dict, list of dict, "balanced" or None, default=None
        As in scikit-learn; times the sample weights.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_ : as in scikit-learn
    network_, history_ : tinyreg.MLP and tinyreg.History (of full-batch solvers F alone)
    n_iter_, loss_curve_ : int and list of float
        How many epochs or iterations; the objective F, mean loss plus penalty, after each.
    coefs_, intercepts_ : list of ndarray
        The weights (n_in, n_out) and biases (n_out,) of each layer, views into the network.
    sparsity_ : float
        The share of weights that equal 0.
    feature_importances_ : ndarray of shape (n_features_in_,)
        The norm of each input's weights. `SelectFromModel(estimator, threshold=1e-12)` keeps the
        inputs that have any; with penalty="l1" it needs no threshold.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> net = SparseMLPClassifier((16,), lam=3e-3, learning_rate=1e-2, max_iter=50, random_state=0)
    >>> model = make_pipeline(StandardScaler(), net).fit(X, y)
    >>> model.score(X, y) > 0.97, net.sparsity_ > 0.5
    (True, True)
    """

    class_weight: Any = None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_SparseMLP._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    @available_if(_trains_by_epochs)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Data, y: Data, sample_weight: Maybe = None, classes: Maybe = None
    ) -> Self:
        """One epoch more, on these samples: ten calls are one `fit` of ten epochs, bit for bit.

        y may lack some of the classes; `classes` are all of them, and needed in the first call.
        """
        if self.class_weight == "balanced":
            wanted = "None or a dict in partial_fit, which does not see how common a class is"
            raise ValueError(f"class_weight must be {wanted}; got 'balanced'")
        if not hasattr(self, "network_"):  # a call that failed has left its classes
            self.__dict__.pop("classes_", None)
        multiclass._check_partial_fit_first_call(self, classes)
        return self._train(X, y, sample_weight, more=True)

    def _encode(self, y: Any, weight: Maybe, new: bool, more: bool) -> tuple[Array, Maybe, int]:
        multiclass.check_classification_targets(y)
        several = multiclass.type_of_target(y) == "multilabel-indicator"
        y = y.toarray() if hasattr(y, "toarray") else y
        if new:
            self._multilabel = several
            every = self.classes_ if more else np.arange(y.shape[1]) if several else y
            self._encoder = LabelEncoder().fit(every)
            self.classes_: Array = self._encoder.classes_
            if len(self.classes_) < 2:
                raise ValueError(f"y must have at least two classes, got one class: {every[0]}")
        places = y if self._multilabel else self._encoder.transform(y)
        if self.class_weight is not None:
            if self._multilabel:
                by_sample = class_weight.compute_sample_weight(self.class_weight, y)
            else:
                how = {"classes": self.classes_, "y": y, "sample_weight": weight}
                by_sample = class_weight.compute_class_weight(self.class_weight, **how)[places]
            weight = by_sample if weight is None else weight * by_sample
        n_out = 1 if len(self.classes_) == 2 and not self._multilabel else len(self.classes_)
        return places, weight, n_out

    @property
    def _loss(self) -> Loss:
        one_of_many = len(self.classes_) > 2 and not self._multilabel
        return SoftmaxCrossEntropy() if one_of_many else SigmoidCrossEntropy()

    def predict_proba(self, X: Data) -> Array:
        """The probability of each class (in the order of `classes_`) or label, (n_samples, K)."""
        p = self._predictions(X)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def predict(self, X: Data) -> Array:
        """The most probable class, (n_samples,), or 1 for each label above ½, (n_samples, K)."""
        p = self.predict_proba(X)
        return (p > 0.5).astype(np.int64) if self._multilabel else self.classes_[p.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@dataclass(eq=False, repr=False)
class SparseMLPRegressor(RegressorMixin, _SparseMLP):
    """Regression by a network whose weights become exactly 0, on one target or several.

    The loss is `SquaredError`, ½‖prediction − y‖². λ and the learning rate are made for targets of
    about mean 0 and deviation 1, which scikit-learn's `TransformedTargetRegressor` makes of others.

    Parameters
    ----------
    hidden_layer_sizes, activation, penalty, …, dtype
        Those of `SparseMLPClassifier`, but for `class_weight`.

    Attributes
    ----------
    network_, history_, …, feature_importances_
        Those of `SparseMLPClassifier`, but for `classes_`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> X, y = load_diabetes(return_X_y=True)
    >>> lasso = SparseMLPRegressor((), lam=0.1, solver="fista").fit(scale(X), scale(y))
    >>> lasso.coefs_[0].ravel().round(2)
    array([ 0.  ,  0.  ,  0.3 ,  0.11,  0.  ,  0.  , -0.06,  0.  ,  0.26,
            0.  ])
    """

    _loss: ClassVar[Any] = SquaredError()

    def _encode(self, y: Any, weight: Maybe, new: bool, more: bool) -> tuple[Array, Maybe, int]:
        return y, weight, 1 if y.ndim == 1 else y.shape[1]

    def predict(self, X: Data) -> Array:
        """The values for each row of X, (n_samples,) or (n_samples, n_outputs)."""
        values = self._predictions(X)
        return values.ravel() if values.shape[1] == 1 else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
