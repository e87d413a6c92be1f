"""The network, the pass forward, the loss, the pass back."""

from __future__ import annotations

import numpy as np

from tinyreg.core import layers, losses
from tinyreg.core.objective import Objective
from tinyreg.explain.onepass import OnePass, Written, entries, has_kink, shown
from tinyreg.render.document import COLUMNS, ROWS, WHOLE, Table, equation, plain

#: f(z) and f'(z).
ACTIVATIONS = {
    "relu": ("max(z, 0)", "1 where z > 0, 0 elsewhere"),
    "leaky_relu": ("z where z > 0, 0.01 z elsewhere", "1 where z > 0, 0.01 elsewhere"),
    "tanh": ("tanh z", "1 − tanh² z"),
    "sigmoid": ("1/(1 + exp(−z))", "f(z) (1 − f(z))"),
    "softplus": ("log(1 + exp z)", "1/(1 + exp(−z))"),
    "gelu": ("z Φ(z)", "Φ(z) + z φ(z)"),
    "silu": ("z σ(z)", "σ(z) + z σ(z) (1 − σ(z))"),
    "identity": ("z", "1"),
}
#: The prediction, and what a sample costs.
LOSSES: dict[type[losses.Loss], tuple[str, str]] = {
    losses.SoftmaxCrossEntropy: ("softmax({z})", "−Σ_k y_k log p_k"),
    losses.SigmoidCrossEntropy: ("σ({z})", "−Σ_k (y_k log p_k + (1 − y_k) log(1 − p_k))"),
    losses.SquaredError: ("{z}", "½ Σ_k (p_k − y_k)²"),
}


def network(this: OnePass, objective: Objective) -> list[Written]:
    """What is explained (the objective as it came), and its parameters."""
    net, n = objective.net, len(this.trace.outputs)
    what = [plain(net), plain(objective.loss), f"penalty {plain(objective.penalty)}"]
    if objective.bias_penalty is not None:
        what.append(f"penalty of the biases {plain(objective.bias_penalty)}")
    rows = [
        [f"`{B.name}`", " × ".join(map(str, B.shape)), f"`{_affine(int(B.name[1:]))}`"]
        for B in this.blocks
    ]
    precision = "" if net.dtype == np.float64 else f" The network's are {net.dtype.name} numbers."
    pieces: list[Written] = [
        f"{', '.join(what)}; N = {n} sample{'s' if n > 1 else ''}.",
        "The objective is `F = L + R`, the mean loss of the samples plus the penalty. It is a "
        f"function of the {net.n_params} parameters `θ`:",
        Table(["", "shape", "used in"], rows, rule=True),
        "All numbers are the library's own, in float64, with four digits shown. 0 is exactly 0."
        + precision,
    ]
    if max(array.size for array in (*this.trace.activations, *net.weights)) > WHOLE:
        pieces.append(
            f"Of an array of more than {WHOLE} numbers, {ROWS} rows and {COLUMNS} columns are "
            "shown, and dots for the rest."
        )
    return pieces


def forward(this: OnePass) -> list[Written]:
    """Each layer's weighted sum and activation."""
    net, (zs, activations, _) = this.net, this.trace
    hidden = len(net.weights) - 1
    pieces: list[Written] = ["Each layer is a weighted sum of its inputs, plus a bias."]
    if hidden:
        pieces.append(
            f"Between two layers stands the activation f = {net.activation}, "
            f"`f(z) = {ACTIVATIONS[net.activation][0]}`, of each number alone."
        )
    for layer, (W, b) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
        x, z, a = activations[layer - 1], zs[layer - 1], activations[layer]
        pieces.append(equation(_affine(layer), x, W, "+", b, "=", z))
        if layer <= hidden:
            pieces.append(equation(f"a{layer} = f(z{layer})", "f", z, "=", a))
    return pieces


