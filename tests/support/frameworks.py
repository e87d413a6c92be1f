"""One network, trained by tinyreg and by its peers: the same start, the same batches, 200 steps.

Each `train_…` returns the parameters in tinyreg's order: all weights as (n_in, n_out), then all
biases. The second half has one gradient by hand and by PyTorch's autograd, in pairs. Peers are
imported where they are used: they are in the `bench` extra.

Adam's ε stands in two places. tinyreg and PyTorch divide by √v̂ + ε. Keras and scikit-learn put it
outside the bias correction (the ε̂ of Kingma and Ba, section 2): they divide by √v + ε̂, and at step
t that is ε = ε̂/√(1 − β₂ᵗ). An ε that changes nothing, such as NO_EPS, makes them comparable.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import tinyreg as tr
from tinyreg.core import layers, losses

# Keras reads this once, when it is imported; with it TensorFlow is not needed.
os.environ["KERAS_BACKEND"] = "torch"

SIZES = (6, 8, 6, 3)
LAM = 3e-3
# 40 epochs of four batches of 32 and a last one of 16: 200 steps. (16 and no odd number, because
# Keras divides by it in float32.)
N, BATCH, EPOCHS, STEPS = 144, 32, 40, 200
# The start from which L1 in the loss never leaves a weight within 1e-5 of 0 at the end of a step,
# the best of 600: so rounding in float32 (about 1e-6) turns no sign of its subgradient.
START = 258
SGD_RATE, ADAM_RATE, MOMENTUM = 0.05, 1e-3, 0.9
EPS, NO_EPS = 1e-8, 1e-16
OPTIMIZERS = ("SGD", "SGD + momentum", "SGD + Nesterov", "Adam")


class Case(NamedTuple):
    """One training run: tinyreg's penalty and method, and what says the same to the peers."""

    optimizer: str
    told: str
    penalty: tr.L1 | tr.L2
    method: str
    settings: dict[str, float]
    peers: tuple[str, ...]


L2_IN_LOSS, L1_IN_LOSS = {"l2": LAM}, {"l1": LAM}
WEIGHT_DECAY, BOTH = {"weight_decay": 2 * LAM}, ("torch", "keras")
CASES = [
    case
    for optimizer in OPTIMIZERS
    for case in (
        Case(optimizer, "L2 in the loss", tr.L2(LAM), "subgradient", L2_IN_LOSS, BOTH),
        Case(optimizer, "L2 by weight_decay", tr.L2(LAM), "subgradient", WEIGHT_DECAY, ("torch",)),
        Case(optimizer, "L1 in the loss", tr.L1(LAM), "subgradient", L1_IN_LOSS, BOTH),
    )
]
# Keras' weight_decay is decoupled in every optimizer, PyTorch's in AdamW alone.
CASES += [
    Case("SGD + momentum", "L2 decoupled", tr.L2(LAM), "decoupled", WEIGHT_DECAY, ("keras",)),
    Case("AdamW", "L2 by weight_decay", tr.L2(LAM), "decoupled", WEIGHT_DECAY, BOTH),
    Case("AdamW", "L1 decoupled", tr.L1(LAM), "decoupled", {"decoupled_l1": LAM}, ("torch",)),
]

# ------------------------------------------------------------ the problem


def problem() -> tuple[np.ndarray, np.ndarray]:
    """X and labels, of numbers that float32 can hold."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, SIZES[0])).astype("float32").astype("float64")
    teacher = tr.MLP((SIZES[0], 20, SIZES[-1]), "tanh", seed=7)
    return X, teacher.forward(3 * X).argmax(axis=1)


def real_targets() -> np.ndarray:
    """(N, 3) targets of a regression on the same X."""
    return tr.MLP((SIZES[0], 20, SIZES[-1]), "tanh", seed=8).forward(problem()[0])


def start(dtype: str = "float64") -> tr.MLP:
    """Every contender's first parameters: biases too, and no more digits than float32 has."""
    net = tr.MLP(SIZES, "tanh", dtype="float32", seed=START)
    for b in net.biases:
        b[...] = np.linspace(-0.1, 0.1, len(b))
    other = tr.MLP(SIZES, "tanh", dtype=dtype)
    other.params = net.params
    return other


