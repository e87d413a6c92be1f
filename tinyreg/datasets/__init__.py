"""The digits that come with the package, and tables of your own."""

from tinyreg.datasets.tables import (
    load_digits,
    load_table,
    sparse_teacher,
    standardise,
    train_test_split,
)

__all__ = ["load_digits", "load_table", "sparse_teacher", "standardise", "train_test_split"]
