"""One forward and one backward pass, written out for a person: formula, shapes, numbers.

The numbers are those of `MLP`, the losses and the penalties; nothing is computed here a second
time but the central differences that stand beside the gradients.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinyreg.core.layers import ACTIVATIONS, affine_backward
from tinyreg.core.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from tinyreg.core.network import MLP, Trace
from tinyreg.core.objective import Objective
from tinyreg.core.optimizers import SGD
from tinyreg.core.penalties import L1, L2, ElasticNet, GroupLasso, Penalty
from tinyreg.core.training import start_states, step
from tinyreg.errors import DivergenceError
from tinyreg.render.document import (
    COLUMNS,
    ROWS,
    WHOLE,
    Piece,
    Section,
    Table,
    block,
    equation,
    number,
    plain,
    to_latex,
    to_markdown,
    to_text,
)
from tinyreg.validate import Array, check_integer, check_number, describe

#: f(z) and f'(z).
ACTIVATION_FORMULAS = {
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
LOSS_FORMULAS: dict[type[Loss], tuple[str, str]] = {
    SoftmaxCrossEntropy: ("softmax({z})", "−Σ_k y_k log p_k"),
    SigmoidCrossEntropy: ("σ({z})", "−Σ_k (y_k log p_k + (1 − y_k) log(1 − p_k))"),
    SquaredError: ("{z}", "½ Σ_k (p_k − y_k)²"),
}
#: What a weight costs (of a group: its norm), the slope, and the prox of u with step η.
PENALTY_FORMULAS: dict[type, tuple[str, str, str]] = {
    L1: ("λ|w|", "λ sign(w)", "u − clip(u, −ηλ, ηλ)"),
    L2: ("λw²", "2λw", "u/(1 + 2ηλ)"),
    ElasticNet: ("l1|w| + l2 w²", "l1 sign(w) + 2 l2 w", "(u − clip(u, −η l1, η l1))/(1 + 2η l2)"),
    GroupLasso: ("‖w_g‖", "λ√|g| w/‖w_g‖", "u_g (1 − ηλ√|g|/‖u_g‖)₊"),
}
ANY_PENALTY = ("R(w)", "∂R(w)", "argmin_v R(v) + ‖v − u‖²/2η")
HAND_PENALTY = L1(0.5)


@dataclass(frozen=True)
class Explanation:
    """A pass written out; `print` shows it as text.

    Attributes
    ----------
    title : str
    sections : list of Section
        Each has a `title` and `pieces`: sentences, equations and tables. Their numbers are not
        rounded.

    Examples
    --------
    >>> explanation = explain(*hand_example())
    >>> [section["title"] for section in explanation.to_dict()["sections"]]
    ['The network', 'Forward', 'The loss', 'Backward', 'The penalty', 'Step by step']
    >>> for form in (explanation.text(), explanation.markdown(), explanation.latex()):
    ...     print(form.splitlines()[0])
    A 2-2-2 network: one pass forward, one pass back
    # A 2-2-2 network: one pass forward, one pass back
    \\documentclass{article}
    """

    title: str
    sections: list[Section]

    def __str__(self) -> str:
        return self.text().rstrip("\n")

    def text(self) -> str:
        """For a terminal, at most about 100 characters wide."""
        return to_text(self.title, self.sections)

    def markdown(self) -> str:
        """GitHub's Markdown, with its tables and its maths."""
        return to_markdown(self.title, self.sections)

    def latex(self) -> str:
        """A whole document, which needs no more than amsmath."""
        return to_latex(self.title, self.sections)

    def to_dict(self) -> dict[str, Any]:
        """Strings, numbers, lists and dicts, ready for JSON."""
        return {
            "title": self.title,
            "sections": [
                {"title": title, "pieces": [_as_data(piece) for piece in pieces]}
                for title, pieces in self.sections
            ],
        }


