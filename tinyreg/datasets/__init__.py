"""Data to train on: the digits, tables of your own, a teacher of which the truth is known.

In reading order: digits, tables, synthetic; and what prepares them: splits, scaling, labels.
"""

from tinyreg.datasets.digits import load_digits
from tinyreg.datasets.scaling import standardise
from tinyreg.datasets.splits import train_test_split
from tinyreg.datasets.synthetic import sparse_teacher
from tinyreg.datasets.tables import load_table

__all__ = ["load_digits", "load_table", "sparse_teacher", "standardise", "train_test_split"]
