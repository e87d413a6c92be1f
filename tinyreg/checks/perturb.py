"""The derivatives of a network's data loss, from forward code: each pre-activation moved by itself.

A pre-activation z_nj of a layer concerns no sample but n, and z = xW + b. So with the slopes
d_nj = ∂ℓ_n/∂z_nj of each sample's loss, weighted by w_n,

    ∂L/∂W_ij = Σ_n w_n x_ni d_nj,    ∂L/∂b_j = Σ_n w_n d_nj,

and where ℓ_n has a kink, with one slope as z_nj rises and one as it falls, W_ij moves it up or down
by the sign of x_ni. So all of a layer takes n_out perturbations, not n_in times as many.

Two judges measure every slope. Complex steps go through each activation and the loss by itself, and
the affine maps join what these say (`Chain`). Real differences move z_nj and run all of the network
above it (`Perturbations`). No kink has to be guessed: ReLU and leaky ReLU are the only activations
with one, and as one pre-activation moves by t, every later one is linear in t until the first of
them changes its sign. So the same signs at both ends of a step prove that no kink lies between.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tinyreg.checks.differences import Measured, quiet
from tinyreg.checks.steps import EPS, SHRINK
from tinyreg.core.layers import ACTIVATIONS, dropout_forward
from tinyreg.core.losses import Loss
from tinyreg.core.network import MLP, PerLayer, forward_pass
from tinyreg.core.objective import COMPLEX_STEP, Samples
from tinyreg.validate import Array

KINKED = ("relu", "leaky_relu")
RUNGS = 7
AT_ONCE = 2**17  # bytes in an array of a chunk of perturbed samples: a few fit into the cache
COPIES = 8  # with random rounding errors
AGREE = 1e-5  # how closely an unextrapolated central difference has to confirm the complex step


class Perturbations:
    """The losses of samples of which one pre-activation has moved, for many of them at once.

    Layers are counted from 0.
    """

    def __init__(
        self, net: MLP, loss: Loss, samples: Samples, params: Array, masks: PerLayer | None = None
    ) -> None:
        self.weights, self.biases = net.unpack(params)
        self.loss, self.masks = loss, masks
        self.targets, self.weight = samples.targets, samples.weight
        self.forward = ACTIVATIONS[net.activation].forward
        self.kinked = net.activation in KINKED
        self.trace = forward_pass(samples.X, self.weights, self.biases, net.activation, masks)
        self.n_samples, self.n_layers = len(samples.targets), len(self.weights)
        self.inputs = [self.trace.input(layer) for layer in range(self.n_layers)]
        self.base = loss.per_sample(self.trace.outputs, self.targets)

    def made_of_layers(self) -> bool:
        """Does z = xW + b of each layer give the losses again, by the layers above it?"""
        rows, flips = np.arange(self.n_samples), np.zeros((2, self.n_samples), bool)
        slack = 1e-9 * np.abs(self.base).max()
        layers = enumerate(zip(self.inputs, self.weights, self.biases, strict=True))
        again = [self._losses(layer, rows, x @ W + b, flips) for layer, (x, W, b) in layers]
        return np.allclose(again, self.base, rtol=1e-9, atol=slack, equal_nan=True)

    def change(self, layer: int, n: Array, j: Array, delta: Array) -> tuple[Array, Array, Array]:
        """ℓ_n(z_nj + δ) − ℓ_n for each n, j and δ (P,), and what later pre-activations did.

        Returned are three (P,) arrays: the change, complex if δ is; `crossed`, where some
        pre-activation that was not 0 has another sign, so that a kink lies inside the step; and
        `left_zero`, where one that was 0 no longer is, so that the point itself is on a kink.
        """
        change = np.empty(len(n), delta.dtype)
        flips = np.zeros((2, len(n)), bool)
        widest = max(len(b) for b in self.biases[layer:])
        chunk = max(1, AT_ONCE // (delta.itemsize * widest))
        for start in range(0, len(n), chunk):
            part = slice(start, start + chunk)
            rows, units = n[part], j[part]
            z = self.trace.pre_activations[layer][rows].astype(delta.dtype)
            z[np.arange(len(rows)), units] += delta[part]
            change[part] = self._losses(layer, rows, z, flips[:, part]) - self.base[rows]
        return change, *flips

    def _losses(self, layer: int, rows: Array, z: Array, flips: Array) -> Array:
        """Of the samples `rows` with the pre-activations z (P, units); `flips` is filled in."""
        for deeper in range(layer, self.n_layers - 1):
            if self.kinked:
                before = self.trace.pre_activations[deeper][rows]
                other = np.sign(z.real) != np.sign(before)
                flips[0] |= np.any(other & (before != 0), axis=1)
                flips[1] |= np.any(other & (before == 0), axis=1)
            a = self.forward(z)
            if self.masks is not None:
                a = dropout_forward(a, self.masks[deeper][rows])
            z = a @ self.weights[deeper + 1] + self.biases[deeper + 1]
        return self.loss.per_sample(z, self.targets[rows])


class Chain:
    """d by complex steps of the loss and of the activation: d_l = f'(z_l) ⊙ (d_{l+1} Wᵀ).

    Error: all is computed in a few copies at once (the first axis), where in all but the first each
    operation is off by a random error as large as its rounding may be; how far they scatter is the
    error (Monte Carlo arithmetic: Parker 1997). A bound would multiply |W| layer by layer, and be
    larger than any gradient after ten.

    Scale: the same from random slopes at the outputs, of the size that they have over steps as
    large as z, and so for f': a saturated tanh or σ has a slope of 0 ± ε where slopes of 1 lie
    around. The terms of sums that cancel are of it as well.
    """

    def __init__(self, network: Perturbations) -> None:
        self.network, self.rng = network, np.random.default_rng(0)
        self.bias = self.rng.standard_normal(COPIES)
        self.masks = network.masks or [np.ones(1)] * network.n_layers
        X, kinked = network.inputs[0], network.kinked
        self.x, self.z, self.slopes = [np.broadcast_to(X, (1 + COPIES, *X.shape))], [], []
        for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
            x, z = self.x[layer], network.trace.pre_activations[layer]
            off = self._errors(np.abs(x[0]) @ np.abs(W) + np.abs(b), len(W))
            self.z.append(z := z + (x - x[0]) @ W + off)
            if layer < network.n_layers - 1:
                # Up to its kink ReLU is linear: all copies stay on the branch of the first.
                slope = np.imag(network.forward(z[: 1 if kinked else None] + 1j * COMPLEX_STEP))
                slope = slope / COMPLEX_STEP
                a = slope * z if kinked else network.forward(z)
                # A smooth f' of 1 at most may be computed as 1 − a².
                slope = slope + self._errors(slope[0] if kinked else np.ones(a[0].shape))
                self.x.append((a + self._errors(a[0])) * self.masks[layer])
                self.slopes.append(slope * self.masks[layer])

    def _errors(self, size: Array, n: int = 16) -> Array:
        """Random rounding errors of sums of n terms, together so large; none in the first copy.

        A function errs as a sum of 16 does. Each copy has a bias: an operation may err to the same
        side in every layer.
        """
        errors = np.zeros((1 + COPIES, *size.shape))
        errors[1:] = self.rng.standard_normal((COPIES, *size.shape))
        errors[1:] += self.bias.reshape(-1, *size.ndim * [1])
        return errors * (np.sqrt(n) * EPS * size)

    def _of_loss(self, z: Array) -> Array:
        """∂ℓ_n/∂z_nk in each copy; NaN where the loss takes no complex numbers."""
        d = np.full(z.shape, np.nan)
        with quiet():
            for k, step in enumerate(1j * COMPLEX_STEP * np.eye(z.shape[2])):
                try:
                    d[:, :, k] = np.imag(self._losses(z + step)) / COMPLEX_STEP
                except Exception:  # anything may go wrong in code that was not written for them
                    break
        return d

    def _losses(self, z: Array) -> Array:
        """ℓ_n in each copy."""
        rows = np.tile(np.arange(z.shape[1]), len(z))
        flat = z.reshape(len(rows), -1)
        return self.network.loss.per_sample(flat, self.network.targets[rows]).reshape(z.shape[:2])

    def at_outputs(self) -> tuple[Array, Array]:
        """d of the last layer in each copy, and random ones of its natural scale."""
        z = self.z[-1]
        d = self._of_loss(z)
        T = 4 * (1 + np.abs(z[0]).max(axis=1, keepdims=True))
        scale = np.abs(np.nan_to_num(d[0]))
        for k, step in enumerate(np.eye(z.shape[2])):
            change = self._losses(z[0] + T * np.array([step, -step])[:, np.newaxis])
            far = np.nan_to_num(np.abs(change - self.network.base) / T[:, 0], posinf=0.0)
            scale[:, k] = np.maximum(scale[:, k], far.max(axis=0))
        if (np.abs(d - d[0]) > AGREE * scale).any():
            # At a kink of the loss, one of the sides is on the branch of the first copy.
            other = self._of_loss(2 * z[0] - z)
            d = np.where(np.abs(d - d[0]) < np.abs(other - d[0]), d, other)
        return d + self._errors(scale), self._errors(scale)[1:] / (4 * EPS)

    def down(self, layer: int, d: Array, scale: Array) -> tuple[Array, Array]:
        """The same of this layer, from those of the layer above."""
        W, z, f = self.network.weights[layer + 1], self.z[layer][0], self.network.forward
        T = 2 * (1 + np.abs(z))
        far = np.maximum(np.abs(f(z + T) - f(z)), np.abs(f(z) - f(z - T))) / T * self.masks[layer]
        off = self._errors(np.abs(d[0]) @ np.abs(W).T, W.shape[1])
        return self.slopes[layer] * (d @ W.T + off), far * (scale @ W.T + off[1:] / EPS)

    def noise(self, scale: Array) -> Array:
        """The error of ℓ_n, (N,), a sum of terms as large as its slopes allow."""
        z = self.z[-1]
        size = np.abs(self.network.base) + np.sum(size_of(scale) * np.abs(z[0]), axis=1)
        return scatter(self._losses(z)) + 4 * EPS * size


def scatter(copies: Iterable[Array]) -> Array:
    """An error from copies, of which the first is the exact one: 12 times their mean distance."""
    first, *others = copies
    return 12 * size_of(each - first for each in others)


def size_of(copies: Iterable[Array]) -> Array:
    """The mean absolute value, element by element: squares would underflow in vanishing slopes."""
    return np.mean([np.abs(each) for each in copies], axis=0)


class _Differences(NamedTuple):
    """What real differences say of P slopes; the first three are (2, P), left and right."""

    sides: Array  # d⁻ and d⁺, from steps of h and h/2
    half: Array  # the same from h/2 alone
    free: Array  # does no pre-activation cross 0?
    at_kink: Array  # is one at 0, and leaves it?
    rounding: Array


class _Layer:
    """The slopes of a layer, each settled by smaller and smaller steps: `result`.

    `result.value` begins as the complex step, and stays so where real differences confirm it.
    """

    def __init__(self, network: Perturbations, layer: int, slopes: Measured, noise: Array) -> None:
        self.network, self.layer = network, layer
        self.n, self.j = (index.ravel() for index in np.indices(slopes.value.shape))
        self.noise = noise[self.n]  # of ℓ_n
        self.result = slopes.each(np.ravel)
        self.refuted: Array = np.zeros(self.n.shape, bool)
        z = network.trace.pre_activations[layer]
        h = np.cbrt(EPS * (1 + np.abs(z).max(axis=0)))[self.j]
        # A plain central difference confirms it, unless a pre-activation crosses 0.
        k, r = np.arange(len(h)), self.result
        (up, *flips), (down, *others) = self._change(k, h), self._change(k, -h)
        off = np.abs((up - down) / (2 * h) - r.value)
        agree = off <= AGREE * np.abs(r.value) + r.error + 2 * self.noise / h
        k = k[~agree | np.any(flips + others, axis=0)]
        for rung in range(RUNGS):
            if not k.size:
                break
            k = self._rung(k, h[k] / SHRINK**rung, last=rung == RUNGS - 1)
        self.result = r.each(lambda array: array.reshape(slopes.value.shape))
        self.refuted = self.refuted.reshape(slopes.value.shape)

    def _change(self, k: Array, delta: Array) -> tuple[Array, Array, Array]:
        return self.network.change(self.layer, self.n[k], self.j[k], delta)

    def _rung(self, k: Array, h: Array, *, last: bool) -> Array:
        """Settle those of the slopes k that the step h can; return the others."""
        r, d = self.result, self._differences(k, h)
        close = AGREE * np.abs(r.value[k]) + r.error[k]
        # A kink that is not the network's, in the loss perhaps: no step closes the gap.
        size = np.abs(d.sides).max(axis=0)
        gap = np.abs(d.sides[1] - d.sides[0]) > 1e-3 * size + 4 * d.rounding
        both, finite = d.free.all(axis=0), np.isfinite(d.sides[0] + d.sides[1])
        kinked = d.at_kink | ~d.free.any(axis=0) | (both & gap)

        decided = self._decide(k, ~kinked, close, d)
        # At a kink, the d⁻ and d⁺ with the smallest error stay, until a step crosses no other.
        error = np.abs(d.sides - d.half).max(axis=0) + d.rounding
        keep = kinked & finite & (np.isnan(r.left[k]) | (error < r.side_error[k]))
        r.left[k[keep]], r.right[k[keep]] = d.sides[:, keep]
        r.side_error[k[keep]] = error[keep]
        settled = decided | (d.at_kink & finite & both)
        if last:
            lost = ~settled & np.isnan(r.left[k])
            r.reason[k[lost]] = np.where(
                finite[lost],
                "the two judges disagree, and no step settles it",
                "the loss is not finite near this point",
            )
            settled[...] = True
        # A pre-activation at 0 that changes no output is no kink of the loss.
        off = np.abs([r.left[k] - r.value[k], r.right[k] - r.value[k]])
        flat = (off <= close + r.side_error[k]).all(axis=0)
        none = k[settled & (flat | decided)]
        r.left[none] = r.right[none] = np.nan
        return k[~settled]

    def _differences(self, k: Array, h: Array) -> _Differences:
        sides, half, free, at_kink = [], [], [], np.zeros(len(k), bool)
        for step in (-h, h):
            far, crossed, left_zero = self._change(k, step)
            near, _, _ = self._change(k, step / 2)
            sides.append((4 * near - far) / step)
            half.append(2 * near / step)
            free.append(~crossed)
            at_kink |= left_zero
        rounding = 10 * self.noise[k] / h
        return _Differences(np.array(sides), np.array(half), np.array(free), at_kink, rounding)

    def _decide(self, k: Array, smooth: Array, close: Array, d: _Differences) -> Array:
        """Where the complex step is confirmed, or refuted and replaced."""
        exact = self.result.value[k]
        # One free side is enough where the point itself is on no kink: both have the same slope.
        value, simple = (
            np.where(d.free, slopes, 0.0).sum(axis=0) / d.free.sum(axis=0)
            for slopes in (d.sides, d.half)
        )
        error, off = np.abs(value - simple) + d.rounding, np.abs(value - exact)
        confirmed = smooth & (off <= close + d.rounding)
        # It is refuted only by a difference that is itself sure. Where there is none, the first
        # sure one decides; and a slope of 0 is never sure in proportion to itself.
        sure = error <= 1e-3 * np.abs(value)
        largest = np.nanmax(np.abs(d.sides).max(axis=0), initial=0.0)
        sure |= np.isnan(exact) & (error <= 4 * d.rounding + AGREE * largest)
        refuted = smooth & ~confirmed & sure & ~(off <= 10 * error)
        self.result.value[k[refuted]] = value[refuted]
        self.result.error[k[refuted]] = error[refuted]
        self.refuted[k] |= refuted
        return confirmed | refuted


def measure_network(network: Perturbations) -> tuple[Measured, int]:
    """The derivatives of L in the order of the parameters: all weights, then all biases.

    Also returned: how many of them the complex step got wrong.
    """
    weights: list[Measured] = []
    biases: list[Measured] = []
    refuted = 0
    ones = np.ones((1 + COPIES, network.n_samples, 1))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        chain = Chain(network)
        d, scale = chain.at_outputs()
        noise = chain.noise(scale)
        for layer in reversed(range(network.n_layers)):
            if layer < network.n_layers - 1:
                d, scale = chain.down(layer, d, scale)
            natural = np.maximum(size_of(scale), np.abs(np.nan_to_num(d[0])))
            own = _Layer(network, layer, Measured.smooth(d[0], scatter(d), natural), noise)
            wrong, x = own.refuted, chain.x[layer]
            d[:, wrong] = own.result.value[wrong]
            weights.insert(0, _of_rows(x, d, own.result, network.weight))
            biases.insert(0, _of_rows(ones, d, own.result, network.weight))
            refuted += sum(int(np.sum(_any(each, wrong))) for each in (x[0], ones[0]))
    arrays = zip(*(part.each(np.ravel) for part in weights + biases), strict=True)
    return Measured(*(np.concatenate(parts) for parts in arrays)), refuted


def _any(x: Array, where: Array) -> Array:
    """(n_in, n_out): does some sample with x_ni ≠ 0 have it at n, j?"""
    return (x != 0).T.astype(float) @ where > 0


def _of_rows(copies: Array, d: Array, slopes: Measured, weight: Array) -> Measured:
    """The derivatives by W (n_in, n_out) from those by z = xW (N, n_out), and copies of x and d."""
    w, x = weight[:, np.newaxis], copies[0]
    up, down = np.maximum(x, 0.0).T, np.maximum(-x, 0.0).T
    left, right, side_error = slopes.one_sided()
    size = w * np.abs(slopes.value)
    x_size = np.abs(x) + scatter(copies) / (12 * EPS)  # x itself may be a sum that cancels
    off = scatter(each.T @ (w * own) for each, own in zip(copies, d, strict=True))
    out = Measured.smooth(
        x.T @ (w * slopes.value),
        off + 8 * EPS * np.abs(x).T @ size,
        np.abs(x).T @ (w * slopes.scale) + x_size.T @ size,
    )
    kink = _any(x, slopes.kink & (w > 0))
    out.left[...] = np.where(kink, up @ (w * left) - down @ (w * right), np.nan)
    out.right[...] = np.where(kink, up @ (w * right) - down @ (w * left), np.nan)
    out.side_error[...] = np.abs(x).T @ (w * side_error)
    for reason in np.unique(slopes.reason[slopes.reason != ""].astype(str)):
        out.reason[_any(x, (slopes.reason == reason) & (w > 0))] = reason
    return out
