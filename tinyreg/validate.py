"""The checks of arguments that several modules share.

Every check names the argument, says what came and what is wanted, and runs before any work: a
call that is refused has changed nothing. A value of the wrong kind is a `TypeError`, a value of
the right kind outside its range a `ValueError`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import numbers
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeAlias, TypeGuard, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy import sparse

Array: TypeAlias = NDArray[Any]  # real in everyday use; complex where a complex step passes through
Sparse: TypeAlias = Any  # a scipy.sparse array or matrix; of samples, a `csr_array`
Data: TypeAlias = ArrayLike | Sparse
Maybe: TypeAlias = ArrayLike | None
T = TypeVar("T")
MOST_LAYERS = 10_000  # a file of so many more would be read into a thousand times its size
ROWS_AT_ONCE = 1024  # finiteness is tested in pieces: a copy of all of X may not fit into memory


def describe(value: object) -> str:
    """A value in a few characters, for an error message."""
    if is_sparse(value):
        return f"a sparse array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) <= 80 else text[:77] + "..."


@contextlib.contextmanager
def named(names: str) -> Iterator[None]:
    """Errors inside say first which argument they are about."""
    try:
        yield
    except (TypeError, ValueError) as e:
        raise type(e)(f"{names}: {e}") from e


# Values


def check_type(name: str, value: object, kind: type[T], wanted: str) -> T:
    """`value` if it is of this kind, in words `wanted`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, got {describe(value)}")
    return value


def check_number(
    name: str, value: object, *, above: float = -math.inf, least: float = -math.inf
) -> float:
    """`value` as a finite float that is > `above` and >= `least`."""
    wanted = "a finite number"
    wanted += f" > {above:g}" if above > -math.inf else ""
    wanted += f" >= {least:g}" if least > -math.inf else ""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {wanted}, got {describe(value)}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond the largest float
        number = math.inf
    if not (above < number < math.inf and number >= least):
        raise ValueError(f"{name} must be {wanted}, got {repr(value)[:80]}")
    return number


def check_fraction(name: str, value: object) -> float:
    """`value` as a float in [0, 1)."""
    number = check_number(name, value, least=0)
    if number >= 1:
        raise ValueError(f"{name} must be < 1, got {value!r}")
    return number


