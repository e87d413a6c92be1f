"""The derivatives of a network's data loss, from forward code: each pre-activation moved by itself.

A pre-activation z_nj of a layer concerns no sample but n, and z = xW + b. So with the slopes
d_nj = ∂ℓ_n/∂z_nj of each sample's loss, weighted by w_n,

    ∂L/∂W_ij = Σ_n w_n x_ni d_nj,    ∂L/∂b_j = Σ_n w_n d_nj,

and where ℓ_n has a kink, with one slope as z_nj rises and one as it falls, W_ij moves it up or down
by the sign of x_ni. So all of a layer takes n_out perturbations, not n_in times as many.

Two judges measure every slope, the complex step and real differences (see `differences`). No kink
has to be guessed: ReLU and leaky ReLU are the only activations with one, and as one pre-activation
moves by t, every later one is linear in t until the first of them changes its sign. So the same
signs at both ends of a step are a proof that no kink lies between them.

In reading order: the change of the losses (`Perturbations`), how exact it can be (`Rounding`),
which judge is believed (`_Layer`), and the parameters (`measure_network`).
"""

from __future__ import annotations

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
AGREE = 1e-5  # how closely an unextrapolated central difference has to confirm the complex step


class Perturbations:
    """The losses of samples of which one pre-activation has moved, for many of them at once.

    Layers are counted from 0.
    """

    def __init__(
        self, net: MLP, loss: Loss, samples: Samples, params: Array, masks: PerLayer | None = None
    ) -> None:
        self.weights, self.biases = net.unpack(params)
        self.activation, self.loss, self.masks = net.activation, loss, masks
        self.targets, self.weight = samples.targets, samples.weight
        self.forward = ACTIVATIONS[net.activation].forward
        self.kinked = net.activation in KINKED
        self.trace = forward_pass(samples.X, self.weights, self.biases, net.activation, masks)
        self.n_samples, self.n_layers = len(samples.targets), len(self.weights)
        self.inputs = [self.trace.input(layer) for layer in range(self.n_layers)]
        self.base = loss.per_sample(self.trace.outputs, self.targets)

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
            if self.kinked and not np.iscomplexobj(z):
                before = self.trace.pre_activations[deeper][rows]
                other = np.sign(z) != np.sign(before)
                flips[0] |= np.any(other & (before != 0), axis=1)
                flips[1] |= np.any(other & (before == 0), axis=1)
            a = self.forward(z)
            if self.masks is not None:
                a = dropout_forward(a, self.masks[deeper][rows])
            z = a @ self.weights[deeper + 1] + self.biases[deeper + 1]
        return self.loss.per_sample(z, self.targets[rows])

    def complex_slopes(self, layer: int, n: Array, j: Array) -> Array:
        """d_nj; NaN where the forward code takes no complex numbers."""
        with quiet():
            try:
                change, _, _ = self.change(layer, n, j, np.full(n.shape, 1j * COMPLEX_STEP))
            except Exception:  # anything may go wrong in code that was not written for them
                return np.full(n.shape, np.nan)
        return change.imag / COMPLEX_STEP

    def slopes(self, layer: int, error: Array | float = 0.0) -> Array:
        """f'(z + error) of a layer, by a complex step of the activation alone."""
        z = self.trace.pre_activations[layer] + error
        return np.imag(self.forward(z + 1j * COMPLEX_STEP)) / COMPLEX_STEP


# ---------------------------------------------------------------- how exact can this be?