def loss(this: OnePass) -> list[Written]:
    """Prediction, target, L, and the gradient at the outputs."""
    loss, outputs, targets = this.loss, this.trace.outputs, this.targets
    n, z = len(outputs), f"z{len(this.net.weights)}"
    p, y = loss.predict(outputs), losses.one_hot(targets, outputs.shape[1])
    costs = loss.per_sample(outputs, targets)
    prediction, cost = LOSSES.get(type(loss), ("prediction({z})", "ℓ(p, y)"))
    pieces: list[Written] = [
        f"{plain(loss)} compares the prediction p with the target y.",
        equation(f"p = {prediction.format(z=z)}", p),
        equation("y", y),
        equation(f"ℓ = {cost}", costs if n > 1 else costs[0]),
        equation("L = Σ_n ℓ_n/N", loss.weighted_sum(outputs, targets, this.weight)),
    ]
    gradient = f"d{z} = ∂L/∂{z}"
    if type(loss) not in LOSSES:
        begins = "The backward pass begins at the outputs."
        return [*pieces, begins, equation(gradient, this.dout)]
    return [
        *pieces,
        "The gradient at the outputs is (prediction − target)/N, whichever of the three losses it "
        "is. Here the backward pass begins.",
        equation(f"{gradient} = (p − y)/N", "(", p, "−", y, ")", "/", str(n), "=", this.dout),
    ]


def backward(this: OnePass) -> list[Written]:
    """dz, dW and db of each layer, from the last to the first, beside central differences."""
    net, (zs, activations, _) = this.net, this.trace
    pieces: list[Written] = [
        "The chain rule, from the last layer to the first; `dz` is short for `∂L/∂z`. Beside each "
        "gradient stands the central difference `(L(θ + h) − L(θ − h))/2h` for that parameter "
        "alone, `h = 10⁻⁵ max(1, |θ|)`. It takes two forward passes, and knows no chain rule. The "
        "gap between the two is rounding."
    ]
    if len(net.weights) > 1:
        pieces.append(f"The slope of f is `f'(z) = {ACTIVATIONS[net.activation][1]}`.")
    f_backward, dz = layers.ACTIVATIONS[net.activation].backward, this.dout
    for layer in range(len(net.weights), 0, -1):
        x, W = activations[layer - 1], net.weights[layer - 1]
        da, dW, db = layers.affine_backward(dz, x, W, with_dx=layer > 1)
        blocks = this.blocks[2 * layer - 2 : 2 * layer]
        positions = [k for B in blocks for _, k in shown(B)]
        rows = [[f"`d{this.name(k)}`", *this.beside(k, this.gradient)] for k in positions]
        pieces += [
            equation(f"dW{layer} = {_input(layer)}ᵀ dz{layer}", x.T, dz, "=", dW),
            equation(f"db{layer} = column sums of dz{layer}", db),
            *entries(["", "gradient", "difference", "gap"], rows, blocks),
        ]
        if da is not None:
            below, z, above = layer - 1, zs[layer - 2], dz
            slope, dz = f_backward(np.ones_like(z), z, x), f_backward(da, z, x)
            pieces += [
                equation(f"da{below} = dz{layer} W{layer}ᵀ", above, W.T, "=", da),
                equation(f"dz{below} = da{below} ⊙ f'(z{below})", da, "⊙", slope, "=", dz),
            ]
            if not slope.all():
                pieces.append(
                    f"`f'(z{below})` is 0 for {np.sum(slope == 0)} of {slope.size} numbers: "
                    "nothing flows back through them."
                )
    if has_kink(pieces):
        pieces.append(
            "kink: a unit goes on or off between `θ − h` and `θ + h`, where L has a corner and a "
            "central difference is no judge. The backward pass takes the slope of the branch that "
            "the forward pass took, and at `z = 0` the one from the left."
        )
    return pieces


def _input(layer: int) -> str:
    """What goes into layer 1, 2, …"""
    return "x" if layer == 1 else f"a{layer - 1}"


def _affine(layer: int) -> str:
    return f"z{layer} = {_input(layer)} W{layer} + b{layer}"
