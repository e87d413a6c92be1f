"""Planted bugs: each breaks one line of tinyreg, or of a layer written here, while it is planted.

A bug has two views. `report()` is the check that a user would call. `pair()` is the same mistake as
a function, a gradient and a point, for checkers that know nothing of networks; it is None where
the mistake is not in a gradient (in a prox, say).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from scipy.special import ndtr

import tinyreg as tr
from tinyreg.core import layers, losses, network, objective, penalties

Pair = tuple[Callable[[np.ndarray], float], Callable[[np.ndarray], np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Bug:
    name: str
    plant: Callable[[], contextlib.AbstractContextManager[Any]]
    report: Callable[[], tr.Report]
    pair: Callable[[], Pair] | None


BUGS: list[Bug] = []


# ------------------------------------------------------------ in an objective


def problem(
    sizes=(4, 5, 5, 3), activation="tanh", loss=None, penalty=None, n=6, kinks=False, scale=1.0,
    bias_penalty=None,
):  # fmt: skip
    """An objective with its X and y, always the same."""
    rng = np.random.default_rng(5)
    loss = loss or tr.SoftmaxCrossEntropy()
    net = tr.MLP(sizes, activation, seed=1)
    net.params[net.n_weights :] = 0.3 * rng.normal(size=net.n_params - net.n_weights)
    net.params *= scale
    X = rng.normal(size=(n, sizes[0]))
    if kinks:  # two dead units, as L1 leaves them: their pre-activations are 0 for every sample
        net.weights[0][:, :2] = 0.0
        net.biases[0][:2] = 0.0
    if isinstance(loss, tr.SoftmaxCrossEntropy):
        y = rng.integers(0, sizes[-1], n)
    elif isinstance(loss, tr.SigmoidCrossEntropy):
        y = rng.integers(0, 2, (n, sizes[-1])).astype(float)
    else:
        y = rng.normal(size=(n, sizes[-1]))
    return tr.Objective(net, loss, penalty, bias_penalty), X, y


def in_objective(name, plant, *, sample_weight=None, **settings):
    def report():
        F, X, y = problem(**settings)
        return tr.check_gradients(F, X, y, sample_weight=sample_weight)

    def pair():
        F, X, y = problem(**settings)

        def value(p):
            return F.value(X, y, params=p, sample_weight=sample_weight)

        def gradient(p):
            return F.gradient(X, y, params=p, sample_weight=sample_weight)

        return value, gradient, F.net.params.copy()

    BUGS.append(Bug(name, plant, report, pair))


def affine(name, change, **settings):
    """affine_backward, with its results changed."""
    right = layers.affine_backward

    def wrong(dz, x, W, b=None, **keywords):
        dx, dW, db = right(dz, x, W, b, **keywords)
        change(dz=dz, x=x, W=W, dx=dx, dW=dW, db=db)
        return dx, dW, db

    in_objective(
        f"affine: {name}", lambda: mock.patch.object(layers, "affine_backward", wrong), **settings
    )


def set_to(array, values):
    if array is not None:
        array[...] = values


square = {"sizes": (5, 5, 5, 5)}
affine("dW twice", lambda dW, **_: set_to(dW, 2 * dW))
affine("dW half", lambda dW, **_: set_to(dW, dW / 2))
affine("dW times N", lambda dW, x, **_: set_to(dW, dW * len(x)))
affine("dW over N", lambda dW, x, **_: set_to(dW, dW / len(x)))
affine("dW with the wrong sign", lambda dW, **_: set_to(dW, -dW))
affine("dW transposed", lambda dW, **_: set_to(dW, dW.T.copy()), **square)
affine("dW by its columns", lambda dW, **_: set_to(dW, dW.T.copy().reshape(dW.shape)))
affine("db of the last sample only", lambda db, dz, **_: set_to(db, dz[-1]))
affine("db a mean", lambda db, dz, **_: set_to(db, dz.mean(axis=0)))
affine("db dropped", lambda db, **_: set_to(db, 0.0))
affine("dx by W in place of its transpose", lambda dx, dz, W, **_: set_to(dx, dz @ W), **square)
affine("dx with the wrong sign", lambda dx, **_: set_to(dx, -dx if dx is not None else 0))
affine("dx dropped", lambda dx, **_: set_to(dx, 0.0))
affine("dx twice", lambda dx, **_: set_to(dx, 2 * dx if dx is not None else 0))
affine("dW without the last sample", lambda dW, x, dz, **_: set_to(dW, x[:-1].T @ dz[:-1]))
affine(
    "one wrong coordinate of thousands",
    lambda dW, **_: dW.shape == (64, 64) and dW.__setitem__((17, 3), dW[17, 3] * 1.001),
    sizes=(64, 64, 10), n=32,
)  # fmt: skip
affine("one row off by one", lambda dW, **_: set_to(dW, np.roll(dW, 1, axis=0)))


def activation(name, kind, backward=None, forward=None, **settings):
    right = layers.ACTIVATIONS[kind]
    wrong = layers.Activation(forward or right.forward, backward or right.backward)
    in_objective(
        f"{kind}: {name}",
        lambda: mock.patch.dict(layers.ACTIVATIONS, {kind: wrong}),
        activation=kind,
        **settings,
    )


def slope(of):
    """A backward pass da · of(z, a)."""
    return lambda da, z, a=None: da * of(z, a)


def sigma(z):
    return layers.sigmoid_forward(z)


activation("mask >= in place of >", "relu", slope(lambda z, a: z.real >= 0), kinks=True)
activation("mask dropped", "relu", slope(lambda z, a: np.ones_like(z)))
activation("mask of the other side", "relu", slope(lambda z, a: z.real < 0))
activation("slope 0.1 for 0.01", "leaky_relu", slope(lambda z, a: np.where(z.real > 0, 1, 0.1)))
activation("slope 0 for 0.01", "leaky_relu", slope(lambda z, a: np.where(z.real > 0, 1, 0.0)))
activation("1 - a", "tanh", slope(lambda z, a: 1 - a))
activation("1 - z^2", "tanh", slope(lambda z, a: 1 - z * z))
activation("tanh' of a", "tanh", slope(lambda z, a: 1 - np.tanh(a) ** 2))
activation("no derivative", "tanh", slope(lambda z, a: np.ones_like(z)))
activation("derivative is a", "sigmoid", slope(lambda z, a: a))
activation("a (1 + a)", "sigmoid", slope(lambda z, a: a * (1 + a)))
activation("z (1 - z)", "sigmoid", slope(lambda z, a: z * (1 - z)))
activation("its own value", "softplus", slope(lambda z, a: layers.softplus_forward(z)))
activation("sigma(-z)", "softplus", slope(lambda z, a: sigma(-z)))
activation("without the second term", "gelu", slope(lambda z, a: ndtr(z)))
activation("density without its 1/2", "gelu",
           slope(lambda z, a: ndtr(z) + z * np.exp(-z * z) / np.sqrt(2 * np.pi)))  # fmt: skip


def gelu_by_tanh(z):
    return z * (1 + np.tanh(0.7978845608 * (z + 0.044715 * z**3))) / 2


activation("forward by tanh, backward exact", "gelu", forward=gelu_by_tanh)
activation("without the second term", "silu", slope(lambda z, a: sigma(z)))
activation("z s' only", "silu", slope(lambda z, a: z * sigma(z) * (1 - sigma(z))))
activation("identity, with a factor", "identity", slope(lambda z, a: np.full_like(z, 1.01)))


def backward_pass(name, **wrong):
    """The whole chain rule written once more, with one mistake; `settings` are of the problem."""
    settings = wrong.pop("settings", {})

    def wrong_pass(trace, dout, weights, activation, dweights, dbiases):
        dz, last = dout, len(weights) - 1
        backward = layers.ACTIVATIONS[activation].backward
        for layer in range(last, -1, -1):
            shift = wrong.get("input_shift", 0) if layer > 1 else 0
            x = trace.activations[layer - shift]
            dweights[layer][...] = x.T @ dz
            dbiases[layer][...] = dz.sum(axis=0)
            if layer == 0 or (layer == 1 and wrong.get("forgets_first")):
                if layer == 1:
                    dweights[0][...] = dbiases[0][...] = 0.0
                return
            W = (
                weights[layer - 1]
                if wrong.get("weights_of_before") and layer > 1
                else weights[layer]
            )
            dx = dz @ W.T
            z = trace.pre_activations[layer - 1]
            if wrong.get("z_of_before") and layer > 1:
                z = trace.pre_activations[layer - 2]
            a = trace.activations[layer - wrong.get("a_shift", 0)]
            if a.shape != dx.shape:
                a = np.resize(a, dx.shape)
            dz = dx if wrong.get("no_activation") else backward(dx, z, a)
        return

    in_objective(
        f"backward pass: {name}",
        lambda: mock.patch.object(objective, "backward_pass", wrong_pass),
        **settings,
    )


backward_pass("the input of the layer before", input_shift=1, settings=square)
backward_pass("the weights of the layer before", weights_of_before=True, settings=square)
backward_pass(
    "the pre-activation of the layer before", z_of_before=True,
    settings={"activation": "softplus", **square},
)  # fmt: skip
backward_pass("the activation of the layer before", a_shift=1, settings=square)
backward_pass("no activation at all", no_activation=True)
backward_pass("the first layer forgotten", forgets_first=True)


def in_forward_pass(name, trace_of):
    """∇L by a right backward pass, from the trace of another forward pass."""

    class Wrong(objective.Problem):
        def data_value_and_gradient(self, params=None):
            F = self.objective
            trace, gradient = trace_of(self, params), np.empty_like(params)
            value = F.loss.weighted_sum(trace.outputs, *self.samples[1:])
            dout = F.loss.delta(trace.outputs, *self.samples[1:])
            weights, _ = F.net.unpack(params)
            network.backward_pass(trace, dout, weights, F.net.activation, *F.net.unpack(gradient))
            return value, gradient

    in_objective(name, lambda: mock.patch.object(objective, "Problem", Wrong))


def stale_trace(self, params):
    """The trace of the first parameters that it saw; they have moved since it was made."""
    F = self.objective
    if not hasattr(F, "trace"):
        F.trace = network.forward_pass(
            self.samples.X, *F.net.unpack(params * 1.1), F.net.activation
        )
    return F.trace


def trace_without_bias(self, params):
    weights, biases = self.objective.net.unpack(params)
    biases = [0 * b for b in biases]
    return network.forward_pass(self.samples.X, weights, biases, self.objective.net.activation)


in_forward_pass("a stale cache", stale_trace)
in_forward_pass("forward without the bias, backward with it", trace_without_bias)


def loss(name, kind, method, wrong, **settings):
    in_objective(
        f"{kind.__name__}: {name}",
        lambda: mock.patch.object(kind, method, wrong),
        loss=kind(),
        **settings,
    )


right_delta = losses.Loss.delta


def delta_times(factor):
    def delta(self, outputs, targets, weight):
        return factor(len(outputs), outputs.shape[1]) * right_delta(self, outputs, targets, weight)

    return delta


def delta_without_targets(self, outputs, targets, weight):
    return self.predict(outputs) * weight[:, np.newaxis]


def delta_of_next_label(self, outputs, targets, weight):
    return right_delta(self, outputs, (targets + 1) % outputs.shape[1], weight)


def delta_unweighted(self, outputs, targets, weight):
    return right_delta(self, outputs, targets, np.full(len(outputs), 1.0 / len(outputs)))


def clipped_softmax(self, outputs, targets):
    shifted = outputs - outputs.real.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    p = np.where(p.real < 0.3, 0.3, p)
    return -np.log(p[np.arange(len(targets)), targets])


def softmax_with_epsilon(self, outputs, targets):
    shifted = outputs - outputs.real.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(targets)), targets] + 1e-3)


Softmax, Sigmoid, Squared = tr.SoftmaxCrossEntropy, tr.SigmoidCrossEntropy, tr.SquaredError
loss("without its mean", Softmax, "delta", delta_times(lambda n, k: n))
loss("a mean too much", Softmax, "delta", delta_times(lambda n, k: 1 / n))
loss("without the one-hot", Softmax, "delta", delta_without_targets)
loss("labels off by one", Softmax, "delta", delta_of_next_label)
loss("clipped value, gradient not", Softmax, "per_sample", clipped_softmax)
loss("epsilon in the logarithm", Softmax, "per_sample", softmax_with_epsilon)
loss("sample weights forgotten", Softmax, "delta", delta_unweighted,
     sample_weight=np.arange(1.0, 7.0))  # fmt: skip
loss("a mean over outputs too", Sigmoid, "delta", delta_times(lambda n, k: 1 / k))
loss("prediction without sigmoid", Sigmoid, "predict", lambda self, z: np.array(z))
loss("a 2 too much", Squared, "delta", delta_times(lambda n, k: 2))
loss("k times the derivative", Squared, "delta", delta_times(lambda n, k: k))
loss("value with a mean over outputs", Squared, "per_sample",
     lambda self, z, y: 0.5 * np.mean((z - y) ** 2, axis=1))  # fmt: skip
loss("sign", Squared, "delta", delta_times(lambda n, k: -1))


def penalty(name, kind, method, wrong, instance, **settings):
    in_objective(
        f"{kind.__name__}: {name}",
        lambda: mock.patch.object(kind, method, wrong),
        penalty=instance,
        **settings,
    )


L1, L2, ElasticNet = penalties.L1, penalties.L2, penalties.ElasticNet
penalty("without its 2", L2, "subgradient", lambda self, w: self.lam * w, L2(0.01))
penalty("detached", L2, "subgradient", lambda self, w: np.zeros_like(w), L2(0.01))
penalty("value with a half", L2, "value", lambda self, w: self.lam * np.sum(w * w) / 2, L2(0.01))
penalty("over N", L2, "subgradient", lambda self, w: 2 * self.lam * w / 6, L2(0.01))
penalty("value a 2-norm", L1, "value", lambda self, w: self.lam * np.sqrt(np.sum(w * w)), L1(0.01))
penalty("without its sign", L1, "subgradient", lambda self, w: self.lam + 0 * w.real, L1(0.01))
penalty("wrong sign", L1, "subgradient", lambda self, w: -self.lam * np.sign(w.real), L1(0.01))
penalty("smoothed", L1, "subgradient", lambda self, w: self.lam * np.tanh(10 * w.real), L1(0.01))
penalty("sign of another layer", L1, "subgradient",
        lambda self, w: self.lam * np.sign(w.real[::-1]), L1(1e-6))  # fmt: skip
penalty("l2 forgotten", ElasticNet, "subgradient",
        lambda self, w: self.l1 * np.sign(w.real), ElasticNet(1e-3, 1e-3))  # fmt: skip
penalty("l1 forgotten", ElasticNet, "subgradient",
        lambda self, w: 2 * self.l2 * w, ElasticNet(1e-3, 1e-3))  # fmt: skip
penalty("l1 and l2 exchanged", ElasticNet, "subgradient",
        lambda self, w: self.l2 * np.sign(w.real) + 2 * self.l1 * w,
        ElasticNet(1e-3, 3e-3))  # fmt: skip

right_add = tr.Objective.add_subgradient


def in_add(name, wrong, R):
    in_objective(
        f"penalty: {name}",
        lambda: mock.patch.object(tr.Objective, "add_subgradient", wrong),
        penalty=R,
    )


def twice(self, gradient, params, scale=1.0, smooth_only=False):
    right_add(self, gradient, params, 2 * scale, smooth_only)


def of_biases_too(self, gradient, params, scale=1.0, smooth_only=False):
    gradient += scale * self.penalty.subgradient(params)


def of_first_layer_only(self, gradient, params, scale=1.0, smooth_only=False):
    n = self.net.weights[0].size
    gradient[:n] += scale * self.penalty.subgradient(params[:n])


in_add("twice", twice, L2(0.01))
in_add("not at all", lambda self, *rest, **keywords: None, L1(0.01))
in_add("a tiny one not at all", lambda self, *rest, **keywords: None, L1(1e-9))
in_add("of the biases too", of_biases_too, L2(0.01))
in_add("of the first layer only", of_first_layer_only, L1(0.01))


# ------------------------------------------------------------ dropout, its mask frozen


def in_dropout(name, method, wrong):
    def setting():
        F, X, y = problem(activation="softplus")
        rng = np.random.default_rng(3)
        masks = [layers.dropout_mask((len(X), n), 0.5, rng) for n in F.net.sizes[1:-1]]
        return F, X, y, masks

    def report():
        F, X, y, masks = setting()
        return tr.check_gradients(F, X, y, masks=masks)

    def pair():
        F, X, y, masks = setting()

        def value(p):
            return F.loss.value(F.net.trace(X, p, masks).outputs, y)

        def gradient(p):
            trace = F.net.trace(X, p, masks)
            return F.net.backward(trace, F.loss.gradient(trace.outputs, y), p)

        return value, gradient, F.net.params.copy()

    BUGS.append(
        Bug(f"dropout: {name}", lambda: mock.patch.object(layers, method, wrong), report, pair)
    )


def unmasked(dout, a, mask):
    return dout


def unscaled(dout, a, mask):
    return dout * (mask > 0)


in_dropout("mask dropped in backward", "dropout_backward", unmasked)
in_dropout("backward without 1/(1 - rate)", "dropout_backward", unscaled)


# ------------------------------------------------------------ layers written by someone else


def in_layer(name, forward, backward, *shapes):
    rng = np.random.default_rng(8)
    arrays = [rng.normal(size=shape) for shape in shapes]
    dout = rng.normal(size=np.shape(forward(*arrays)))

    def report():
        return tr.check_backward(forward, backward, *arrays)

    def pair():
        sizes = np.cumsum([a.size for a in arrays])[:-1]

        def split(x):
            return [
                part.reshape(a.shape) for part, a in zip(np.split(x, sizes), arrays, strict=True)
            ]

        def value(x):
            return float(np.sum(dout * forward(*split(x))))

        def gradient(x):
            gradients = backward(dout, *split(x))
            if not isinstance(gradients, tuple):
                gradients = (gradients,)
            return np.concatenate([np.ravel(g) for g in gradients])

        return value, gradient, np.concatenate([a.ravel() for a in arrays])

    BUGS.append(Bug(f"layer: {name}", contextlib.nullcontext, report, pair))


def batch_norm(x, gamma, beta):
    centred = x - x.mean(axis=0)
    return gamma * centred / np.sqrt((centred**2).mean(axis=0) + 1e-5) + beta


def batch_norm_backward(dout, x, gamma, beta, bug=""):
    n = len(x)
    centred = x - x.mean(axis=0)
    s = np.sqrt((centred**2).mean(axis=0) + 1e-5)
    xhat, dxhat = centred / s, dout * gamma
    dx = dxhat / s
    if bug != "mean":
        dx = dx - dxhat.sum(axis=0) / (n * s)
    if bug != "variance":
        dx = dx - xhat * (dxhat * xhat).sum(axis=0) / ((n - (bug == "n - 1")) * s)
    return dx, (dout * (x if bug == "gamma" else xhat)).sum(axis=0), dout.sum(axis=0)


for bug, told in (
    ("mean", "batch norm without the mean's path"),
    ("variance", "batch norm without the variance's path"),
    ("n - 1", "batch norm with n - 1 for n"),
    ("gamma", "batch norm, dgamma from x"),
):
    in_layer(
        told,
        batch_norm,
        lambda dout, *a, bug=bug: batch_norm_backward(dout, *a, bug=bug),
        (6, 3), (3,), (3,),
    )  # fmt: skip

in_layer("softmax, diagonal only",
         lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
         lambda dout, z: dout * (p := np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)) * (1 - p),
         (4, 3))  # fmt: skip
in_layer("product, inputs exchanged", lambda a, b: a * b, lambda d, a, b: (d * a, d * b),
         (4,), (4,))  # fmt: skip
in_layer("broadcast sum forgotten in one place", lambda x, b: (x + b) ** 2,
         lambda d, x, b: (2 * d * (x + b), (2 * d * (x + b))[0]), (5, 3), (3,))  # fmt: skip


# ------------------------------------------------------------ penalties written by someone else


def in_penalty(name, R, gradient=False):
    w = np.array([-2.0, -0.3, -0.04, 0.0, 0.02, 0.5, 1.7])

    def pair():
        return R.value, R.subgradient, np.delete(w, 3)

    BUGS.append(
        Bug(
            f"penalty's user: {name}",
            contextlib.nullcontext,
            lambda: tr.check_penalty(R, w, step=0.2),
            pair if gradient else None,
        )
    )


def variant(base, *settings, **methods):
    return type("Wrong", (base,), methods)(*settings)


in_penalty("prox without its step", variant(L1, 0.5, prox=lambda self, w, t: L1.prox(self, w, 1.0)))
in_penalty("prox returns its input", variant(ElasticNet, 0.5, 0.5, prox=lambda self, w, t: w + 0.0))
in_penalty("prox divides, then thresholds", variant(ElasticNet, 0.5, 0.5, prox=lambda self, w, t:
           penalties.soft_threshold(w / (1 + 2 * t * self.l2), t * self.l1)))  # fmt: skip
in_penalty("prox without the 2", variant(L2, 0.5, prox=lambda self, w, t: w / (1 + t * self.lam)))
in_penalty("hard threshold", variant(L1, 0.5, prox=lambda self, w, t:
           np.where(np.abs(w) <= t * self.lam, 0.0 * w, w)))  # fmt: skip
in_penalty("prox that hides NaN", variant(L1, 0.5, prox=lambda self, w, t:
           np.sign(np.nan_to_num(w)) * np.fmax(np.abs(w) - t * self.lam, 0)))  # fmt: skip
in_penalty("residual without the kink", variant(L1, 0.5, residual=lambda self, w, g:
           np.abs(g + self.lam * np.sign(w))))  # fmt: skip
in_penalty("residual with the wrong sign", variant(L1, 0.5, residual=lambda self, w, g:
           L1.residual(self, w, np.where(w == 0, g, -g))))  # fmt: skip
in_penalty("called smooth", variant(L1, 0.5, smooth=True))
in_penalty("2-norm and sign", variant(L1, 0.5, value=lambda self, w:
           float(self.lam * np.sqrt(np.sum(w * w)))), gradient=True)  # fmt: skip
in_penalty(
    "subgradient without the 2",
    variant(L2, 0.5, subgradient=lambda self, w: self.lam * w),
    gradient=True,
)