def orders() -> Iterator[np.ndarray]:
    """The order of the samples in each epoch, as `tr.fit` draws it from its seed."""
    shuffling = np.random.default_rng(0).spawn(2)[0]
    for _ in range(EPOCHS):
        yield shuffling.permutation(N)


def batches(size: int = BATCH) -> Iterator[np.ndarray]:
    for order in orders():
        for first in range(0, N, size):
            yield order[first : first + size]


def flat(weights: list, biases: list) -> np.ndarray:
    return np.concatenate([np.ravel(a) for a in (*weights, *biases)])


# ------------------------------------------------------------ 200 steps


def train_tinyreg(
    optimizer: str, penalty: tr.L1 | tr.L2 | None, method: str = "subgradient",
    dtype: str = "float64", eps: float = EPS, batch_size: int = BATCH, regression: bool = False,
) -> np.ndarray:  # fmt: skip
    net, (X, y) = start(dtype), problem()
    tr.fit(
        net, X, real_targets() if regression else y,
        loss=tr.SquaredError() if regression else tr.SoftmaxCrossEntropy(),
        penalty=penalty, method=method, epochs=EPOCHS, batch_size=batch_size, seed=0,
        optimizer={
            "SGD": tr.SGD(SGD_RATE),
            "SGD + momentum": tr.SGD(SGD_RATE, momentum=MOMENTUM),
            "SGD + Nesterov": tr.SGD(SGD_RATE, momentum=MOMENTUM, nesterov=True),
            "Adam": tr.Adam(ADAM_RATE, eps=eps),
            "AdamW": tr.Adam(ADAM_RATE, eps=eps),
        }[optimizer],
    )  # fmt: skip
    return net.params


def train_torch(
    optimizer: str, weight_decay: float = 0.0, l1: float = 0.0, l2: float = 0.0,
    decoupled_l1: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """`weight_decay` is the optimizer's own, of the weights; l1 and l2 stand in the loss.

    `decoupled_l1` is no setting of PyTorch: w ← w − η λ sign(w), written here before the step, as
    AdamW does with 2λw.
    """
    import torch

    net, (X, y) = start(), map(torch.tensor, problem())
    linear = [torch.nn.Linear(*W.shape, dtype=torch.float64) for W in net.weights]
    with torch.no_grad():
        for layer, W, b in zip(linear, net.weights, net.biases, strict=True):
            layer.weight.copy_(torch.tensor(W.T))
            layer.bias.copy_(torch.tensor(b))
    model = torch.nn.Sequential(linear[0], torch.nn.Tanh(), linear[1], torch.nn.Tanh(), linear[2])
    weights = [layer.weight for layer in linear]
    groups = [
        {"params": weights, "weight_decay": weight_decay},
        {"params": [layer.bias for layer in linear], "weight_decay": 0.0},
    ]
    if optimizer == "Adam":
        stepper = torch.optim.Adam(groups, ADAM_RATE, eps=EPS)
    elif optimizer == "AdamW":
        stepper = torch.optim.AdamW(groups, ADAM_RATE, eps=EPS)
    else:
        momentum = 0.0 if optimizer == "SGD" else MOMENTUM
        stepper = torch.optim.SGD(
            groups, SGD_RATE, momentum, nesterov=optimizer == "SGD + Nesterov"
        )
    for rows in batches():
        stepper.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(X[rows]), y[rows])
        loss = loss + sum(l1 * W.abs().sum() + l2 * W.square().sum() for W in weights)
        loss.backward()
        with torch.no_grad():
            for W in weights:
                W -= ADAM_RATE * decoupled_l1 * W.sign()
        stepper.step()
    return flat(
        [layer.weight.detach().numpy().T for layer in linear],
        [layer.bias.detach().numpy() for layer in linear],
    )