class Rounding:
    """The rounding errors of d, for a backward pass as for the complex step, layer by layer.

    Errors of single operations are nearly independent, so that they add up as squares (Higham and
    Mary, SIAM J. Sci. Comput. 41, 2019). A bound that adds their sizes would multiply |W| layer by
    layer, and be larger than any gradient after ten. With E_l the error of d_l:

        E_l² = f'² (E_{l+1}² (W²)ᵀ + (unit · |d_{l+1}| |W|ᵀ)²) + (|d_{l+1}| |W|ᵀ · error of f')²

    The natural scale S of d goes down the same way, by slopes over steps as large as z: a saturated
    softmax or tanh has a slope of 0 ± ε where slopes of 1 lie around.
    """

    def __init__(self, network: Perturbations) -> None:
        self.network = network
        self.masks = network.masks or [np.ones(1)] * network.n_layers
        self.slopes = [network.slopes(layer) for layer in range(network.n_layers - 1)]
        self.z_errors, self.x_errors = self._forward()
        self.error = self.scale = np.zeros(0)  # of the layer that is looked at

    def _forward(self) -> tuple[list[Array], list[Array]]:
        """By how much each layer's pre-activations and inputs may be off, (N, units) each."""
        net = self.network
        z_errors: list[Array] = []
        x_errors = [np.zeros(net.inputs[0].shape)]
        for layer, (x, W, b) in enumerate(zip(net.inputs, net.weights, net.biases, strict=True)):
            own = (len(W) + 2) * EPS * (np.abs(x) @ np.abs(W) + np.abs(b))
            z_errors.append(np.sqrt(x_errors[layer] ** 2 @ W**2 + own**2))
            if layer < net.n_layers - 1:
                a = np.abs(net.trace.activations[layer + 1])
                error = np.abs(self.slopes[layer]) * z_errors[layer] + 4 * EPS * a
                x_errors.append(error * self.masks[layer])
        return z_errors, x_errors

    def at_outputs(self, d: Array) -> None:
        """Start at the last layer, whose slopes are d (N, K)."""
        net, z = self.network, self.network.trace.outputs
        T = 4 * (1 + np.abs(z).max(axis=1))
        self.scale = np.abs(np.nan_to_num(d))
        for k, e in enumerate(np.eye(z.shape[1])):
            for sign in (T, -T):
                moved = net.loss.per_sample(z + sign[:, np.newaxis] * e, net.targets)
                slope = np.nan_to_num(np.abs(moved - net.base) / T, posinf=0.0)
                self.scale[:, k] = np.maximum(self.scale[:, k], slope)
        off = np.sqrt(np.sum(self.z_errors[-1] ** 2, axis=1, keepdims=True))
        self.error = 8 * EPS * (1 + np.abs(z) + self.scale) + off

    def down(self, layer: int, d: Array) -> None:
        """From the layer above, whose slopes are d (N, n_out), to this one."""
        W = np.abs(self.network.weights[layer + 1])
        mask, slope = self.masks[layer], np.abs(self.slopes[layer]) * self.masks[layer]
        size = np.abs(np.nan_to_num(d)) @ W.T
        own = slope * (W.shape[1] + 2) * EPS * size
        bent = 4 * EPS * slope
        if not self.network.kinked:  # f' may be computed as 1 − a², and changes where z is off
            off = self.network.slopes(layer, self.z_errors[layer]) - self.slopes[layer]
            bent = mask * (4 * EPS + np.abs(off))
        carried = slope * np.sqrt(self.error**2 @ (W**2).T)
        self.error = np.sqrt(carried**2 + own**2 + (size * bent) ** 2)
        self.scale = mask * self._far_slopes(layer) * np.sqrt(self.scale**2 @ (W**2).T)

    def _far_slopes(self, layer: int) -> Array:
        """Of the activation over steps as large as z, up and down: the larger."""
        z, a = self.network.trace.pre_activations[layer], self.network.forward
        T = 2 * (1 + np.abs(z))
        return np.maximum(np.abs(a(z + T) - a(z)), np.abs(a(z) - a(z - T))) / T

    def of_losses(self, d: Array) -> Array:
        """Of ℓ_n, (N,), with its slopes d at the outputs."""
        size = np.sum((1 + np.abs(np.nan_to_num(d))) * self.z_errors[-1], axis=1)
        return 4 * EPS * np.abs(self.network.base) + size


# ---------------------------------------------------------------- which judge is believed?


class _Differences(NamedTuple):
    """What real differences say of P slopes; the first three are (2, P), left and right."""

    sides: Array  # d⁻ and d⁺, from steps of h and h/2
    half: Array  # the same from h/2 alone
    free: Array  # does no pre-activation cross 0?
    rounding: Array