class _Part(NamedTuple):
    """W1, b1, W2, …: its name, its positions in the parameter vector, its penalty."""

    name: str
    where: Array
    penalty: Penalty | None

    def shown(self) -> list[tuple[tuple[int, ...], str]]:
        """Index and name of the entries that are shown."""
        return [(i, self.entry(i)) for i in np.ndindex(block(self.where).shown.shape)]

    def entry(self, index: Sequence[int]) -> str:
        return f"{self.name}[{','.join(map(str, index))}]"


class _Pass(NamedTuple):
    """The objective on a network of its own, the samples, and what they give."""

    F: Objective
    X: Array
    targets: Array
    trace: Trace
    gradient: Array  # of L
    parts: list[_Part]


def hand_example(
    activation: str = "relu", loss: Loss | None = None, penalty: Penalty | None = HAND_PENALTY
) -> tuple[Objective, Array, Array]:
    """A 2-2-2 network, a sample and its target, with numbers that can be worked by hand.

    Under relu the second hidden unit is off, so that its weights feel the penalty only. With
    L1(0.5) and steps of 0.1 each step moves those by 0.05: W2[1,0] goes from 0.08 to 0.03, and
    then the subgradient moves it to −0.02 and back for ever.

    Parameters
    ----------
    activation : str
        As for `MLP`.
    loss : Loss, optional
        SquaredError() if left out; the target (1, 0) suits all three.
    penalty : Penalty or None
        As for `Objective`.

    Returns
    -------
    objective : Objective
    X, y : (1, 2) arrays

    Examples
    --------
    >>> objective, X, y = hand_example()
    >>> objective.net.forward(X).round(12), round(objective.value(X, y), 12)
    (array([[ 1.5, -0.5]]), 2.29)
    """
    net = MLP((2, 2, 2), activation)
    W1, W2 = [[0.1, -1.0], [0.9, 0.25]], [[0.5, -0.25], [0.08, 1.0]]
    net.params = np.ravel([*W1, *W2, [0.1, 0.0], [0.5, 0.0]])
    objective = Objective(net, SquaredError() if loss is None else loss, penalty)
    return objective, np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])


def explain(
    objective: Objective, X: ArrayLike, y: ArrayLike, *, lr: float = 0.1, steps: int = 6
) -> Explanation:
    """One forward and one backward pass with its numbers; then the penalty, and a few steps.

    Beside each gradient stands its central difference. The penalty is shown weight by weight:
    value, slope, prox. Last, SGD goes some steps from the same weights by subgradient and by prox.
    The network is left as it is.

    Parameters
    ----------
    objective : Objective
        It is computed in float64, whatever the dtype of its network.
    X, y : arrays
        The samples, one or more, and their targets, as the objective takes them.
    lr : float
        η > 0, the step size of the prox and of the steps.
    steps : int
        How many; at least 1.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError, TypeError
        If an argument is not as it should be.
    DivergenceError
        If the steps lead to a number that is not finite.

    Examples
    --------
    >>> text = explain(*hand_example()).text()
    >>> print(text[text.index("z1 = x W1 + b1   ") : text.index("a1 = f(z1)")].rstrip())
    z1 = x W1 + b1        (1×2)(2×2) + (2) = (1×2)
    <BLANKLINE>
      = [ 1  2 ] [ 0.1    -1 ] + [ 0.1  0 ] = [ 2  -0.5 ]
                 [ 0.9  0.25 ]
    """
    if not isinstance(objective, Objective):
        raise TypeError(f"objective must be an Objective, got {describe(objective)}")
    lr = check_number("lr", lr, above=0)
    check_integer("steps", steps, least=1)
    objective.check(X, y)
    F = _on_own_network(objective)
    net, data = F.net, F.check(X, y)
    penalties = F.penalty if isinstance(F.penalty, Sequence) else [F.penalty] * len(net.weights)
    layers = zip(*net.unpack(np.arange(net.n_params)), penalties, strict=True)
    parts = [
        part
        for layer, (W, b, R) in enumerate(layers, start=1)
        for part in (_Part(f"W{layer}", W, R), _Part(f"b{layer}", b, F.bias_penalty))
    ]
    gradient = F.data_gradient(X, y)
    this = _Pass(F, data.X, data.targets, net.trace(X), gradient, parts)
    sections = [
        Section("The network", _network(objective, this)),
        Section("Forward", _forward(this)),
        Section("The loss", _loss(this)),
        Section("Backward", _backward(this)),
        Section("The penalty", _penalty(this, lr)),
    ]
    if F.penalised:
        sections.append(Section("Step by step", _walk(this, lr, steps)))
    sizes = "-".join(map(str, net.sizes))
    return Explanation(f"A {sizes} network: one pass forward, one pass back", sections)