@contextlib.contextmanager
def keras_dtype(dtype: str) -> Iterator[None]:
    """Keras keeps learning rates in its global floatx, whatever the dtype of the layers."""
    import keras

    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def keras_dense64() -> type:
    """A dense layer with PyTorch's product: Keras multiplies matrices of float64 in float32.

    (Its promotion rules end there, except with TensorFlow.) All else stays Keras' own.
    """
    import keras

    class Dense64(keras.layers.Dense):
        def call(self, inputs):
            return self.activation(inputs @ self.kernel.value + self.bias.value)

    return Dense64


def train_keras(
    optimizer: str, weight_decay: float = 0.0, l1: float = 0.0, l2: float = 0.0,
    dtype: str = "float64",
) -> np.ndarray:  # fmt: skip
    """l1 and l2 are kernel regularisers; `weight_decay` is the optimizer's, of the weights."""
    import keras

    with keras_dtype(dtype):
        net, (X, y) = start(dtype), problem()
        Dense = keras_dense64() if dtype == "float64" else keras.layers.Dense
        penalty = keras.regularizers.L1(l1) if l1 else keras.regularizers.L2(l2)
        model = keras.Sequential([keras.Input((SIZES[0],), dtype=dtype)])
        for width, activation in zip(SIZES[1:], ("tanh", "tanh", None), strict=True):
            model.add(Dense(width, activation, kernel_regularizer=penalty, dtype=dtype))
        model.set_weights([a for pair in zip(net.weights, net.biases, strict=True) for a in pair])
        decay = weight_decay or None
        if optimizer == "Adam":
            stepper = keras.optimizers.Adam(ADAM_RATE, epsilon=NO_EPS, weight_decay=decay)
        elif optimizer == "AdamW":
            stepper = keras.optimizers.AdamW(ADAM_RATE, decay, epsilon=NO_EPS)
        else:
            momentum = 0.0 if optimizer == "SGD" else MOMENTUM
            stepper = keras.optimizers.SGD(
                SGD_RATE, momentum, optimizer == "SGD + Nesterov", weight_decay=decay
            )
        stepper.exclude_from_weight_decay(var_names=["bias"])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype)
        model.compile(stepper, loss)
        X = X.astype(dtype)
        for rows in batches():
            model.train_on_batch(X[rows], y[rows])
        arrays = [variable.value.detach().numpy() for variable in model.weights]
        return flat(arrays[::2], arrays[1::2])


def train_sklearn(
    optimizer: str, alpha: float, batch_size: int, regression: bool = False
) -> np.ndarray:
    """`MLPClassifier` or `MLPRegressor`: one `partial_fit` for each epoch, in its order."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    net, (X, y) = start(), problem()
    y = real_targets() if regression else y
    model = (MLPRegressor if regression else MLPClassifier)(
        hidden_layer_sizes=SIZES[1:-1], alpha=alpha, batch_size=batch_size, shuffle=False,
        solver="adam" if optimizer == "Adam" else "sgd",
        learning_rate_init=ADAM_RATE if optimizer == "Adam" else SGD_RATE, epsilon=NO_EPS,
        momentum=0.0 if optimizer == "SGD" else MOMENTUM,
        nesterovs_momentum=optimizer == "SGD + Nesterov", activation="tanh",
    )  # fmt: skip
    # It has no way to be given its first weights: it makes its own, which are then replaced.
    model.partial_fit(X, y, **({} if regression else {"classes": range(SIZES[-1])}))
    del model._optimizer
    for own, given in zip(
        (*model.coefs_, *model.intercepts_), (*net.weights, *net.biases), strict=True
    ):
        own[...] = given
    for order in orders():
        model.partial_fit(X[order], y[order])
    return flat(model.coefs_, model.intercepts_)


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Over the largest number in them."""
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def torch_difference(case: Case) -> float:
    ours = train_tinyreg(case.optimizer, case.penalty, case.method)
    return largest_difference(ours, train_torch(case.optimizer, **case.settings))


def keras_difference(case: Case, dtype: str) -> float:
    """Both in this dtype."""
    ours = train_tinyreg(case.optimizer, case.penalty, case.method, dtype, NO_EPS)
    return largest_difference(ours, train_keras(case.optimizer, **case.settings, dtype=dtype))


