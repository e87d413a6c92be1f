"""The digits that come with the package; data/README.md says where they are from."""

from __future__ import annotations

from importlib import resources

import numpy as np

from tinyreg.validate import Array

PIXEL_MAX = 16  # pixels are integers from 0 to 16


def load_digits() -> tuple[Array, Array]:
    """The UCI handwritten digits, 8×8 pixels each.

    Returns
    -------
    X : (1797, 64) float64 array
        Pixels, row by row, scaled to [0, 1].
    y : (1797,) int64 array
        Labels 0 to 9.

    Notes
    -----
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository (1998), CC BY 4.0.

    Examples
    --------
    >>> X, y = load_digits()
    >>> X.shape, X.min().item(), X.max().item(), np.bincount(y).tolist()
    ((1797, 64), 0.0, 1.0, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    """
    file = resources.files("tinyreg.datasets") / "data" / "digits.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
        return content["images"] / PIXEL_MAX, content["labels"].astype(np.int64)