def _on_own_network(objective: Objective) -> Objective:
    """The objective on a copy of its network, in float64."""
    own, net = copy.copy(objective), MLP(objective.net.sizes, objective.net.activation)
    net.params = objective.net.params
    own.net = net
    return own


def _input(layer: int) -> str:
    """What goes into layer 1, 2, …"""
    return "x" if layer == 1 else f"a{layer - 1}"


def _network(objective: Objective, this: _Pass) -> list[Piece]:
    net, n = objective.net, len(this.X)
    what = [plain(net), plain(objective.loss), f"penalty {plain(objective.penalty)}"]
    if objective.bias_penalty is not None:
        what.append(f"penalty of the biases {plain(objective.bias_penalty)}")
    pieces: list[Piece] = [
        ", ".join(what) + f"; N = {n} sample{'s' if n > 1 else ''}.",
        "The objective is `F = L + R`, the mean loss of the samples plus the penalty. It is a "
        f"function of the {net.n_params} parameters `θ`:",
        Table(
            ["", "shape", "used in"],
            [
                [
                    f"`{part.name}`",
                    " × ".join(map(str, part.where.shape)),
                    f"`{_affine(i // 2 + 1)}`",
                ]
                for i, part in enumerate(this.parts)
            ],
        ),
        "All numbers are the library's own, in float64, with four digits shown. 0 is exactly 0."
        + ("" if net.dtype == np.float64 else f" The network's are {net.dtype.name} numbers."),
    ]
    arrays = [*this.trace.activations, *(part.where for part in this.parts)]
    if max(array.size for array in arrays) > WHOLE:
        pieces.append(
            f"Of an array of more than {WHOLE} numbers, {ROWS} rows and {COLUMNS} columns are "
            "shown, and dots for the rest."
        )
    return pieces


def _affine(layer: int) -> str:
    return f"z{layer} = {_input(layer)} W{layer} + b{layer}"


def _forward(this: _Pass) -> list[Piece]:
    net, trace = this.F.net, this.trace
    hidden = len(net.weights) - 1
    pieces: list[Piece] = ["Each layer is a weighted sum of its inputs, plus a bias."]
    if hidden:
        pieces.append(
            f"Between two layers stands the activation f = {net.activation}, "
            f"`f(z) = {ACTIVATION_FORMULAS[net.activation][0]}`, of each number alone."
        )
    for layer, (W, b) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
        x, z = trace.activations[layer - 1], trace.pre_activations[layer - 1]
        pieces.append(equation(_affine(layer), x, W, "+", b, "=", z))
        if layer <= hidden:
            a = trace.activations[layer]
            pieces.append(equation(f"a{layer} = f(z{layer})", "f", z, "=", a))
    return pieces


def _loss(this: _Pass) -> list[Piece]:
    loss, outputs, n = this.F.loss, this.trace.outputs, len(this.X)
    last = f"z{len(this.F.net.weights)}"
    prediction, cost = LOSS_FORMULAS.get(type(loss), ("prediction({z})", "ℓ(p, y)"))
    y = np.eye(outputs.shape[1])[this.targets] if this.targets.ndim == 1 else this.targets
    p, dz = loss.predict(outputs), loss.delta(outputs, this.targets, 1.0 / n)
    costs, L = loss.per_sample(outputs, this.targets), loss.value(outputs, this.targets)
    begins, gradient = (
        "The backward pass begins at the outputs.",
        equation(f"d{last} = ∂L/∂{last}", dz),
    )
    if type(loss) in LOSS_FORMULAS:
        begins = (
            "The gradient at the outputs is (prediction − target)/N, whichever of the three losses "
            "it is. Here the backward pass begins."
        )
        gradient = equation(
            f"d{last} = ∂L/∂{last} = (p − y)/N", "(", p, "−", y, ")", "/", str(n), "=", dz
        )
    return [
        f"{plain(loss)} compares the prediction p with the target y.",
        equation(f"p = {prediction.format(z=last)}", p),
        equation("y", y),
        equation(f"ℓ = {cost}", costs if n > 1 else costs[0]),
        equation("L = Σ_n ℓ_n/N", L),
        begins,
        gradient,
    ]


