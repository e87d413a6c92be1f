"""The derivatives of a network's data loss, from forward code: each parameter moved by itself.

Two judges measure every derivative, the complex step and real differences (see `differences`). No
kink has to be guessed here: ReLU and leaky ReLU are the only activations with one, and as one
parameter moves by t, every pre-activation is linear in t until the first of them changes its
sign. So the same signs at both ends of a step are a proof that no kink lies between them.

In reading order: the change of the loss (`Perturbations`), how exact it can be (`rounding_bounds`),
and which judge is believed, coordinate by coordinate (`measure_network`).
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from tinyreg.checks.differences import EPS, RUNGS, SHRINK, Measured
from tinyreg.core.layers import ACTIVATIONS, dropout_forward
from tinyreg.core.losses import Loss
from tinyreg.core.network import MLP, PerLayer, forward_pass
from tinyreg.core.objective import COMPLEX_STEP, Samples
from tinyreg.validate import Array

KINKED = ("relu", "leaky_relu")
AT_ONCE = 2**17  # bytes in an array of a chunk of perturbed networks: a few fit into the cache
AGREE = 1e-5  # how closely an unextrapolated central difference has to confirm the complex step


class Perturbations:
    """The change of the data loss when one parameter moves, for many parameters at once.

    If W_ij of layer l moves by δ, then of all pre-activations of that layer only column j
    changes, by δ x_i (for the bias: by δ). So the networks need not be run from their inputs:

        z_l[:, j]  +=  δ x[:, i]
        z_{l+1}    +=  (f(z_l[:, j] + δ x[:, i]) − f(z_l[:, j])) ⊗ W_{l+1}[j, :]

    and only from there on there is a forward pass, run for a whole chunk of parameters as if each
    was N more samples. Layers are counted from 0. Parameters of a layer are numbered
    k = i·n_out + j, with the bias as the row i = n_in, whose input is 1.
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
        ones = np.ones((1, self.n_samples))
        #: (n_in + 1, N): the input of each row of parameters, contiguous by row.
        self.rows = [np.concatenate([x.T, ones]) for x in self.inputs]
        self.base = loss.per_sample(self.trace.outputs, self.targets)

    def change(self, layer: int, k: Array, delta: Array) -> tuple[Array, Array, Array]:
        """L(θ + δ e_k) − L(θ) for each k (P,) with its δ (P,), and what the pre-activations did.

        Returned are three (P,) arrays: the change, complex if δ is; `crossed`, where some
        pre-activation that was not 0 has another sign, so that a kink lies inside the step; and
        `left_zero`, where one that was 0 no longer is, so that the point itself is on a kink.
        """
        change = np.empty(len(k), delta.dtype)
        flips = np.zeros((2, len(k)), bool)
        widest = max([len(b) for b in self.biases[layer + 1 :]] or [len(self.biases[-1])])
        chunk = max(1, AT_ONCE // (delta.itemsize * self.n_samples * widest))
        for start in range(0, len(k), chunk):
            part = slice(start, start + chunk)
            losses = self._losses(layer, k[part], delta[part], flips[:, part])
            change[part] = (losses - self.base) @ self.weight
        return change, *flips

    def _losses(self, layer: int, k: Array, delta: Array, flips: Array) -> Array:
        """(P, N) losses of each sample; `flips` is filled in."""
        i, j = np.divmod(k, self.weights[layer].shape[1])
        before = self.trace.pre_activations
        base = before[layer].T[j]
        z = base + delta[:, np.newaxis] * self.rows[layer][i]
        # From here on arrays are (units, P, N), so that sums over units run along memory.
        if layer == self.n_layers - 1:
            outputs = np.empty((self.trace.outputs.shape[1], *z.shape), z.dtype)
            outputs[...] = self.trace.outputs.T[:, np.newaxis]
            outputs[j, np.arange(len(k))] = z
        else:
            self._look(z[np.newaxis], base[np.newaxis], flips)
            rise = self.forward(z) - self.trace.activations[layer + 1].T[j]
            if self.masks is not None:
                rise = dropout_forward(rise, self.masks[layer].T[j])
            outputs = rise * self.weights[layer + 1][j].T[:, :, np.newaxis]
            outputs += before[layer + 1].T[:, np.newaxis]
            for deeper in range(layer + 1, self.n_layers - 1):
                self._look(outputs, before[deeper].T[:, np.newaxis], flips)
                a = self.forward(outputs)
                if self.masks is not None:
                    a = dropout_forward(a, self.masks[deeper].T[:, np.newaxis])
                outputs = self.weights[deeper + 1].T @ a.reshape(len(a), -1)
                outputs += self.biases[deeper + 1][:, np.newaxis]
                outputs = outputs.reshape(-1, *z.shape)
        tiled = np.tile(self.targets, (len(k),) + (1,) * (self.targets.ndim - 1))
        losses = self.loss.per_sample(outputs.reshape(len(outputs), -1).T, tiled)
        return losses.reshape(z.shape)

    def _look(self, z: Array, before: Array, flips: Array) -> None:
        """Which pre-activations have another sign than before: crossed 0, or left it."""
        if not self.kinked or np.iscomplexobj(z):
            return
        other = np.sign(z) != np.sign(before)
        if other.any():
            flips[0] |= np.any(other & (before != 0), axis=(0, 2))
            flips[1] |= np.any(other & (before == 0), axis=(0, 2))

    def complex_slopes(self, layer: int) -> Array:
        """∂L of every parameter of a layer; NaN where the forward code takes no complex numbers."""
        n_in, n_out = self.weights[layer].shape
        k = np.arange((n_in + 1) * n_out)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                change, _, _ = self.change(layer, k, np.full(k.shape, 1j * COMPLEX_STEP))
            except Exception:  # anything may go wrong in code that was not written for them
                return np.full(k.shape, np.nan)
        return change.imag / COMPLEX_STEP

    def steps(self, layer: int) -> Array:
        """h for each parameter: what moves the pre-activation by about ε^⅓ of its size."""
        size = np.abs(self.trace.pre_activations[layer]).max(axis=0)
        reach = np.abs(self.rows[layer]).max(axis=1)
        reach[reach == 0] = 1.0
        shift = (EPS * (1 + size)) ** (1 / 3)
        return (shift / reach[:, np.newaxis]).ravel()


# ---------------------------------------------------------------- how exact can this be?
#
# A running error analysis (Higham, Accuracy and Stability of Numerical Algorithms, section 3.3):
# the rounding of each operation, carried on by the absolute values of what it meets.

LIPSCHITZ = 1.13  # max |f'| over all activations is gelu's 1.129


def rounding_bounds(network: Perturbations) -> tuple[list[Array], float]:
    """Bounds of the rounding errors of each layer's gradients, (n_in + 1, n_out), and of the loss.

    From forward quantities only, for a backward pass as for the complex step.
    """
    z_errors, x_errors = _forward_errors(network)
    slope = np.abs(_loss_slopes(network))
    off = z_errors[-1].sum(axis=1, keepdims=True)
    of_loss = 4 * EPS * np.abs(network.base) + ((1 + slope) * z_errors[-1]).sum(axis=1)
    weight = network.weight[:, np.newaxis]
    curvature = 0.0 if network.activation in (*KINKED, "identity") else 1.0  # |f''| < 1 for all
    masks = network.masks or [np.ones(1)] * network.n_layers

    M = weight * slope  # bounds |∂L/∂z|; E is its error
    E = weight * (4 * EPS * (1 + slope + np.abs(network.trace.outputs)) + off)
    bounds: list[Array] = []
    for layer in range(network.n_layers - 1, -1, -1):
        unit = (network.n_samples + 2) * EPS
        bound = np.abs(network.rows[layer]) @ (E + unit * M)
        bound[:-1] += x_errors[layer].T @ M
        bounds.insert(0, bound)
        if layer > 0:
            W = np.abs(network.weights[layer])
            unit = (W.shape[1] + 2) * EPS
            E, M = (E + unit * M) @ W.T * masks[layer - 1], M @ W.T * masks[layer - 1]
            E = LIPSCHITZ * E + M * (4 * EPS + curvature * z_errors[layer - 1])
            M = LIPSCHITZ * M
    return bounds, float(network.weight @ of_loss)


def _forward_errors(network: Perturbations) -> tuple[list[Array], list[Array]]:
    """By how much each layer's pre-activations and inputs may be off, (N, units) each."""
    z_errors: list[Array] = []
    x_errors = [np.zeros_like(network.inputs[0])]
    masks = network.masks or [np.ones(1)] * network.n_layers
    layers = zip(network.inputs, network.weights, network.biases, strict=True)
    for layer, (x, W, b) in enumerate(layers):
        unit = (len(W) + 2) * EPS
        own = unit * (np.abs(x) @ np.abs(W) + np.abs(b))
        z_errors.append(x_errors[layer] @ np.abs(W) + own)
        if layer < network.n_layers - 1:
            a = np.abs(network.trace.activations[layer + 1])
            error = LIPSCHITZ * z_errors[layer] + 4 * EPS * a
            x_errors.append(error * masks[layer])
    return z_errors, x_errors


def _loss_slopes(network: Perturbations) -> Array:
    """∂ℓ_n/∂z_nk, from values of the loss with one column of the outputs moved."""
    z = network.trace.outputs
    slope = np.empty(z.shape)
    for k, e in enumerate(np.eye(z.shape[1])):
        try:
            moved = network.loss.per_sample(z + 1j * COMPLEX_STEP * e, network.targets)
            slope[:, k] = np.imag(moved) / COMPLEX_STEP
        except Exception:  # a loss that was not written for complex numbers
            h = 1e-5
            moved = network.loss.per_sample(z + h * e, network.targets)
            slope[:, k] = (moved - network.base) / h
    return slope


# ---------------------------------------------------------------- which judge is believed?


def measure_network(network: Perturbations) -> tuple[Measured, int]:
    """The derivatives of L in the order of the parameters: all weights, then all biases.

    Also returned: how many of them the complex step got wrong.
    """
    weights: list[Measured] = []
    biases: list[Measured] = []
    refuted = 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        bounds, noise = rounding_bounds(network)
        for layer, bound in enumerate(bounds):
            own = _Layer(network, layer, 8 * bound.ravel(), noise)
            own.settle()
            refuted += own.refuted
            n = network.weights[layer].size
            weights.append(Measured(*(array[:n] for array in own.result)))
            biases.append(Measured(*(array[n:] for array in own.result)))
    arrays = zip(*weights, *biases, strict=True)
    return Measured(*(np.concatenate(parts) for parts in arrays)), refuted


class _Differences(NamedTuple):
    """What real differences say of P parameters; the first three are (2, P), left and right."""

    sides: Array  # D⁻ and D⁺, from steps of h and h/2
    half: Array  # the same from h/2 alone
    free: Array  # does no pre-activation cross 0?
    rounding: Array


class _Layer:
    """The derivatives of one layer: the complex step, and the differences that have to confirm it.

    `result` begins as what the complex step says, with a bound of the rounding as its error.
    """

    def __init__(self, network: Perturbations, layer: int, bound: Array, noise: float) -> None:
        self.network, self.layer, self.noise = network, layer, noise
        self.exact = network.complex_slopes(layer)
        self.result = Measured.smooth(self.exact, bound)
        self.at_kink = np.zeros(self.exact.shape, bool)
        self.refuted = 0

    def settle(self) -> None:
        """Smaller and smaller steps, for what the first one leaves open."""
        h = self.network.steps(self.layer)
        k = self._unconfirmed(h)
        for rung in range(RUNGS):
            if not k.size:
                break
            k = self._rung(k, h[k] / SHRINK**rung, last=rung == RUNGS - 1)

    def _unconfirmed(self, h: Array) -> Array:
        """Where a plain central difference does not confirm it, or a pre-activation crossed 0."""
        k = np.arange(len(h))
        up, up_crossed, up_zero = self.network.change(self.layer, k, h)
        down, down_crossed, down_zero = self.network.change(self.layer, k, -h)
        self.at_kink = up_zero | down_zero
        off = np.abs((up - down) / (2 * h) - self.exact)
        agree = off <= AGREE * np.abs(self.exact) + self.result.error + 2 * self.noise / h
        return k[~agree | up_crossed | down_crossed | self.at_kink]

    def _rung(self, k: Array, h: Array, *, last: bool) -> Array:
        """Settle those of the parameters k that the step h can; return the others."""
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
            far, crossed, _ = self.network.change(self.layer, k, step)
            near, _, _ = self.network.change(self.layer, k, step / 2)
            sides.append((4 * near - far) / step)
            half.append(2 * near / step)
            free.append(~crossed)
        return _Differences(np.array(sides), np.array(half), np.array(free), 10 * self.noise / h)

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
        self.refuted += int(refuted.sum())
        return confirmed | refuted

    def _keep(self, k: Array, kinked: Array, d: _Differences) -> None:
        """At a kink, keep the D⁻ and D⁺ with the smallest error, until a step crosses no other."""
        r, error = self.result, np.abs(d.sides - d.half).max(axis=0) + d.rounding
        keep = kinked & (np.isnan(r.left[k]) | (error < r.side_error[k]))
        r.left[k[keep]], r.right[k[keep]] = d.sides[:, keep]
        r.side_error[k[keep]] = error[keep]