def check_integer(name: str, value: object, *, least: int) -> int:
    """`value` as an int >= `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer >= {least}, got {describe(value)}")
    if value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return int(value)


def check_flag(name: str, value: object) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {describe(value)}")


def check_choice(name: str, value: object, choices: Collection[str]) -> str:
    """`value` if it is one of `choices`."""
    wanted = f"one of {', '.join(choices)}"
    choice = check_type(name, value, str, wanted)
    if choice not in choices:
        raise ValueError(f"{name} must be {wanted}, got {choice!r}")
    return choice


def check_list(name: str, value: Any) -> list[Any]:
    """`value` as a list, from a sequence that is not a string."""
    fits = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    if not fits or np.ndim(value) != 1:
        raise TypeError(f"{name} must be a sequence, got {describe(value)}")
    return list(value)


def check_each(name: str, values: Any, check: Callable[[Any], T]) -> list[T]:
    """One or more values, each of which passes `check`, and none of them twice."""
    checked = [check(value) for value in check_list(name, values)]
    if len(set(checked)) < max(len(checked), 1):
        raise ValueError(f"{name} must be one or more, each once, got {tuple(checked)}")
    return checked


def check_sizes(name: str, value: Any) -> tuple[int, ...]:
    """The units of each layer, from the inputs to the outputs."""
    sizes = check_list(name, value)
    if len(sizes) < 2:
        raise ValueError(f"{name} must have at least inputs and outputs, got {tuple(sizes)}")
    if len(sizes) > MOST_LAYERS:
        raise ValueError(f"{name} must be at most {MOST_LAYERS} numbers, got {len(sizes)}")
    return tuple(check_integer(f"{name}[{i}]", n, least=1) for i, n in enumerate(sizes))


# Arrays and samples


def as_numbers(name: str, value: ArrayLike) -> Array:
    """`value` as an array of real numbers, in their own dtype."""
    try:
        array = np.asarray(value)
    except ValueError as e:  # rows of different lengths
        raise ValueError(f"{name} must be a rectangular array: {e}") from None
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must not have masked entries; fill or drop them")
    if array.dtype.kind not in "fiub":
        came = describe(array if array.ndim else value)
        raise TypeError(f"{name} must be a dense array of real numbers, got {came}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got {describe(array)}")
    return array


def check_array(name: str, value: ArrayLike, dtype: DTypeLike) -> Array:
    """`value` as an array of real numbers that are finite in `dtype`, and cast to it."""
    array = as_numbers(name, value)
    with np.errstate(over="ignore"):  # what is too large becomes an infinity, and is refused as one
        array = array.astype(dtype, copy=False)
    _check_finite(name, array, dtype)
    return array


def _check_finite(name: str, array: Array, dtype: DTypeLike) -> None:
    rows = np.atleast_1d(array)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        with np.errstate(over="ignore"):
            part = rows[start : start + ROWS_AT_ONCE].astype(dtype, copy=False)
        finite = np.isfinite(part)
        if not finite.all():
            where = np.argwhere(~finite)[0]
            came = part[tuple(where)]
            where[0] += start
            index = ", ".join(map(str, where[: array.ndim]))
            raise ValueError(f"{name} must be finite in {part.dtype}, got {came} at [{index}]")


def check_vector(name: str, value: ArrayLike, n: int) -> Array:
    """`value` as a vector of n numbers, floating or complex."""
    array = np.asarray(value)
    if array.dtype.kind not in "fciu":
        raise TypeError(f"{name} must be numbers, got {describe(array)}")
    check_shape(name, array, "shape", (n,))
    return array if array.dtype.kind in "fc" else array.astype(np.float64)


def is_sparse(X: object) -> TypeGuard[Sparse]:
    """Whether X is a `scipy.sparse` array or matrix."""
    return bool(sparse.issparse(X))


def column_names(X: object) -> list[str] | None:
    """The names of the columns, where X is a data frame."""
    columns = getattr(X, "columns", None)
    return None if columns is None else [str(name) for name in columns]


def _check_indices(X: Sparse) -> None:
    """Indices within the shape: SciPy's products and conversions trust them with any memory."""
    if X.format == "coo":
        type(X)((X.data, X.coords), shape=X.shape)  # the constructor looks at them
    elif hasattr(X, "indptr"):
        X.check_format()
        if (np.diff(X.indptr) < 0).any():  # which SciPy lets pass where the last one is 0
            raise ValueError("index pointers must not fall")


def as_table(name: str, X: Data, width: int | None = None) -> Array | Sparse:
    """`X` as a table of real numbers in their own dtype, in CSR format if it is sparse.

    An `np.memmap` stays one. Of CSR whose entries are in order, once each, nothing is copied.
    """
    table: Any = X
    if is_sparse(X):
        if X.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be an array of real numbers, got {describe(X)}")
        with named(name):
            _check_indices(X)
            table = sparse.csr_array(X)
            _check_indices(table)  # those of other formats, such as LIL
        if not table.has_canonical_format:
            table = table.copy()
            table.sum_duplicates()
    else:
        array = as_numbers(name, X)
        table = X if isinstance(X, np.memmap) else array
    if table.ndim != 2 or 0 in table.shape or width not in (None, table.shape[1]):
        wanted = f"(n_samples, {width or 'n_features'})"
        raise ValueError(f"{name} must have shape {wanted}, got {table.shape}")
    return table