def _backward(this: _Pass) -> list[Piece]:
    net, trace = this.F.net, this.trace
    pieces: list[Piece] = [
        "The chain rule, from the last layer to the first; `dz` is short for `∂L/∂z`. Beside each "
        "gradient stands the central difference `(L(θ + h) − L(θ − h))/2h` for that parameter "
        "alone, `h = 10⁻⁵ max(1, |θ|)`. It takes two forward passes, and knows no chain rule. The "
        "gap between the two is rounding."
    ]
    if len(net.weights) > 1:
        pieces.append(f"The slope of f is `f'(z) = {ACTIVATION_FORMULAS[net.activation][1]}`.")
    kinks = False
    dz = this.F.loss.delta(trace.outputs, this.targets, 1.0 / len(this.X))
    for layer in range(len(net.weights), 0, -1):
        x, W = trace.activations[layer - 1], net.weights[layer - 1]
        da, dW, db = affine_backward(dz, x, W, with_dx=layer > 1)
        pieces += [
            equation(f"dW{layer} = {_input(layer)}ᵀ dz{layer}", x.T, dz, "=", dW),
            equation(f"db{layer} = column sums of dz{layer}", db),
        ]
        table = Table(["", "gradient", "difference", "gap"], [])
        for part in this.parts[2 * layer - 2 : 2 * layer]:
            for index, name in part.shown():
                beside = _beside(this, part.where[index], this.gradient, penalty=False)
                table.rows.append([f"`d{name}`", *beside])
                kinks |= "kink" in beside
        pieces += [table, *_left_out(table, W.size + db.size)]
        if da is not None:
            z, a = trace.pre_activations[layer - 2], x
            backward = ACTIVATIONS[net.activation].backward
            slope, dz_below = backward(np.ones_like(z), z, a), backward(da, z, a)
            below = layer - 1
            pieces += [
                equation(f"da{below} = dz{layer} W{layer}ᵀ", dz, W.T, "=", da),
                equation(f"dz{below} = da{below} ⊙ f'(z{below})", da, "⊙", slope, "=", dz_below),
            ]
            dz = dz_below
            if not slope.all():
                pieces.append(
                    f"`f'(z{below})` is 0 for {np.sum(slope == 0)} of {slope.size} numbers: "
                    "nothing flows back through them."
                )
    if kinks:
        pieces.append(
            "kink: a unit goes on or off between `θ − h` and `θ + h`, where L has a corner and a "
            "central difference is no judge. The backward pass takes the slope of the branch that "
            "the forward pass took, and at `z = 0` the one from the left."
        )
    return pieces


def _beside(this: _Pass, k: int, gradient: Array, penalty: bool) -> list[str | float]:
    """A gradient, the central difference of L (or of F, with the penalty), and the gap."""
    F, g = this.F, float(gradient[k])
    plus, minus = F.net.params.copy(), F.net.params.copy()
    h = 1e-5 * max(1.0, abs(plus[k]))
    plus[k] += h
    minus[k] -= h
    if _kink_between(this, k, plus, minus, penalty):
        return [g, "kink", "·"]
    above, below = (F.terms(this.X, this.targets, params) for params in (plus, minus))
    change = above.total - below.total if penalty else above.data - below.data
    measured = change / (plus[k] - minus[k])
    return [g, measured, abs(g - measured)]