class _Layer:
    """The slopes d_nj of one layer: the complex step, and the differences that have to confirm it.

    `result` begins as what the complex step says, with an estimate of the rounding as its error.
    """

    def __init__(self, network: Perturbations, layer: int) -> None:
        z = network.trace.pre_activations[layer]
        self.network, self.layer, self.shape = network, layer, z.shape
        self.n, self.j = (index.ravel() for index in np.indices(z.shape))
        self.exact = network.complex_slopes(layer, self.n, self.j)
        self.h = np.cbrt(EPS * (1 + np.abs(z).max(axis=0)))[self.j]
        self.at_kink = np.zeros(self.exact.shape, bool)
        self.refuted = np.zeros(self.exact.shape, bool)

    def as_matrix(self, array: Array) -> Array:
        """(N, units)."""
        return array.reshape(self.shape)

    def settle(self, error: Array, scale: Array, noise: Array) -> None:
        """Smaller and smaller steps, for what the first one leaves open; `noise` is that of ℓ_n."""
        scale = np.maximum(scale.ravel(), np.abs(np.nan_to_num(self.exact)))
        self.result, self.noise = Measured.smooth(self.exact, error.ravel(), scale), noise[self.n]
        k = self._unconfirmed()
        for rung in range(RUNGS):
            if not k.size:
                break
            k = self._rung(k, self.h[k] / SHRINK**rung, last=rung == RUNGS - 1)

    def _change(self, k: Array, delta: Array) -> tuple[Array, Array, Array]:
        return self.network.change(self.layer, self.n[k], self.j[k], delta)

    def _unconfirmed(self) -> Array:
        """Where a plain central difference does not confirm it, or a pre-activation crossed 0."""
        k, h = np.arange(len(self.h)), self.h
        up, up_crossed, up_zero = self._change(k, h)
        down, down_crossed, down_zero = self._change(k, -h)
        self.at_kink = up_zero | down_zero
        off = np.abs((up - down) / (2 * h) - self.exact)
        agree = off <= AGREE * np.abs(self.exact) + self.result.error + 2 * self.noise / h
        return k[~agree | up_crossed | down_crossed | self.at_kink]

    def _rung(self, k: Array, h: Array, *, last: bool) -> Array:
        """Settle those of the slopes k that the step h can; return the others."""
        r, d, at_kink = self.result, self._differences(k, h), self.at_kink[k]
        close = AGREE * np.abs(self.exact[k]) + r.error[k]
        # A kink that is not the network's, in the loss perhaps: no step closes the gap.
        size = np.abs(d.sides).max(axis=0)
        gap = np.abs(d.sides[1] - d.sides[0]) > 1e-3 * size + 4 * d.rounding
        both, finite = d.free.all(axis=0), np.isfinite(d.sides[0] + d.sides[1])
        kinked = at_kink | ~d.free.any(axis=0) | (both & gap)

        decided = self._decide(k, ~kinked, close, d)
        self._keep(k, kinked & finite, d)
        settled = decided | (at_kink & finite & both)
        if last:
            lost = ~settled & np.isnan(r.left[k])
            r.reason[k[lost]] = np.where(
                finite[lost],
                "the two judges disagree, and no step settles it",
                "the loss is not finite near this point",
            )
            settled[...] = True
        # A pre-activation at 0 that changes no output is no kink of the loss.
        off = np.abs([r.left[k] - self.exact[k], r.right[k] - self.exact[k]])
        flat = (off <= close + r.side_error[k]).all(axis=0)
        none = k[settled & (flat | decided)]
        r.left[none] = r.right[none] = np.nan
        return k[~settled]

    def _differences(self, k: Array, h: Array) -> _Differences:
        sides, half, free = [], [], []
        for step in (-h, h):
            far, crossed, _ = self._change(k, step)
            near, _, _ = self._change(k, step / 2)
            sides.append((4 * near - far) / step)
            half.append(2 * near / step)
            free.append(~crossed)
        return _Differences(np.array(sides), np.array(half), np.array(free), 10 * self.noise[k] / h)

    def _decide(self, k: Array, smooth: Array, close: Array, d: _Differences) -> Array:
        """Where the complex step is confirmed, or refuted and replaced."""
        # One free side is enough where the point itself is on no kink: both have the same slope.
        value, simple = (
            np.where(d.free, slopes, 0.0).sum(axis=0) / d.free.sum(axis=0)
            for slopes in (d.sides, d.half)
        )
        error, off = np.abs(value - simple) + d.rounding, np.abs(value - self.exact[k])
        confirmed = smooth & (off <= close + d.rounding)
        # It is refuted only by a difference that is itself sure.
        sure = error <= 1e-3 * np.abs(value)
        refuted = smooth & ~confirmed & sure & (off > 10 * error)
        # Without a complex step, the first step that is sure decides; a slope of 0 is never
        # sure in proportion to itself.
        alone = smooth & np.isnan(self.exact[k]) & np.isfinite(value)
        largest = np.nanmax(np.abs(d.sides).max(axis=0), initial=0.0)
        refuted |= alone & (sure | (error <= 4 * d.rounding + AGREE * largest))
        self.result.value[k[refuted]] = value[refuted]
        self.result.error[k[refuted]] = error[refuted]
        self.refuted[k] |= refuted
        return confirmed | refuted

    def _keep(self, k: Array, kinked: Array, d: _Differences) -> None:
        """At a kink, keep the d⁻ and d⁺ with the smallest error, until a step crosses no other."""
        r, error = self.result, np.abs(d.sides - d.half).max(axis=0) + d.rounding
        keep = kinked & (np.isnan(r.left[k]) | (error < r.side_error[k]))
        r.left[k[keep]], r.right[k[keep]] = d.sides[:, keep]
        r.side_error[k[keep]] = error[keep]