def check_features(
    X: Data, n_features: int | None, dtype: DTypeLike, name: str = "X"
) -> Array | Sparse:
    """`X` as a (n_samples, n_features) table, of any width if None, of numbers finite in `dtype`.

    An `np.memmap` is not cast, so that its numbers stay in their file; samples of it will be.
    """
    table = as_table(name, X, n_features)
    if not isinstance(table, np.memmap):
        with np.errstate(over="ignore"):
            table = table.astype(dtype, copy=False)
    if is_sparse(table):
        finite = np.isfinite(table.data)
        if not finite.all():
            entries = table.tocoo()
            row, column = entries.row[~finite][0], entries.col[~finite][0]
            came = f"{table.data[~finite][0]} at [{row}, {column}]"
            raise ValueError(f"{name} must be finite in {table.dtype}, got {came}")
    else:
        _check_finite(name, table, dtype)
    return table


def check_pairs(X: Array | Sparse, y: Array, X_name: str = "X", y_name: str = "y") -> None:
    """y must have a target for each of the samples, the rows of a table X."""
    if y.shape[:1] != X.shape[:1]:
        wanted = f"a target for each of the {X.shape[0]} samples in {X_name}"
        raise ValueError(f"{y_name} must hold {wanted}, got shape {y.shape}")


def check_columns(
    name: str, y: ArrayLike, n: int, k: int, dtype: DTypeLike, probabilities: bool = False
) -> Array:
    """Real targets as (n, k), from (n,) too where k is 1; in [0, 1] if they are probabilities."""
    array = check_array(name, y, dtype)
    if k == 1 and array.shape == (n,):
        array = array[:, np.newaxis]
    if array.shape != (n, k):
        wanted = f"({n}, {k})" + (f" or ({n},)" if k == 1 else "")
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    low, high = array.min(), array.max()
    if probabilities and (low < 0 or high > 1):
        raise ValueError(f"{name} must be 0 or 1 (or between), got values from {low:g} to {high:g}")
    return array


def check_labels(name: str, y: ArrayLike, n: int, k: int, dtype: DTypeLike) -> Array:
    """Labels 0 … k − 1 as (n,) integers, or (n, k) rows of probabilities, scaled to sum to 1."""
    array = np.asarray(y)
    if array.ndim == 2:
        array = check_array(name, array, dtype)
    if array.shape not in ((n,), (n, k)):
        raise ValueError(f"{name} must have shape ({n},) or ({n}, {k}), got {array.shape}")
    if array.ndim == 2:
        sums = array.sum(axis=1)
        if array.min() < 0 or np.any(np.abs(sums - 1) > 1e-5):
            row = array[np.argmax((array.min(axis=1) < 0) + np.abs(sums - 1))]
            wanted = "one-hot rows (or rows of probabilities that sum to 1)"
            raise ValueError(f"{name} must have {wanted}, got row {row}")
        return array / sums[:, np.newaxis]  # else −p·z would not be −p·(z − max z)
    if array.dtype.kind not in "iub":
        wanted = f"integer labels 0 to {k - 1} or one-hot rows"
        raise TypeError(f"{name} must be {wanted}, got dtype {array.dtype}")
    low, high = array.min(), array.max()
    if low < 0 or high >= k:
        wanted = f"labels from 0 to {k - 1} (the network has {k} outputs)"
        raise ValueError(f"{name} must be {wanted}, got labels from {low} to {high}")
    return array.astype(np.intp, copy=False)


def check_sample_weight(sample_weight: ArrayLike | None, n_samples: int) -> Array:
    """The weight of each sample in the mean, (N,): 1/N, or `sample_weight` over its sum."""
    if sample_weight is None:
        return np.full(n_samples, 1.0 / n_samples)
    weight = check_array("sample_weight", sample_weight, np.float64)
    check_shape("sample_weight", weight, "shape", (n_samples,))
    low, high = weight.min(), weight.max()
    if low < 0 or high == 0:
        came = f"weights from {low:g} to {high:g}"
        raise ValueError(f"sample_weight must be >= 0 with a positive sum, got {came}")
    weight = weight / high  # first, so that no sum overflows
    return weight / weight.sum()


# Networks, penalties and optimizers