def _kink_between(this: _Pass, k: int, plus: Array, minus: Array, penalty: bool) -> bool:
    """Does a unit go on or off, or the penalty's slope jump, between two parameter vectors?"""
    F = this.F
    if F.net.activation in ("relu", "leaky_relu"):
        before, after = (F.net.trace(this.X, p).pre_activations[:-1] for p in (minus, plus))
        if any(np.any((a > 0) != (b > 0)) for a, b in zip(before, after, strict=True)):
            return True
    for where, R in F.penalised:
        if penalty and not R.smooth and where.start <= k < where.stop:
            return _corner_between(R, plus[where], k - where.start, minus[k])
    return False


def _corner_between(R: Penalty, w: Array, i: int, low: float) -> bool:
    """Does the slope of R in w_i jump between `low` and w_i, with the other weights as they are?

    The interval is halved towards the greater change. After 40 times nothing is left of the change
    of a smooth slope, and of a jump all.
    """

    def slope(at: float) -> float:
        w[i] = at
        return float(R.subgradient(w)[i])

    w, high = w.copy(), float(w[i])
    at_high, at_low = slope(high), slope(low)
    whole = at_high - at_low
    for _ in range(40):
        middle = (low + high) / 2
        at_middle = slope(middle)
        if at_middle - at_low > at_high - at_middle:
            high, at_high = middle, at_middle
        else:
            low, at_low = middle, at_middle
    return at_high - at_low > 1e-6 * whole


def _left_out(table: Table, whole: int) -> list[Piece]:
    shown = len(table.rows)
    return [f"{shown} of {whole} are shown."] if shown < whole else []


def _penalty(this: _Pass, lr: float) -> list[Piece]:
    F, params = this.F, this.F.net.params
    if not F.penalised:
        return ["There is none: `R = 0` and `F = L`, and each step follows the gradient of L."]
    L, R = F.terms(this.X, this.targets)
    parts = [part for part in this.parts if part.penalty is not None]
    values = [p.penalty.value(params[p.where]) for p in parts if p.penalty is not None]
    summed = [item for value in values for item in ("+", value)][1:]
    pieces: list[Piece] = [
        f"R is a function of the {_what(parts)}; its strength stands in R and nowhere else.",
        equation(f"R = {' + '.join(f'R({p.name})' for p in parts)}", *summed, "=", R),
        equation("F = L + R", L, "+", R, "=", L + R),
    ]
    while parts:
        penalty = parts[0].penalty
        same = [part.penalty is penalty or repr(part.penalty) == repr(penalty) for part in parts]
        pieces += _of_one_penalty(this, list(itertools.compress(parts, same)), lr)
        parts = [part for part, alike in zip(parts, same, strict=True) if not alike]
    return pieces


def _what(parts: list[_Part]) -> str:
    kinds = {part.name[0] for part in parts}
    names = {"W": "weights", "b": "biases"}
    return " and of the ".join(names[kind] for kind in names if kind in kinds)


def _of_one_penalty(this: _Pass, parts: list[_Part], lr: float) -> list[Piece]:
    F, params, R = this.F, this.F.net.params, parts[0].penalty
    assert R is not None
    formulas = PENALTY_FORMULAS.get(type(R), ANY_PENALTY)
    if isinstance(R, GroupLasso) and (R.l1 or R.l2):
        formulas = ("‖w_g‖", *ANY_PENALTY[1:])
    value, slope, prox = formulas
    whole = F.gradient(this.X, this.targets)
    slopes = Table(
        ["", "`w`", f"`{value}`", f"`{slope}`", "`∂L/∂w`", "`∂F/∂w`", "difference", "gap"],
        [],
    )
    proxes = Table(["", "`w`", "`∂L/∂w`", "`u`"], [])
    for part in parts:
        w, g = params[part.where], this.gradient[part.where]
        pull, u = R.subgradient(w), w - lr * g
        between = _within_prox(R, u, lr)
        if len(proxes.headers) == 4:
            proxes.headers.extend([*between, "`prox(u)`"])
        after = R.prox(u, lr)
        for i, name in part.shown():
            beside = _beside(this, part.where[i], whole, penalty=True)
            slopes.rows.append([f"`{name}`", w[i], _cost(R, w, i), pull[i], g[i], *beside])
            columns = [np.broadcast_to(column, w.shape)[i] for column in between.values()]
            proxes.rows.append([f"`{name}`", w[i], g[i], u[i], *columns, after[i]])
    groups = ""
    if isinstance(R, GroupLasso):
        rest = " + l1 Σ|w| + l2 Σw²" if R.l1 or R.l2 else ""
        groups = f" `R(W) = λ Σ_g √|g| ‖w_g‖{rest}`, and a group g is a "
        groups += "row of W." if R.axis == 1 else "column of W."
    aside = " Here clip(u, a, b) is u, limited to [a, b]." if "clip" in prox else ""
    if R.smooth:
        aside += " (Training needs no prox of a penalty that is smooth, and goes by its slope.)"
    of = sum(part.where.size for part in parts)
    names = ", ".join(part.name for part in parts)
    return [
        f"{plain(R)}, of {names}.{groups} Its slope adds to that of L. Beside the sum `∂F/∂w` "
        "stands the central difference of F.",
        slopes,
        *_left_out(slopes, of),
        *_at_corner(slopes),
        "The prox trades a small R against staying near u: `prox(u)` is the v with the least "
        f"`R(v) + ‖v − u‖²/2η`. With η = {number(lr)}, first a step on L alone, "
        f"`u = w − η ∂L/∂w`, then `prox(u) = {prox}`." + aside,
        proxes,
        *_left_out(proxes, of),
    ]


