"""Derivatives measured from values alone: of any function, of a penalty, of a network's loss.

Nothing here looks at a backward pass or a subgradient as evidence: these are the judges, and they
see only forward code.

**The complex step.** f(x + ih) = f(x) + ih f'(x) − h²f''(x)/2 − …, so f' is the imaginary part over
h; no two near numbers are subtracted, h may be 1e-30, and the result is exact to rounding (Squire
and Trapp 1998). It needs a forward pass that keeps the imaginary part, and at a kink it gives the
slope of the branch that the forward pass takes.

**Real differences.** With φ(t) = f(x + tv), the central difference at h errs by h²φ'''/6 from the
series and by about ε|f|/h from rounding; both are small for h ≈ ε^⅓. A pair of steps h and h/2
cancels the first error term, (4 d(h/2) − d(h))/3, and what it changes is the error estimate. The
same pair on one side gives D⁺ = 2 d⁺(h/2) − d⁺(h), and D⁻ likewise.

**Kinks.** For a smooth φ the difference D⁺ − D⁻ is O(h³). Where it stays put while h shrinks, φ has
a kink (`along`). In a network no guess is needed (`Perturbations`): ReLU and leaky ReLU are the
only activations with a kink, and as one parameter moves by t, every pre-activation is linear in t
until the first of them changes its sign. So the same signs at both ends of a step are a proof
that no kink lies between them.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyreg.core.layers import ACTIVATIONS, dropout_forward
from tinyreg.core.losses import Loss
from tinyreg.core.network import MLP, forward_pass
from tinyreg.core.objective import COMPLEX_STEP, Data
from tinyreg.core.penalties import Penalty
from tinyreg.validate import Array

EPS = float(np.finfo(np.float64).eps)
KINKED = ("relu", "leaky_relu")
SHRINK = 8.0  # from one rung of the ladder of steps to the next
RUNGS = 7
SMOOTH = 1e-5  # D⁺ − D⁻ below this share of the slopes is no kink
AT_ONCE = 16_384  # numbers in a chunk of perturbed networks: its temporaries stay in the cache
MEASURED = ("value", "error", "left", "right", "side_error", "reason")
AGREE = 1e-5  # how closely an unextrapolated central difference has to confirm the complex step


@dataclass
class Measured:
    """What the judges found, one entry for each coordinate, in arrays of one shape.

    Attributes
    ----------
    value : the derivative; at a kink the slope of the branch taken, NaN where that is not known
    error : a bound or an estimate of its error
    left, right : D⁻ and D⁺ at a kink, NaN elsewhere
    side_error : the error of D⁻ and D⁺
    reason : why there is no value, "" where there is one
    """

    value: Array
    error: Array
    left: Array
    right: Array
    side_error: Array
    reason: Array

    @classmethod
    def blank(cls, shape: int | tuple[int, ...]) -> Measured:
        """Nothing measured yet: slope 0, error 0, no kinks."""
        value, error, side_error = np.zeros((3, *np.atleast_1d(shape)))
        left, right = np.full((2, *np.atleast_1d(shape)), np.nan)
        return cls(value, error, left, right, side_error, np.full(shape, "", dtype=object))

    @property
    def kink(self) -> Array:
        """Where there is a kink."""
        return ~np.isnan(self.left)

    def put(self, where: object, part: Measured) -> None:
        """Write `part` to the coordinates `where`."""
        for name in MEASURED:
            getattr(self, name)[where] = getattr(part, name)

    def take(self, where: object) -> Measured:
        """The coordinates `where`."""
        return Measured(*(getattr(self, name)[where] for name in MEASURED))

    def reshape(self, shape: tuple[int, ...]) -> Measured:
        """The same in another shape."""
        return Measured(*(getattr(self, name).reshape(shape) for name in MEASURED))

    def plus(self, other: Measured) -> Measured:
        """The derivative of the sum of two functions."""
        kink = self.kink | other.kink

        def side(own: Array, others: Array) -> Array:
            mine = np.where(self.kink, own, self.value)
            return np.where(kink, mine + np.where(other.kink, others, other.value), np.nan)

        return Measured(
            self.value + other.value,
            self.error + other.error,
            side(self.left, other.left),
            side(self.right, other.right),
            np.where(self.kink, self.side_error, self.error)
            + np.where(other.kink, other.side_error, other.error),
            np.where(self.reason != "", self.reason, other.reason),
        )


# ---------------------------------------------------------------- any function, along a line


class Line(NamedTuple):
    """The derivative of φ at 0; `left` and `right` only at a kink, else NaN."""

    value: float
    error: float
    left: float = np.nan
    right: float = np.nan
    side_error: float = 0.0
    reason: str = ""


def along(phi: Callable[[float], float], phi0: float, steps: list[float], noise: float) -> Line:
    """φ'(0) from values of φ, or D⁻ and D⁺ if φ has a kink there.

    The steps are tried from the largest to the smallest; the first at which φ looks smooth
    decides, if the next one confirms it: a step longer than the waves of φ may find any slope. If
    φ looks kinked at all steps that the noise leaves readable, the kink is real (or nearer than
    the smallest of them), provided that D⁻ and D⁺ have settled.

    Parameters
    ----------
    phi : function
    phi0 : float
        φ(0).
    steps : list of float
        Decreasing.
    noise : float
        The size of the errors in the values of φ.
    """
    seen: list[tuple[float, float, float]] = []  # D⁻, D⁺ and their rounding error
    bad, size = "", 0.0  # size: the largest slope seen, to which a jump of the slope is compared
    for i, h in enumerate(steps):
        values = [phi(h), phi(-h), phi(h / 2), phi(-h / 2)]
        if not np.isfinite(values).all():
            bad = bad or f"the function is not finite within {h:.1g} of this point"
            continue
        up, down, up2, down2 = values
        wide, narrow = (up - down) / (2 * h), (up2 - down2) / h
        value = (4 * narrow - wide) / 3
        right = (4 * (up2 - phi0) - (up - phi0)) / h
        left = ((down - phi0) - 4 * (down2 - phi0)) / h
        rounding = 8 * noise / h
        size = max(size, abs(left), abs(right), abs(up - phi0) / h, abs(down - phi0) / h)
        if rounding > 1e-2 * size:
            if seen:
                break
            # Nothing but noise: a slope of 0, up to the error.
            return Line(value, abs(wide - narrow) + rounding)
        jump = abs(right - left)
        if jump <= 2 * rounding + SMOOTH * size:
            error = abs(wide - narrow) + (rounding + jump) / 2
            finer = steps[i + 1] if i + 1 < len(steps) else h
            if noise / finer > 1e-2 * size:  # it could not tell
                return Line(value, error)
            confirmed = (phi(finer) - phi(-finer)) / (2 * finer)
            if abs(confirmed - value) <= error + 2 * noise / finer + 1e-3 * abs(value):
                return Line(value, error)
            bad = "the slopes do not settle: the function varies faster than the steps resolve"
            continue
        seen.append((left, right, rounding))
    if not seen:
        return Line(np.nan, np.nan, reason=bad or "no step gave a difference")
    if len(seen) < 2:
        return Line(np.nan, np.nan, reason="noise hides whether there is a kink here")
    # Of all neighbouring rungs, the pair that agrees best; sqrt and jumps never settle.
    changes = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) + b[2] for a, b in itertools.pairwise(seen)]
    best = int(np.argmin(changes))
    left, right, _ = seen[best + 1]
    error, scale = changes[best], max(abs(left), abs(right))
    if error > 1e-2 * scale:
        grows = max(abs(seen[-1][0]), abs(seen[-1][1])) > 2 * max(abs(seen[0][0]), abs(seen[0][1]))
        return Line(
            np.nan,
            np.nan,
            reason="the slopes grow without bound as the step shrinks: a jump or a vertical tangent"
            if grows
            else "the one-sided slopes do not settle as the step shrinks",
        )
    return Line(np.nan, np.nan, left, right, error)


def ladder(x: float, relative_noise: float) -> list[float]:
    """Steps for a coordinate at x: about ε^⅓ of its scale, and down from there.

    Where x is much smaller than 1 the last rung is ε^⅓|x|, for functions such as log.
    """
    cube_root = max(relative_noise, EPS) ** (1 / 3)
    steps = [cube_root * max(abs(x), 1.0) * SHRINK**-k for k in range(RUNGS)]
    if 0 < cube_root * abs(x) < steps[-1]:
        steps.append(cube_root * abs(x))
    return steps


def noise_of(f: Callable[[Array], float], x: Array, f0: float, rng: np.random.Generator) -> float:
    """How much the values of f scatter, from third differences at 16 near points.

    In third differences what is smooth has vanished and what scatters by σ scatters by √20 σ
    (Moré and Wild, SIAM J. Sci. Comput. 33, 2011). Their median is not moved by a kink or two,
    and the points lie on one side of x, where the kink would be.
    """
    direction = 1e-6 * rng.choice([-1.0, 1.0], x.shape) * np.where(x == 0, 1.0, np.abs(x))
    scatter = np.inf
    for nearer in (1, 8, 64, 512):
        values = np.array([f(x + k / nearer * direction) for k in range(1, 17)])
        before, scatter = scatter, 0.0
        if np.isfinite(values).all():
            scatter = float(np.median(np.abs(np.diff(values, 3)))) / np.sqrt(20)
        # What is smooth, if quick, falls by 8³ from one to the next; noise does not.
        if scatter > before / 50 or scatter <= EPS * abs(f0):
            break
    return max(2 * min(scatter, before), EPS * abs(f0))


def complex_slope(f: Callable[[Array], complex], x: Array, direction: Array) -> float:
    """The complex-step derivative of f along a direction; NaN where f refuses complex numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = f(x + 1j * COMPLEX_STEP * direction)
        except Exception:  # anything may go wrong in code that was not written for complex numbers
            return np.nan
    return float(np.imag(value)) / COMPLEX_STEP