def check_outputs(outputs: object) -> Array:
    """The (N, K) outputs of a network, floating or complex."""
    if not isinstance(outputs, np.ndarray) or outputs.ndim != 2 or outputs.size == 0:
        raise ValueError(f"outputs must be a (N, K) array, got {describe(outputs)}")
    if outputs.dtype.kind not in "fciub":
        raise TypeError(f"outputs must be numbers, got {describe(outputs)}")
    return np.asarray(outputs if outputs.dtype.kind in "fc" else outputs.astype(np.float64))


def check_dtype(name: str, dtype: object) -> np.dtype[Any]:
    """float64 or float32, by name, as np.float32 or as np.dtype("float32")."""
    told = getattr(dtype, "__name__", str(dtype))
    return np.dtype(check_choice(name, told, ("float64", "float32")))


def check_shape(name: str, value: Any, wanted: str, shape: tuple[int, ...]) -> None:
    """An array of this shape, in words `wanted`."""
    if np.shape(value) != shape:
        raise ValueError(f"{name} must have {wanted} {shape}, got {np.shape(value)}")


def check_trace(trace: Any, dout: Array, sizes: tuple[int, ...]) -> None:
    """A trace of a network of these sizes, and a gradient of its outputs."""
    came = tuple(a.shape[1] for a in trace.activations)
    if came != sizes:
        raise ValueError(f"trace must be one of a network of sizes {sizes}, got sizes {came}")
    check_shape("dout", dout, "the outputs' shape", trace.outputs.shape)


def check_masks(masks: Sequence[Array] | None, wanted: list[tuple[int, int]]) -> None:
    """Dropout masks of these shapes, or None."""
    got = wanted if masks is None else [np.shape(mask) for mask in masks]
    if got != wanted:
        raise ValueError(f"masks must have the shapes {wanted}, got {got}")


def check_penalty_type(name: str, penalty: object) -> None:
    """A penalty (see `tinyreg.core.penalties.Penalty`), or None."""
    wanted = ("value", "subgradient", "prox", "residual", "smooth")
    fits = not isinstance(penalty, type) and all(hasattr(penalty, method) for method in wanted)
    if penalty is not None and not fits:
        raise TypeError(f"{name} must be a penalty such as L1(1e-3), got {describe(penalty)}")


def check_penalties(penalty: Any, bias_penalty: Any, n_layers: int) -> list[Any]:
    """The penalty of each weight matrix, then of each bias vector; None where there is none."""
    if isinstance(penalty, Sequence) and not isinstance(penalty, str):
        if len(penalty) != n_layers:
            wanted = f"one entry for each of the {n_layers} layers"
            raise ValueError(f"penalty must have {wanted}, got {len(penalty)}")
        for layer, R in enumerate(penalty):
            check_penalty_type(f"penalty[{layer}]", R)
    else:
        check_penalty_type("penalty", penalty)
        penalty = [penalty] * n_layers
    check_penalty_type("bias_penalty", bias_penalty)
    if not getattr(bias_penalty, "elementwise", True):
        wanted = "act on each number alone, as biases are no matrix"
        raise TypeError(f"bias_penalty must {wanted}; got {describe(bias_penalty)}")
    return [*penalty, *([bias_penalty] * n_layers)]


def unknown_sum(a: object, b: object) -> TypeError:
    """The error for a sum of penalties whose prox is not known."""
    known = "L1, L2, ElasticNet and GroupLasso of one axis, as the prox of other sums is not known"
    return TypeError(f"a + b must be of {known}; got {describe(a)} + {describe(b)}")


def check_nonnegative(penalty: Any) -> None:
    """Each λ of a penalty as a float >= 0."""
    for field in dataclasses.fields(penalty):
        if field.type == "float":
            number = check_number(field.name, getattr(penalty, field.name), least=0)
            object.__setattr__(penalty, field.name, number)  # the dataclass is frozen