def _at_corner(slopes: Table) -> list[Piece]:
    if not any("kink" in row for row in slopes.rows):
        return []
    return [
        "kink: between `w − h` and `w + h` the penalty (or a unit) has a corner, and a central "
        "difference is no judge. At 0 the library takes the slope 0."
    ]


def _cost(R: Penalty, w: Array, i: tuple[int, ...]) -> str | float:
    """What one weight costs; the norm of its group, where groups are what costs."""
    if isinstance(R, GroupLasso):
        return float(np.linalg.norm(w[i[0]] if R.axis == 1 else w[:, i[1]]))
    return R.value(w[i].reshape(1)) if getattr(R, "elementwise", True) else "·"


def _within_prox(R: Penalty, u: Array, lr: float) -> dict[str, float | Array]:
    """What a prox computes on its way, as columns."""
    if type(R) not in PENALTY_FORMULAS:  # a class derived from one of ours may have another prox
        return {}
    match R:
        case L1():
            return {"threshold `ηλ`": lr * R.lam}
        case L2():
            return {"divisor `1 + 2ηλ`": 1 + 2 * lr * R.lam}
        case ElasticNet():
            return {"threshold `η l1`": lr * R.l1, "divisor `1 + 2η l2`": 1 + 2 * lr * R.l2}
        case GroupLasso(l1=0, l2=0):
            norms = np.linalg.norm(u, axis=R.axis, keepdims=True)
            return {"threshold `ηλ√|g|`": lr * R.lam * u.shape[R.axis] ** 0.5, "`‖u_g‖`": norms}
    return {}


