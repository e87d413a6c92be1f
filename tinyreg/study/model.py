"""A network with what it takes to apply it to raw rows: names, scaling, classes and the loss."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np

from tinyreg import validate
from tinyreg.core.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import FILE, MLP, VERSION
from tinyreg.datasets.arrays import in_order
from tinyreg.datasets.scaling import Scaling
from tinyreg.files import load_npz, read_arrays, reading, write_arrays
from tinyreg.sparsity.measures import active_inputs
from tinyreg.validate import Array, Data

LOSSES = {repr(L): L for L in (SoftmaxCrossEntropy(), SigmoidCrossEntropy(), SquaredError())}
SCALINGS = ("scaling", "target_scaling")


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network that takes raw rows and gives classes, or values in the target's units.

    `tinyreg compare --out` saves one for each method; `Comparison.model` makes them in Python.

    Attributes
    ----------
    net : MLP
    loss : Loss, which says what the outputs are: `SoftmaxCrossEntropy()`, …
    columns : list of str, the names of the inputs in order; x0, x1, … where they have none
    classes : (K,) array or None, what the K outputs stand for; with softmax 0 … K−1 if left out
    scaling : Scaling or None, of the inputs; None where the network takes them as they are
    target_scaling : Scaling or None, of a target to regress on
    target : str, the target's name
    settings : dict of what JSON can hold: how the network was trained

    Notes
    -----
    X : (N, n_in) array, `scipy.sparse` matrix or data frame, in the units of the training data
        The columns of a data frame may stand in any order, with others between them.
    path : a file; `MLP.load` reads it too, and takes the network alone

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> net = MLP((2, 2))
    >>> net.params = [1, -1, 0, 0, 0, 0]  # W, where the second input has no weight, and b
    >>> model = Model(net, SoftmaxCrossEntropy(), ["age", "height"], np.array(["old", "young"]),
    ...               scaling=Scaling(np.array([40.0, 170.0]), np.array([20.0, 10.0])))
    >>> model.predict([[50, 180], [20, 160]]), model.inputs()
    (array(['old', 'young'], dtype='<U5'), ['age'])
    >>> model.probabilities([[50, 180]]).round(3)  # softmax of (½, −½)
    array([[0.731, 0.269]])
    >>> with TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.npz")
    ...     again = Model.load(f"{folder}/model.npz")
    >>> again.columns, again.classes.tolist(), again.scaling.shift
    (['age', 'height'], ['old', 'young'], array([ 40., 170.]))
    """

    net: MLP
    loss: Loss
    columns: list[str]
    classes: Array | None = None
    scaling: Scaling | None = None
    target_scaling: Scaling | None = None
    target: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        net = validate.check_type("net", self.net, MLP, "an MLP")
        validate.check_type("loss", self.loss, Loss, "a loss such as SquaredError()")
        validate.check_type("target", self.target, str, "a name")
        validate.check_type("settings", self.settings, dict, "a dict")
        n_in, n_out = net.sizes[0], net.sizes[-1]
        columns = validate.check_list("columns", self.columns)
        if not all(isinstance(name, str) for name in columns) or len({*columns}) < len(columns):
            raise ValueError("columns must be names, each once")
        validate.check_shape("columns", columns, "shape", (n_in,))
        object.__setattr__(self, "columns", [str(name) for name in columns])
        if self.classes is not None:
            classes = np.asarray(self.classes)
            validate.check_shape("classes", classes, "shape", (n_out,))
            if classes.dtype.kind not in "iubfU" or len(np.unique(classes)) < n_out:
                raise ValueError(f"classes must be numbers or names, each once, got {classes}")
            object.__setattr__(self, "classes", classes)
        for name, shape in zip(SCALINGS, ((n_in,), () if n_out == 1 else (n_out,)), strict=True):
            if (scaling := getattr(self, name)) is not None:
                object.__setattr__(self, name, _checked(name, scaling, shape))

    def predict(self, X: Data) -> Array:
        """The class of each row, (N,); yes or no as 1 or 0, or values, (N, K), or (N,) if K = 1."""
        outputs = self._outputs(X)
        if isinstance(self.loss, SoftmaxCrossEntropy):
            best = outputs.argmax(axis=1)
            return best if self.classes is None else self.classes[best]
        if isinstance(self.loss, SigmoidCrossEntropy):
            outputs = (outputs > 0).astype(np.int64)
        elif self.target_scaling is not None:
            outputs = self.target_scaling.undo(outputs)
        return outputs.ravel() if self.net.sizes[-1] == 1 else outputs

    def probabilities(self, X: Data) -> Array:
        """The probability of each class, or of each yes, (N, K)."""
        if isinstance(self.loss, SquaredError):
            raise ValueError(f"probabilities are of classes, this model was trained by {self.loss}")
        return self.loss.predict(self._outputs(X))

    def inputs(self) -> list[str]:
        """The names of the inputs that have a nonzero weight."""
        return [self.columns[i] for i in np.flatnonzero(active_inputs(self.net))]

    def _outputs(self, X: Data) -> Array:
        """The network's outputs for raw rows."""
        X = validate.check_features(in_order("X", X, self.columns), self.net.sizes[0], np.float64)
        return self.net.forward(X if self.scaling is None else self.scaling.apply(X))

    def save(self, path: str | PathLike[str]) -> None:
        """Write all of it to an NPZ file at just this path."""
        if repr(self.loss) not in LOSSES:
            known = ", ".join(LOSSES)
            raise ValueError(f"loss must be one of {known} to be saved, got {self.loss}")
        classes = None if self.classes is None else self.classes.tolist()
        about = {"loss": repr(self.loss), "columns": self.columns, "classes": classes}
        about |= {"target": self.target, "settings": self.settings}
        with validate.named("settings"):
            arrays: dict[str, Any] = {"model": json.dumps(about).encode()}
        for name in SCALINGS:
            if (scaling := getattr(self, name)) is not None:
                arrays[name] = np.stack(np.broadcast_arrays(*scaling))
        net = self.net
        arrays |= {"sizes": net.sizes, "activation": net.activation, "params": net.params}
        write_arrays(path, FILE, VERSION, **arrays)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Model:
        """The model in a file that `save` wrote; a `ValueError` if it is another or damaged."""
        net = MLP.load(path)
        with reading(path, "a model saved by Model.save or `tinyreg compare --out`"):
            names = load_npz(path, ())
            if "model" not in names:
                own = "Model(MLP.load(path), loss, columns) adds what is missing"
                raise ValueError(f"it holds a network alone, without its loss and names; {own}")
            wanted = ("model", *(name for name in SCALINGS if name in names))
            arrays = read_arrays(path, FILE, wanted, VERSION)
            try:
                about = json.loads(arrays.pop("model").item())
                about |= {name: Scaling(*pair) for name, pair in arrays.items()}
                return cls(net, **about | {"loss": LOSSES[about["loss"]]})
            except Exception as e:  # JSON of another kind can fail in any way
                raise ValueError(f"what it says of the network is damaged: {e!r:.200}") from e


def _checked(name: str, scaling: Scaling, shape: tuple[int, ...]) -> Scaling:
    """The scaling in arrays of this shape: finite, and none to divide by that is not positive."""
    validate.check_type(name, scaling, Scaling, "a Scaling")
    shift, scale = (
        validate.check_array(f"{name}.{part}", value, np.float64)
        for part, value in scaling._asdict().items()
    )
    if not shift.size == scale.size == math.prod(shape):
        came = f"{shift.shape} and {scale.shape}"
        raise ValueError(f"{name} must have arrays of shape {shape}, got {came}")
    if not scale.min() > 0:
        raise ValueError(f"{name}.scale must be > 0, got {scale.min()}")
    return Scaling(shift.reshape(shape), scale.reshape(shape))