def unit_vectors(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Each index, with the array that is 1 there and 0 elsewhere (one array, reused)."""
    e = np.zeros(shape)
    for index in np.ndindex(shape):
        e[index] = 1.0
        yield index, e
        e[index] = 0.0


# ---------------------------------------------------------------- a penalty


def penalty_slopes(R: Penalty, w: Array) -> Measured:
    """The derivative of R.value at each weight, and D⁻ and D⁺ where a weight sits on its kink.

    R gives one number for all weights, so n derivatives need n values of it. But a guess can be
    proved with a few: if s is the gradient, the complex-step derivative along any v is s·v, and
    for v with random signs and v_i ≈ 1/|s_i| a single wrong coordinate shows. The guess is
    R.subgradient. If the proof fails, or R drops imaginary parts, each weight is measured.
    """
    out = Measured.blank(w.shape)
    at_kink = np.zeros(w.shape, bool) if R.smooth else w == 0
    guess = np.asarray(R.subgradient(w.copy()), dtype=np.float64)
    if guess.shape == w.shape and _proved(R, w, guess, ~at_kink):
        out.value[...] = guess
        out.error[...] = 1e-9 * np.abs(guess)
        unknown = at_kink
    else:
        unknown = np.ones(w.shape, bool)
    if unknown.any():
        out.put(unknown, one_by_one(R, w, unknown))
    return out


def _proved(R: Penalty, w: Array, guess: Array, where: Array) -> bool:
    rng = np.random.default_rng(0)
    if not np.isfinite(guess).all():
        return False
    size = np.abs(guess)
    typical = size.max() or 1.0
    for _ in range(2):
        v = where * rng.choice([-1.0, 1.0], w.shape) * rng.uniform(1, 2, w.shape)
        nudge = v / np.where(size > 1e-30 * typical, size, typical)
        slope = complex_slope(R.value, w, nudge)
        if not abs(slope - np.vdot(guess, nudge)) <= 64 * EPS * np.vdot(size, np.abs(nudge)):
            return False
        # The real judge: weights are stretched by 1 ± h, so that none of them crosses 0.
        h = 1e-4
        stretch = v * np.where(w == 0, 1.0, w)
        up, down = R.value(w + h * stretch), R.value(w - h * stretch)
        error = 1e-6 * np.vdot(size, np.abs(stretch)) + 64 * EPS * abs(up) / h
        if not abs((up - down) / (2 * h) - np.vdot(guess, stretch)) <= error + h * h:
            return False
    return True


def one_by_one(R: Penalty, w: Array, where: Array) -> Measured:
    """Each of the weights `where`, measured alone."""
    flat = w.ravel()
    values, inverse = np.unique(w[where], return_inverse=True)
    try:
        parts = R.value(flat[::2]) + (R.value(flat[1::2]) if flat.size > 1 else 0.0)
        separable = abs(R.value(w) - parts) <= 1e-10 * abs(parts) and w.ndim == 1
    except (TypeError, ValueError, IndexError):
        separable = False
    lines: list[Line]
    if separable:  # R is a sum over weights: one number alone says it, and equal weights agree
        lines = [_one_weight(R.value, np.array([u]), np.ones(1), alone=True) for u in values]
        lines = [lines[i] for i in inverse]
    else:
        units = unit_vectors(w.shape)
        lines = [_one_weight(R.value, w, e) for index, e in units if where[index]]
    return from_lines(lines)


def _one_weight(
    value: Callable[[Array], float], w: Array, e: Array, *, alone: bool = False
) -> Line:
    base, at = float(value(w)), abs(float(np.vdot(e, w)))
    noise = EPS * max(abs(base), float(np.finfo(float).tiny))
    steps = ladder(at, EPS)
    if alone:  # nothing drowns R(w) ≈ 0, so the steps may be in proportion to w, never crossing 0
        steps = [1e-5 * (at or 1.0) * SHRINK**-k for k in range(4)]
    line = along(lambda t: float(value(w + t * e)), base, steps, noise)
    branch = complex_slope(value, w, e)
    if np.isnan(line.left) or not np.isfinite(branch):
        return line
    return line._replace(value=branch, error=line.side_error)


def from_lines(lines: list[Line]) -> Measured:
    """The same as arrays."""
    numbers = np.array([line[:5] for line in lines], dtype=np.float64).reshape(-1, 5).T
    value, error, left, right, side_error = numbers
    reason = np.array([line.reason for line in lines], dtype=object)
    return Measured(value, error, left, right, side_error, reason)


# ---------------------------------------------------------------- a network's data loss


class Perturbations:
    """The change of the data loss when one parameter moves, for many parameters at once.

    If W_ij of layer l moves by δ, then of all pre-activations of that layer only column j
    changes, by δ x_i (for the bias: by δ). So the networks need not be run from their inputs:

        z_l[:, j]  +=  δ x[:, i]
        z_{l+1}    +=  (f(z_l[:, j] + δ x[:, i]) − f(z_l[:, j])) ⊗ W_{l+1}[j, :]

    and only from there on there is a forward pass, run for a whole chunk of parameters as if each
    was N more samples. Parameters of a layer are numbered k = i·n_out + j, with the bias as the
    row i = n_in, whose input is 1.
    """

    def __init__(
        self,
        net: MLP,
        loss: Loss,
        data: Data,
        params: Array,
        masks: list[Array] | None = None,
    ) -> None:
        self.weights, self.biases = net.unpack(params)
        self.activation, self.loss, self.data, self.masks = net.activation, loss, data, masks
        self.forward = ACTIVATIONS[net.activation].forward
        self.kinked = net.activation in KINKED
        self.trace = forward_pass(data.X, self.weights, self.biases, net.activation, masks)
        self.inputs = [
            a if masks is None or layer == 0 else dropout_forward(a, masks[layer - 1])
            for layer, a in enumerate(self.trace.activations[:-1])
        ]
        ones = np.ones((1, len(data.X)))
        #: (n_in + 1, N): the input of each row of parameters, contiguous by row.
        self.rows = [np.concatenate([x.T, ones]) for x in self.inputs]
        self.base = loss.per_sample(self.trace.outputs, data.targets)
        self.weight = np.broadcast_to(np.asarray(data.weight, dtype=np.float64), self.base.shape)

    def size(self, layer: int) -> int:
        """The number of parameters of a layer, weights and biases."""
        n_in, n_out = self.weights[layer].shape
        return (n_in + 1) * n_out

    def chunk(self, layer: int) -> int:
        """How many parameters of a layer fit into a chunk."""
        tail = [len(b) for b in self.biases[layer + 1 :]] or [len(self.biases[-1])]
        return max(1, AT_ONCE // (len(self.data.X) * max(tail)))

    def change(self, layer: int, k: Array, delta: Array) -> tuple[Array, Array, Array]:
        """L(θ + δ e_k) − L(θ) for each k with its δ, and what the pre-activations did.

        Parameters
        ----------
        layer : int
            Counted from 0.
        k : (P,) array of int
            Parameters of the layer.
        delta : (P,) array
            Real or complex; the result is of the same kind.

        Returns
        -------
        change : (P,) array
        crossed : (P,) array of bool
            Some pre-activation that was not 0 has another sign: a kink inside the step.
        left_zero : (P,) array of bool
            Some pre-activation that was 0 is no longer: a kink at the point itself.
        """
        change = np.empty(len(k), delta.dtype)
        crossed, left_zero = np.zeros((2, len(k)), bool)
        step = self.chunk(layer)
        for start in range(0, len(k), step):
            part = slice(start, start + step)
            losses = self._losses(layer, k[part], delta[part], crossed[part], left_zero[part])
            change[part] = (losses - self.base) @ self.weight
        return change, crossed, left_zero

    def _losses(
        self, layer: int, k: Array, delta: Array, crossed: Array, left_zero: Array
    ) -> Array:
        """(P, N) losses of each sample; `crossed` and `left_zero` are filled in."""
        n_samples, last = len(self.data.X), len(self.weights) - 1
        i, j = np.divmod(k, self.weights[layer].shape[1])
        base = self.trace.pre_activations[layer].T[j]
        z = base + delta[:, np.newaxis] * self.rows[layer][i]
        # From here on arrays are (units, P, N), so that sums over units run along memory.
        if layer == last:
            outputs = np.empty((self.trace.outputs.shape[1], *z.shape), z.dtype)
            outputs[...] = self.trace.outputs.T[:, np.newaxis]
            outputs[j, np.arange(len(k))] = z
        else:
            self._look(z[np.newaxis], base[np.newaxis], crossed, left_zero)
            rise = self.forward(z) - self.trace.activations[layer + 1].T[j]
            if self.masks is not None:
                rise = dropout_forward(rise, self.masks[layer].T[j])
            outputs = rise * self.weights[layer + 1][j].T[:, :, np.newaxis]
            base = self.trace.pre_activations[layer + 1].T[:, np.newaxis]
            outputs += base
            for deeper in range(layer + 1, last):
                self._look(outputs, base, crossed, left_zero)
                a = self.forward(outputs)
                if self.masks is not None:
                    a = dropout_forward(a, self.masks[deeper].T[:, np.newaxis])
                outputs = self.weights[deeper + 1].T @ a.reshape(len(a), -1)
                outputs += self.biases[deeper + 1][:, np.newaxis]
                outputs = outputs.reshape(-1, *z.shape)
                base = self.trace.pre_activations[deeper + 1].T[:, np.newaxis]
        targets = self.data.targets
        tiled = np.tile(targets, (len(k),) + (1,) * (targets.ndim - 1))
        losses = self.loss.per_sample(outputs.reshape(len(outputs), -1).T, tiled)
        return losses.reshape(len(k), n_samples)

    def _look(self, z: Array, base: Array, crossed: Array, left_zero: Array) -> None:
        if not self.kinked or np.iscomplexobj(z):
            return
        other = np.sign(z) != np.sign(base)
        if other.any():
            crossed |= np.any(other & (base != 0), axis=(0, 2))
            left_zero |= np.any(other & (base == 0), axis=(0, 2))

    # How exact can any of this be? A running error analysis (Higham, Accuracy and Stability of
    # Numerical Algorithms, section 3.3): the rounding of each operation, carried on by the
    # absolute values of what it meets.

    def rounding(self) -> tuple[list[Array], float]:
        """Bounds of the rounding errors, from forward quantities only.

        Returns
        -------
        gradient : list of (n_in + 1, n_out) arrays
            Of each gradient, its computation by a backward pass and by the complex step.
        value : float
            Of the data loss.
        """
        z_last, weight = self.trace.outputs, self.weight[:, np.newaxis]
        lipschitz = 1.13  # max |f'| over all activations is gelu's 1.129
        curvature = 0.0 if self.activation in (*KINKED, "identity") else 1.0  # |f''| < 1 for all

        # Forward: by how much each pre-activation and each layer input may be off.
        z_errors: list[Array] = []
        x_errors = [np.zeros_like(self.data.X)]
        for layer, (x, W, b) in enumerate(zip(self.inputs, self.weights, self.biases, strict=True)):
            unit = (len(W) + 2) * EPS
            z_errors.append(
                x_errors[layer] @ np.abs(W) + unit * (np.abs(x) @ np.abs(W) + np.abs(b))
            )
            if layer < len(self.weights) - 1:
                a = np.abs(self.trace.activations[layer + 1])
                error = lipschitz * z_errors[layer] + 4 * EPS * a
                if self.masks is not None:
                    error = error * self.masks[layer]
                x_errors.append(error)

        slope = np.abs(self._loss_slopes())
        off = z_errors[-1].sum(axis=1, keepdims=True)
        value_error = float(
            self.weight @ (4 * EPS * np.abs(self.base) + ((1 + slope) * z_errors[-1]).sum(axis=1))
        )

        # Backward: M bounds |∂L/∂z|, E its error.
        M = weight * slope
        E = weight * (4 * EPS * (1 + slope + np.abs(z_last)) + off)
        gradient: list[Array] = []
        for layer in range(len(self.weights) - 1, -1, -1):
            unit = (len(self.data.X) + 2) * EPS
            rows = np.abs(self.rows[layer])
            error = rows @ (E + unit * M)
            error[:-1] += x_errors[layer].T @ M
            gradient.insert(0, error)
            if layer > 0:
                W = np.abs(self.weights[layer])
                unit = (W.shape[1] + 2) * EPS
                E = (E + unit * M) @ W.T
                M = M @ W.T
                if self.masks is not None:
                    E, M = E * self.masks[layer - 1], M * self.masks[layer - 1]
                E = lipschitz * E + M * (4 * EPS + curvature * z_errors[layer - 1])
                M = lipschitz * M
        return gradient, value_error

    def _loss_slopes(self) -> Array:
        """∂ℓ_n/∂z_nk, from values of the loss with one column of the outputs moved."""
        z, targets = self.trace.outputs, self.data.targets
        slope = np.empty(z.shape)
        for k in range(z.shape[1]):
            e = np.zeros(z.shape[1])
            e[k] = 1.0
            try:
                moved = self.loss.per_sample(z + 1j * COMPLEX_STEP * e, targets)
                slope[:, k] = np.imag(moved) / COMPLEX_STEP
            except Exception:  # a loss that was not written for complex numbers
                h = 1e-5
                slope[:, k] = (self.loss.per_sample(z + h * e, targets) - self.base) / h
        return slope

    def _complex_slopes(self, layer: int) -> Array:
        """∂L of every parameter of a layer; NaN where the forward code takes no complex numbers."""
        everything = np.arange(self.size(layer))
        nudge = np.full(everything.shape, 1j * COMPLEX_STEP)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self.change(layer, everything, nudge)[0].imag / COMPLEX_STEP
            except Exception:  # anything may go wrong in code that was not written for them
                return np.full(everything.shape, np.nan)

    def measure(self) -> tuple[list[Measured], Array]:
        """Both judges, on all parameters: a `Measured` of (n_in + 1, n_out) for each layer.

        Also returned: for each layer, how many derivatives the complex step got wrong.
        """
        results, wrong = [], []
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            bounds, noise = self.rounding()
            for layer, bound in enumerate(bounds):
                result, refuted = self._measure_layer(layer, 8 * bound.ravel(), noise)
                wrong.append(refuted)
                results.append(result.reshape(bound.shape))
        return results, np.array(wrong)

    def steps(self, layer: int) -> Array:
        """h for each parameter: what moves the pre-activation by about ε^⅓ of its size."""
        size = np.abs(self.trace.pre_activations[layer]).max(axis=0)
        reach = np.abs(self.rows[layer]).max(axis=1)
        reach[reach == 0] = 1.0
        shift = (EPS * (1 + size)) ** (1 / 3)
        return (shift / reach[:, np.newaxis]).ravel()

    def _measure_layer(self, layer: int, bound: Array, noise: float) -> tuple[Measured, int]:
        everything = np.arange(self.size(layer))
        result = Measured.blank(everything.shape)
        exact = self._complex_slopes(layer)
        result.value[...] = exact
        result.error[...] = bound

        # First a plain central difference of everything. Where it confirms the complex step and
        # no pre-activation changed its sign, nothing remains to be said.
        h = self.steps(layer)
        up, up_crossed, up_zero = self.change(layer, everything, h)
        down, down_crossed, down_zero = self.change(layer, everything, -h)
        central = (up - down) / (2 * h)
        agree = np.abs(central - exact) <= AGREE * np.abs(exact) + bound + 2 * noise / h
        at_kink = up_zero | down_zero
        left = everything[~agree | up_crossed | down_crossed | at_kink]

        refuted = 0
        for rung in range(RUNGS):
            if not left.size:
                break
            left, wrong = self._rung(
                layer, left, h[left] / SHRINK**rung, at_kink[left], result, exact, noise,
                last=rung == RUNGS - 1,
            )  # fmt: skip
            refuted += wrong
        return result, refuted

    def _rung(
        self,
        layer: int,
        k: Array,
        h: Array,
        at_kink: Array,
        result: Measured,
        exact: Array,
        noise: float,
        *,
        last: bool,
    ) -> tuple[Array, int]:
        """Settle those of the parameters k that this step can; return the others."""
        (up, up_crossed, _), (down, down_crossed, _) = (
            self.change(layer, k, side * h) for side in (1, -1)
        )
        up2, down2 = (self.change(layer, k, side * h / 2)[0] for side in (1, -1))
        right, left = (4 * up2 - up) / h, (down - 4 * down2) / h
        right_simple, left_simple = 2 * up2 / h, -2 * down2 / h
        rounding = 10 * noise / h
        branch, bound = exact[k], result.error[k]

        # One free side is enough where the point itself is on no kink: both sides agree there.
        value = np.select(
            [~up_crossed & ~down_crossed, ~up_crossed, ~down_crossed],
            [(right + left) / 2, right, left],
            np.nan,
        )
        plain = np.select(
            [~up_crossed & ~down_crossed, ~up_crossed, ~down_crossed],
            [(right_simple + left_simple) / 2, right_simple, left_simple],
            np.nan,
        )
        error = np.abs(value - plain) + rounding
        # A kink that is not the network's, in the loss perhaps: no step closes the gap.
        scale = np.maximum(np.abs(left), np.abs(right))
        gap = ~up_crossed & ~down_crossed & (np.abs(right - left) > 1e-3 * scale + 4 * rounding)
        kinked = at_kink | (up_crossed & down_crossed) | gap
        off = np.abs(value - branch)
        close = off <= AGREE * np.abs(branch) + bound + rounding
        confirmed = ~kinked & close
        # The complex step is refuted only by a difference that is itself sure.
        sure = error <= 1e-3 * np.abs(value)
        refuted = ~kinked & ~close & sure & (off > 10 * error)
        # Without a complex step, the first step that is sure decides; a slope of 0 is never
        # sure in proportion to itself.
        alone = np.isnan(branch) & ~kinked & np.isfinite(value)
        refuted |= alone & (sure | (error <= 4 * rounding + AGREE * np.nanmax(scale, initial=0.0)))
        result.value[k[refuted]] = value[refuted]
        result.error[k[refuted]] = error[refuted]

        # At a kink both one-sided differences are needed, each free of a further crossing; until
        # there is such a step, the pair with the smallest error is kept.
        side_error = np.maximum(np.abs(right - right_simple), np.abs(left - left_simple)) + rounding
        better = np.isnan(result.left[k]) | (side_error < result.side_error[k])
        finite = np.isfinite(left + right)
        keep = kinked & finite & better
        result.left[k[keep]], result.right[k[keep]] = left[keep], right[keep]
        result.side_error[k[keep]] = side_error[keep]
        settled = confirmed | refuted | (at_kink & finite & ~up_crossed & ~down_crossed)
        if last:
            lost = ~settled & np.isnan(result.left[k])
            result.reason[k[lost]] = np.where(
                np.isfinite(up + down)[lost],
                "the two judges disagree, and no step settles it",
                "the loss is not finite near this point",
            )
            settled[...] = True

        # A pre-activation at 0 that nothing downstream listens to is no kink of the loss.
        tolerance = AGREE * np.abs(branch) + bound + result.side_error[k]
        flat = (np.abs(result.right[k] - branch) <= tolerance) & (
            np.abs(result.left[k] - branch) <= tolerance
        )
        none = k[settled & (flat | confirmed | refuted)]
        result.left[none] = result.right[none] = np.nan
        return k[~settled], int(refuted.sum())