def _walk(this: _Pass, lr: float, steps: int) -> list[Piece]:
    smooth = all(R.smooth for _, R in this.F.penalised)
    by_subgradient = _path(this, lr, steps, "subgradient")
    by_prox = _path(this, lr, steps, "proximal")
    penalised = np.zeros(by_prox.shape[1], bool)
    for where, _ in this.F.penalised:
        penalised[where] = True
    chosen = _most_telling(by_prox, np.flatnonzero(penalised))
    names = [_name(this.parts, k) for k in chosen]
    samples = "this sample" if len(this.X) == 1 else "these samples"
    mixed = not smooth and any(R.smooth for _, R in this.F.penalised)
    rule = "`w ← w − η (∂L/∂w + s)`, where s is the penalty's slope at w"
    if smooth:
        pieces: list[Piece] = [
            f"SGD with η = {number(lr)} on {samples}: {rule}. The penalty has a slope "
            'everywhere, so that method="proximal" goes by it too, and takes the same steps.'
        ]
        headers = [f"`{name}`" for name in names]
        columns = list(by_subgradient[:, chosen].T)
    else:
        pieces = [
            f"SGD with η = {number(lr)} on {samples}, twice from the same weights. By "
            f"subgradient: {rule}. By prox: `w ← prox(w − η ∂L/∂w)`."
            + (" Smooth penalties go by their slope there too." if mixed else "")
        ]
        headers = [text for name in names for text in (f"`{name}` subgr.", "prox")]
        columns = [c for k in chosen for c in (by_subgradient[:, k], by_prox[:, k])]
    table = Table(["step", *headers], [])
    for t in range(steps + 1):
        table.rows.append([str(t), *(float(column[t]) for column in columns)])
    pieces.append(table)
    told = [_told(f"By {'gradient' if smooth else 'subgradient'}", by_subgradient[:, penalised])]
    if not smooth:
        told.append(_told("By prox", by_prox[:, penalised]))
        for k, name in zip(chosen, names, strict=True):
            rests = steps + 1 - int(np.argmax(np.append(by_prox[::-1, k], 1.0) != 0))
            if rests <= steps:
                signs = np.sign(by_subgradient[:, k])
                flips = int(np.sum(signs[1:] * signs[:-1] < 0))
                told.append(
                    f"{name} rests at exactly 0 from step {rests} on by prox; by subgradient it "
                    f"changed sign {_times(flips, 'time')}, and is "
                    f"{number(by_subgradient[-1, k])} at the end."
                )
        if not (by_prox[-1, penalised] == 0).any():
            told.append(f"A larger λ or η, or more steps than {steps}, would show weights at rest.")
    pieces.append(" ".join(told))
    return pieces


def _path(this: _Pass, lr: float, steps: int, method: str) -> Array:
    """The parameters before the first step and after each, (steps + 1, n_params)."""
    F, optimizer = _on_own_network(this.F), SGD(lr)
    states, path = start_states(F, optimizer), [F.net.params.copy()]
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(1, steps + 1):
            gradient = F.data_gradient(this.X, this.targets)
            step(F, optimizer, states, gradient, method)
            if not np.isfinite(F.net.params).all():
                raise DivergenceError(
                    f"the steps by {method} diverged at step {t}; try a learning rate below {lr:g}"
                )
            path.append(F.net.params.copy())
    return np.array(path)


def _most_telling(path: Array, among: Array) -> list[int]:
    """Two weights that the prox puts to 0 first, and the largest; or the three largest."""
    zero = (path[:, among] == 0) & (path[0, among] != 0)
    when = np.where(zero.any(axis=0), zero.argmax(axis=0), len(path))
    first = [int(k) for k in among[np.argsort(when, kind="stable")][: min(2, zero.any(0).sum())]]
    large = [int(k) for k in among[np.argsort(-np.abs(path[0, among]), kind="stable")]]
    return [*first, *(k for k in large if k not in first)][:3]


def _name(parts: list[_Part], k: int) -> str:
    """W1[0,1] for a position in the parameter vector."""
    part = next(part for part in parts if k in part.where)
    return part.entry(np.argwhere(part.where == k)[0].tolist())


def _times(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _told(method: str, path: Array) -> str:
    """What happened to all penalised weights along a path."""
    signs = np.sign(path)
    flips, zeros = int(np.sum(signs[1:] * signs[:-1] < 0)), int(np.sum(path[-1] == 0))
    return (
        f"{method}, the {_times(path.shape[1], 'penalised parameter')} changed sign "
        f"{_times(flips, 'time')} in {_times(len(path) - 1, 'step')}, and {zeros or 'none'} of "
        f"them {'are' if zeros > 1 else 'is'} exactly 0 at the end."
    )


def _as_data(piece: Piece) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"text": piece.replace("`", "")}
    if isinstance(piece, Table):
        rows = [
            [cell.replace("`", "") if isinstance(cell, str) else float(cell) for cell in row]
            for row in piece.rows
        ]
        return {"headers": [cell.replace("`", "") for cell in piece.headers], "rows": rows}
    numbers = [
        item if isinstance(item, str) else {"shape": item.shape, "shown": item.shown.tolist()}
        for item in piece.numbers
    ]
    return {"formula": piece.formula, "numbers": numbers}
