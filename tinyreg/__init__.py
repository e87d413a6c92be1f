"""tinyreg: a multilayer perceptron whose every gradient is written by hand, and checked."""

from tinyreg.comparison import Comparison, compare
from tinyreg.datasets import load_digits, load_table
from tinyreg.duality import lambda_max
from tinyreg.errors import DivergenceError, GradientCheckError
from tinyreg.explain import Explanation, explain
from tinyreg.gradcheck import check_backward, check_gradient, check_gradients, check_penalty
from tinyreg.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.network import MLP
from tinyreg.objective import Objective
from tinyreg.optimizers import SGD, Adam
from tinyreg.path import LambdaPath, path
from tinyreg.penalties import L1, L2, ElasticNet, GroupLasso
from tinyreg.solvers import minimize
from tinyreg.training import History, fit
from tinyreg.verdicts import Report

__version__ = "0.1.0"

__all__ = [
    "L1",
    "L2",
    "MLP",
    "SGD",
    "Adam",
    "Comparison",
    "DivergenceError",
    "ElasticNet",
    "Explanation",
    "GradientCheckError",
    "GroupLasso",
    "History",
    "LambdaPath",
    "Objective",
    "Report",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "SquaredError",
    "check_backward",
    "check_gradient",
    "check_gradients",
    "check_penalty",
    "compare",
    "explain",
    "fit",
    "lambda_max",
    "load_digits",
    "load_table",
    "minimize",
    "path",
]
