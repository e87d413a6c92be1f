"""Data to train on: the digits, tables of your own, a teacher of which the truth is known.

In reading order: digits, synthetic; what prepares data: labels, splits, scaling; arrays, tables.
"""

from tinyreg.datasets.digits import load_digits
from tinyreg.datasets.labels import class_weights
from tinyreg.datasets.scaling import Scaling, standardise
from tinyreg.datasets.splits import train_test_split
from tinyreg.datasets.synthetic import sparse_teacher
from tinyreg.datasets.tables import load_table

__all__ = [
    "Scaling",
    "class_weights",
    "load_digits",
    "load_table",
    "sparse_teacher",
    "standardise",
    "train_test_split",
]