def sklearn_difference(optimizer: str, regression: bool = False) -> float:
    """Batches of 24, which are all full: scikit-learn divides alpha by the size of each."""
    settings: dict[str, Any] = {"batch_size": 24, "regression": regression}
    ours = train_tinyreg(optimizer, tr.L2(LAM), eps=NO_EPS, **settings)
    return largest_difference(ours, train_sklearn(optimizer, 2 * LAM * 24, **settings))


def rounding(case: Case) -> float:
    """What 200 steps of float32 do to tinyreg itself: the yardstick for a peer in float32."""
    exact, rounded = (
        train_tinyreg(case.optimizer, case.penalty, case.method, dtype, NO_EPS)
        for dtype in ("float64", "float32")
    )
    return largest_difference(exact, rounded)


# ------------------------------------------------------------ gradients: (by hand, by autograd)

Pair = tuple[np.ndarray, np.ndarray]
Z = np.concatenate([np.linspace(-40, 40, 401), [-1e-8, 1e-8]])  # 0 is one of them
M, K = 7, 3

_rng = np.random.default_rng(4)
_labels = _rng.integers(0, K, M)
_rows = _rng.dirichlet(np.ones(K), M)
_answers = _rng.integers(0, 2, (M, K)).astype(float)
_targets = _rng.normal(size=(M, K))
_weight = _rng.random(M) + 0.1
LOSSES = {
    "softmax, labels": (tr.SoftmaxCrossEntropy(), _labels, None),
    "softmax, probabilities": (tr.SoftmaxCrossEntropy(), _rows, None),
    "softmax, sample weights": (tr.SoftmaxCrossEntropy(), _labels, _weight),
    "sigmoid, multilabel": (tr.SigmoidCrossEntropy(), _answers, None),
    "sigmoid, sample weights": (tr.SigmoidCrossEntropy(), _answers, _weight),
    "squared error, 3 outputs": (tr.SquaredError(), _targets, None),
    "squared error, sample weights": (tr.SquaredError(), _targets, _weight),
}
PENALTIES = {
    "L1": (tr.L1(0.1), lambda W: 0.1 * W.abs().sum()),
    "L2": (tr.L2(0.1), lambda W: 0.1 * W.square().sum()),
    "elastic net": (
        tr.ElasticNet(0.1, 0.2), lambda W: 0.1 * W.abs().sum() + 0.2 * W.square().sum()
    ),
    "group lasso": (
        tr.GroupLasso(0.1, axis=1), lambda W: 0.1 * W.shape[1] ** 0.5 * W.norm(dim=1).sum()
    ),
}  # fmt: skip


def torch_activation(name: str):
    import torch

    F = torch.nn.functional
    if name == "identity":
        return lambda z: z
    if name == "softplus":  # beyond its threshold of 20 it returns z, which is 2e-9 off
        return lambda z: F.softplus(z, threshold=1e9)
    return getattr(F, name)  # leaky_relu and gelu have tinyreg's slope and form by default


def torch_loss(loss: losses.Loss, z, y: np.ndarray, sample_weight: np.ndarray | None):
    """tinyreg's mean over samples, of PyTorch's loss of each number."""
    import torch

    F, y = torch.nn.functional, torch.tensor(y)
    if isinstance(loss, tr.SoftmaxCrossEntropy):
        each = F.cross_entropy(z, y, reduction="none")
    elif isinstance(loss, tr.SigmoidCrossEntropy):
        each = F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(dim=1)
    else:
        each = 0.5 * F.mse_loss(z, y, reduction="none").sum(dim=1)
    if sample_weight is None:
        return each.mean()
    weight = torch.tensor(sample_weight)
    return (weight * each).sum() / weight.sum()


def autograd(function, *arrays: np.ndarray) -> list[np.ndarray]:
    """The gradients of a scalar function of tensors."""
    import torch

    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    return [g.numpy() for g in torch.autograd.grad(function(*tensors), tensors)]


def activation_pair(name: str) -> Pair:
    import torch

    da = np.random.default_rng(5).normal(size=Z.shape)
    f = torch_activation(name)
    (theirs,) = autograd(lambda z: (torch.tensor(da) * f(z)).sum(), Z)
    return layers.ACTIVATIONS[name].backward(da, Z), theirs