# ---------------------------------------------------------------- the parameters


def measure_network(network: Perturbations) -> tuple[Measured, int]:
    """The derivatives of L in the order of the parameters: all weights, then all biases.

    Also returned: how many of them the complex step got wrong.
    """
    weights: list[Measured] = []
    biases: list[Measured] = []
    refuted = 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rounding, noise, above = Rounding(network), np.zeros(0), np.zeros(0)
        for layer in range(network.n_layers - 1, -1, -1):
            own = _Layer(network, layer)
            if layer == network.n_layers - 1:
                rounding.at_outputs(own.as_matrix(own.exact))
                noise = rounding.of_losses(own.as_matrix(own.exact))
            else:
                rounding.down(layer, above)
            own.settle(rounding.error, rounding.scale, noise)
            slopes = own.result.each(own.as_matrix)
            above = slopes.value
            x, x_error = network.inputs[layer], rounding.x_errors[layer]
            ones = np.ones((network.n_samples, 1))
            weights.insert(0, _of_rows(x, x_error, slopes, network.weight))
            biases.insert(0, _of_rows(ones, 0 * ones, slopes, network.weight))
            wrong = own.as_matrix(own.refuted)
            refuted += sum(int(np.sum(_any(each, wrong))) for each in (x, ones))
    arrays = zip(*(part.each(np.ravel) for part in weights + biases), strict=True)
    return Measured(*(np.concatenate(parts) for parts in arrays)), refuted


def _any(x: Array, where: Array) -> Array:
    """(n_in, n_out): does some sample with x_ni ≠ 0 have it at n, j?"""
    return (x != 0).T.astype(float) @ where > 0


def _of_rows(x: Array, x_error: Array, slopes: Measured, weight: Array) -> Measured:
    """The derivatives by W (n_in, n_out) from those by z = xW (N, n_out)."""
    w = weight[:, np.newaxis]
    d, size = w * slopes.value, w * np.abs(slopes.value)
    up, down = np.maximum(x, 0.0).T, np.maximum(-x, 0.0).T
    left, right, side_error = slopes.one_sided()
    out = Measured.smooth(
        x.T @ d, np.abs(x).T @ (w * slopes.error), np.abs(x).T @ (w * slopes.scale)
    )
    out.error[...] += np.abs(x).T @ size * (len(x) + 2) * EPS + x_error.T @ size
    out.scale[...] += x_error.T @ size / EPS  # x itself may be a sum that cancels
    kink = _any(x, slopes.kink & (w > 0))
    out.left[...] = np.where(kink, up @ (w * left) - down @ (w * right), np.nan)
    out.right[...] = np.where(kink, up @ (w * right) - down @ (w * left), np.nan)
    out.side_error[...] = np.abs(x).T @ (w * side_error)
    for reason in np.unique(slopes.reason[slopes.reason != ""].astype(str)):
        out.reason[_any(x, (slopes.reason == reason) & (w > 0))] = reason
    return out
