"""tinyreg: a multilayer perceptron whose every gradient is written by hand, and checked.

Pure NumPy, no autograd. The objective is F = L + R, a mean loss over the samples plus a
penalty of the weights; L1 goes by subgradient or by proximal soft thresholding. Each
formula stands, with derivation and source, in the docstring of what computes it.

The network
    MLP                  layers over one parameter vector, forward and backward

Losses, each a mean over the samples
    SoftmaxCrossEntropy  one of K classes
    SigmoidCrossEntropy  yes or no, once or K times
    SquaredError         real targets, ½‖z − y‖²

Penalties, each with value, subgradient, prox and residual
    L1                   λ Σ|w|: weights become exactly 0
    L2                   λ Σw²: weights shrink
    ElasticNet           both
    GroupLasso           λ Σ √|g| ‖w_g‖: rows or columns of W become exactly 0

The objective
    Objective            F = L + R: value, gradients, Hessian products, stationarity

Training
    SGD                  gradient descent, with momentum if asked for
    Adam                 one step size for each coordinate
    fit                  the minibatch loop: by subgradient, prox or decoupled decay
    History              what `fit` measured at the end of each epoch
    EarlyStopping        a callback that ends a run where nothing gets better

Is a gradient right?
    check_gradients      every parameter of an objective
    check_gradient       any function of an array, anyone's gradient
    check_backward       any layer, anyone's backward pass
    check_layer          the same for an object, its parameters too
    check_penalty        its value, subgradient, prox and residual against one another
    Report               what the checks return

Full-batch solvers
    minimize             subgradient, ISTA, FISTA, L-BFGS-B; how far from optimal
    lambda_max           the smallest λ at which L1 leaves no weight of a linear model

Subgradient or prox?
    compare              train by several methods from one start: the main job
    Comparison           what `compare` returns
    path                 walk over λ, from dense to sparse
    LambdaPath           what `path` returns
    Model                a trained network that takes raw rows: names, scaling, classes

Data
    load_digits          1797 handwritten digits, 8×8 pixels
    load_table           features and targets from a CSV, NPZ or svmlight file
    class_weights        sample weights with which each class counts the same

At home in scikit-learn
    tinyreg.estimators   SparseMLPClassifier, SparseMLPRegressor; needs scikit-learn

A pass, written out
    explain              formulas, shapes, numbers of one pass forward and one back
    Explanation          what `explain` returns: text, Markdown, LaTeX

Errors
    DivergenceError      a loss, a gradient or a weight is no longer finite
    GradientCheckError   a gradient is not the derivative of its function

Examples
--------
>>> import tinyreg as tr
>>> X, y = tr.load_digits()
>>> net, loss = tr.MLP((64, 32, 10), seed=0), tr.SoftmaxCrossEntropy()
>>> penalty, method = tr.L1(1e-3), "proximal"  # or "subgradient": no weight gets to 0
>>> history = tr.fit(net, X, y, loss=loss, penalty=penalty, method=method, epochs=5)
>>> history.total[-1] < history.total[0], history.exact_zeros[-1] > 0.1
(True, True)
"""

import importlib
from types import ModuleType

from tinyreg.checks.function import check_gradient
from tinyreg.checks.layer import check_backward, check_layer
from tinyreg.checks.objective import check_gradients
from tinyreg.checks.penalty import check_penalty
from tinyreg.checks.report import Report
from tinyreg.core.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective
from tinyreg.core.optimizers import SGD, Adam
from tinyreg.core.penalties import L1, L2, ElasticNet
from tinyreg.core.training import History, fit
from tinyreg.datasets.digits import load_digits
from tinyreg.datasets.labels import class_weights
from tinyreg.datasets.tables import load_table
from tinyreg.errors import DivergenceError, GradientCheckError
from tinyreg.explain.explanation import Explanation, explain
from tinyreg.notebook import show_in_notebooks
from tinyreg.solvers.duality import lambda_max
from tinyreg.solvers.minimize import minimize
from tinyreg.solvers.stopping import EarlyStopping
from tinyreg.sparsity.groups import GroupLasso
from tinyreg.study.comparison import Comparison, compare
from tinyreg.study.model import Model
from tinyreg.study.path import LambdaPath, path

__version__ = "0.1.0"

__all__ = [  # in reading order
    "MLP",
    "SoftmaxCrossEntropy",
    "SigmoidCrossEntropy",
    "SquaredError",
    "L1",
    "L2",
    "ElasticNet",
    "GroupLasso",
    "Objective",
    "SGD",
    "Adam",
    "fit",
    "History",
    "EarlyStopping",
    "check_gradients",
    "check_gradient",
    "check_backward",
    "check_layer",
    "check_penalty",
    "Report",
    "minimize",
    "lambda_max",
    "compare",
    "Comparison",
    "path",
    "LambdaPath",
    "Model",
    "load_digits",
    "load_table",
    "class_weights",
    "explain",
    "Explanation",
    "DivergenceError",
    "GradientCheckError",
]

show_in_notebooks()


def __getattr__(name: str) -> ModuleType:
    """`tinyreg.estimators`, which needs scikit-learn, is imported when it is asked for."""
    if name == "estimators":
        return importlib.import_module("tinyreg.estimators")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