def affine_pair() -> Pair:
    import torch

    rng = np.random.default_rng(6)
    x, W, b, dz = (rng.normal(size=shape) for shape in ((7, 5), (5, 3), (3,), (7, 3)))

    def function(x, W, b):
        return (torch.tensor(dz) * torch.nn.functional.linear(x, W.T, b)).sum()

    ours = layers.affine_backward(dz, x, W, b)
    return flat(ours, []), flat(autograd(function, x, W, b), [])


def dropout_pair() -> Pair:
    """With PyTorch's own mask: what it makes of ones."""
    import torch

    rng = np.random.default_rng(7)
    a, dout = rng.normal(size=(2, 20, 30))

    def dropped(a):
        torch.manual_seed(0)
        return torch.nn.functional.dropout(a, 0.25)

    mask = dropped(torch.ones(a.shape, dtype=torch.float64)).numpy()
    assert set(np.unique(mask)) == {0.0, 1 / 0.75}
    (theirs,) = autograd(lambda a: (torch.tensor(dout) * dropped(a)).sum(), a)
    return layers.dropout_backward(dout, a, mask), theirs


def layer_pairs() -> dict[str, Pair]:
    pairs = {"affine": affine_pair(), "dropout": dropout_pair()}
    return pairs | {name: activation_pair(name) for name in layers.ACTIVATIONS}


def loss_pairs(name: str) -> dict[str, Pair]:
    loss, y, weight = LOSSES[name]
    z = 3 * np.random.default_rng(8).normal(size=(M, K))
    z[0] = [50.0, 0.0, -50.0]  # saturated
    value = torch_loss(loss, _tensor(z), y, weight).item()
    (gradient,) = autograd(lambda z: torch_loss(loss, z, y, weight), z)
    return {
        "value": (np.array([loss.value(z, y, weight)]), np.array([value])),
        "gradient": (loss.gradient(z, y, weight), gradient),
    }


def penalty_pairs(name: str) -> dict[str, Pair]:
    """With a row of weights at 0, and one more."""
    penalty, theirs = PENALTIES[name]
    W = np.random.default_rng(9).normal(size=(5, 4))
    W[0] = 0.0
    W[1, 1] = 0.0
    (gradient,) = autograd(theirs, W)
    return {
        "value": (np.array([penalty.value(W)]), np.array([theirs(_tensor(W)).item()])),
        "gradient": (penalty.subgradient(W), gradient),
    }


def network_pair(activation: str, loss_name: str, penalty_name: str, dropout: bool = False) -> Pair:
    """F = L + R of a network with two hidden layers, all its parameters."""
    loss, y, weight = LOSSES[loss_name]
    penalty, torch_penalty = PENALTIES[penalty_name]
    rng = np.random.default_rng(10)
    net = tr.MLP((5, 6, 4, K), activation, seed=11)
    net.params[net.n_weights :] = 0.1 * rng.normal(size=net.n_params - net.n_weights)
    net.weights[1][2] = 0.0  # one unit without outgoing weights
    X = rng.normal(size=(M, 5))
    masks = [layers.dropout_mask((M, n), 0.5, rng) for n in (6, 4)] if dropout else None
    f = torch_activation(activation)

    def function(*arrays):
        Ws, bs = arrays[:3], arrays[3:]
        x = _tensor(X)
        for i, (W, b) in enumerate(zip(Ws[:-1], bs[:-1], strict=True)):
            x = f(x @ W + b)
            x = x if masks is None else x * _tensor(masks[i])
        z = x @ Ws[-1] + bs[-1]
        return torch_loss(loss, z, y, weight) + sum(torch_penalty(W) for W in Ws)

    objective = tr.Objective(net, loss, penalty)
    if masks is None:
        ours = objective.gradient(X, y, sample_weight=weight)
    else:
        trace = net.trace(X, masks=masks)
        ours = net.backward(trace, loss.gradient(trace.outputs, y, weight))
        objective.add_subgradient(ours, net.params)
    return ours, flat(autograd(function, *net.weights, *net.biases), [])


def _tensor(array: np.ndarray):
    import torch

    return torch.tensor(array)