def check_step(step: float | Array, w: Array) -> float | Array:
    """The step of a prox: one finite number >= 0, or one for each number of w."""
    if type(step) is float and 0 <= step < math.inf:  # each training step comes by here
        return step
    if isinstance(step, np.ndarray) and step.ndim:
        if step.shape != w.shape:
            wanted = f"be a number or have w's shape {w.shape}"
            raise ValueError(f"step must {wanted}, got {describe(step)}")
        if not (step.min(initial=0.0) >= 0 and step.max(initial=0.0) < math.inf):
            came = f"numbers from {step.min()} to {step.max()}"
            raise ValueError(f"step must be finite numbers >= 0, got {came}")
        return step
    return check_number("step", step.item() if isinstance(step, np.ndarray) else step, least=0)


def check_optimizer(optimizer: T, method: str) -> T:
    """An optimizer (see `tinyreg.core.optimizers.Optimizer`) that `method` can use."""
    if isinstance(optimizer, type) or not all(hasattr(optimizer, a) for a in ("start", "step")):
        raise TypeError(f"optimizer must be SGD(...) or Adam(...), got {describe(optimizer)}")
    if method in ("decoupled", "naive") and not hasattr(optimizer, "lr"):
        wanted = f"have a learning rate lr for method={method!r}"
        raise TypeError(f"optimizer must {wanted}, got {describe(optimizer)}")
    return optimizer


def check_rate(name: str, lr: object) -> None:
    """A learning rate: a number > 0, or a schedule, which is asked later."""
    if not callable(lr):
        check_number(name, lr, above=0)


def check_nesterov(momentum: object, nesterov: object) -> None:
    """0 <= momentum < 1, and > 0 for Nesterov's form."""
    check_fraction("momentum", momentum)
    check_flag("nesterov", nesterov)
    if nesterov and momentum == 0:
        raise ValueError("nesterov=True needs a momentum > 0, got 0")


def check_betas(betas: object) -> None:
    """Two numbers >= 0 and < 1."""
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise TypeError(f"betas must be a pair of numbers, got {betas!r}")
    for i, beta in enumerate(betas):
        check_fraction(f"betas[{i}]", beta)


def check_function(name: str, value: object) -> None:
    """A function, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, got {describe(value)}")


def check_pair(value: Any) -> Any:
    """X and y, in a tuple or a list, and the weights of the samples if they have any."""
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        raise TypeError(f"must be (X, y) or (X, y, sample_weight), got {describe(value)}")
    return value


def check_callbacks(callback: Any, validated: bool) -> list[Any]:
    """None, one or several functions of (epoch, history); some want validation data."""
    several = isinstance(callback, list | tuple)
    callbacks = list(callback) if several else [] if callback is None else [callback]
    for i, each in enumerate(callbacks):
        name = f"callback[{i}]" if several else "callback"
        wanted = f"{name} must be a function of (epoch, history), got {describe(each)}"
        if isinstance(each, type) or not callable(each):
            raise TypeError(wanted)
        with contextlib.suppress(ValueError):  # some functions in C have no signature
            try:
                inspect.signature(each).bind(1, None)
            except TypeError as e:
                raise TypeError(f"{wanted}: {e}") from None
        monitor = str(getattr(each, "monitor", ""))
        if monitor.startswith("validation") and not validated:
            raise ValueError(f"{name} monitors {monitor}, which needs validation_data")
    return callbacks


def check_loop(
    epochs: object,
    batch_size: object,
    seed: object,
    dropout: object,
    variance_reduction: object,
    checkpoint_every: object,
) -> None:
    """The settings of a training loop."""
    check_integer("epochs", epochs, least=1)
    check_integer("batch_size", batch_size, least=1)
    check_integer("seed", seed, least=0)
    rate = check_fraction("dropout", dropout)
    check_flag("variance_reduction", variance_reduction)
    if variance_reduction and rate:
        raise ValueError(
            f"variance_reduction needs dropout=0, got {rate:g}: a gradient with units dropped has "
            "another mean than that of the whole network"
        )
    check_integer("checkpoint_every", checkpoint_every, least=1)
