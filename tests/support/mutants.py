"""Mutants: gradients of tinyreg's networks, each with one mistake of a hand-written backward pass.

`Pass` is the chain rule written once more, step by step. A mistake replaces what one step gives,
in one layer (as in unrolled code) or in all (as in a loop). What the mistake is stands in the
mutant, as patterns of what may be said of it; `score` compares a report with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import tinyreg as tr
from tests.support.nets import random_targets
from tinyreg.core.layers import ACTIVATIONS, dropout_mask
from tinyreg.core.losses import one_hot

DEEPEST = 20
RATE = 0.3  # of dropout


class Case(NamedTuple):
    """A right objective with its samples; `penalties` has one (or None) for each layer."""

    objective: tr.Objective
    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    masks: list[np.ndarray] | None
    penalties: list

    def value(self, p):
        """F at p, for checkers that know nothing of networks."""
        F = self.objective
        if self.masks is None:
            return F.value(self.X, self.y, params=p, sample_weight=self.weight)
        outputs = F.net.trace(self.X, p, self.masks).outputs
        return F.loss.value(outputs, self.y, self.weight) + F.penalty_value(p)


def random_network(rng: np.random.Generator) -> Case:
    """1 to 20 layers, K and the other widths 1 to 10, N = 1 to 12; any activation and penalty."""
    n_layers = int(np.exp(rng.uniform(0, np.log(DEEPEST + 1))))
    loss = (tr.SoftmaxCrossEntropy(), tr.SigmoidCrossEntropy(), tr.SquaredError())[rng.integers(3)]
    widths = rng.integers(1, 9, n_layers + 1)
    if rng.random() < 0.3:
        widths[:] = rng.integers(2, 7)  # square, for transposes
    widths[-1] = rng.integers(2 if isinstance(loss, tr.SoftmaxCrossEntropy) else 1, 11)
    activation = str(rng.choice(sorted(ACTIVATIONS)))
    net = tr.MLP(tuple(widths.tolist()), activation, seed=rng)
    for b in net.biases:
        b[...] = 0.3 * rng.normal(size=b.shape)
    n = int(rng.integers(1, 13))
    X = rng.normal(size=(n, net.sizes[0]))
    y = random_targets(loss, n, net.sizes[-1], rng)
    weight = rng.random(n) + 0.1 if rng.random() < 0.2 else None
    masks = None
    if rng.random() < 0.15:
        masks = [dropout_mask((n, k), RATE, rng) for k in net.sizes[1:-1]]
    lam, other = 10.0 ** rng.uniform(-4, 0, 2)
    kinds = [None, tr.L1(lam), tr.L2(lam), tr.ElasticNet(lam, other), tr.GroupLasso(lam, 1)]
    kind = int(rng.integers(len(kinds) + 1))
    penalties = [kinds[min(kind, 4)]] * n_layers
    if kind == len(kinds):
        penalties = [kinds[i] for i in rng.integers(0, len(kinds), n_layers)]
    return Case(tr.Objective(net, loss, penalties), X, y, weight, masks, penalties)


# ---------------------------------------------------------------- the backward pass, once more


class Pass:
    """Forward and backward of a case at `params`, with all that a mistake may take by accident."""

    def __init__(self, case: Case, params: np.ndarray | None = None) -> None:
        F, self.case = case.objective, case
        self.params = F.net.params if params is None else params
        self.net, self.n = F.net, len(case.X)
        self.weights, self.biases = F.net.unpack(self.params)
        self.inputs, self.z, self.dz = [case.X], [], case.X
        self.f = ACTIVATIONS[F.net.activation].forward
        for layer, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            self.z.append(self.inputs[-1] @ W + b)
            a = self.f(self.z[-1])
            if case.masks is not None and layer < len(case.masks):
                a = a * case.masks[layer]
            self.inputs.append(a)
        self.target = one_hot(np.asarray(case.y), F.net.sizes[-1])
        self.prediction = F.loss.predict(self.z[-1])
        weight = np.ones(self.n) if case.weight is None else case.weight
        self.mean = (weight / weight.sum())[:, np.newaxis]

    def slope(self, z: np.ndarray) -> np.ndarray:
        """f'(z)."""
        return ACTIVATIONS[self.net.activation].backward(np.ones_like(z), z)

    def gradient(self, change: Callable) -> np.ndarray:
        """∇F, where change(step, layer, value) replaces what a step gives."""
        out = np.zeros_like(self.params)
        dW, db = self.net.unpack(out)
        last, masks = len(dW) - 1, self.case.masks
        dz = change("delta", last, self.mean * (self.prediction - self.target))
        for layer in range(last, -1, -1):
            self.dz = dz
            x = change("input", layer, self.inputs[layer])
            dW[layer][...] = change("dW", layer, x.T @ dz)
            db[layer][...] = change("db", layer, dz.sum(axis=0))
            if layer > 0:
                dx = change("dx", layer, dz @ change("W", layer, self.weights[layer]).T)
                if masks is not None:
                    dx = dx * change("mask", layer, masks[layer - 1])
                dz = dx * change("slope", layer, self.slope(self.z[layer - 1]))
        for layer, R in enumerate(self.case.penalties):
            if R is not None:
                dW[layer][...] += change("penalty", layer, R.subgradient(self.weights[layer]))
                db[layer][...] += change("bias", layer, np.zeros_like(db[layer]))
        return change("all", last, out)


def right_gradient(case: Case, params: np.ndarray | None = None) -> np.ndarray:
    """∇F by this file's own backward pass."""
    return Pass(case, params).gradient(lambda step, layer, value: value)


# ---------------------------------------------------------------- the mistakes


class Mistake(NamedTuple):
    """`wrong(value, own, layer)` in place of what a step gives; None where it does not apply.

    `cause(own, layer)` is the pattern of what may be said of it.
    """

    name: str
    steps: Sequence[str]
    wrong: Callable
    cause: Callable


NOTHING = r"$^"  # a pattern that fits no text
MISTAKES: list[Mistake] = []


def mistake(name: str, steps: str, wrong: Callable, cause: str = NOTHING) -> None:
    MISTAKES.append(Mistake(name, steps.split(), wrong, lambda own, layer: cause))


def factor(name: str, steps: str, size: Callable, reading: str) -> None:
    """A constant factor size(own, layer), and the reading of it that is true, if there is one."""

    def wrong(value, own, layer):
        return size(own, layer) * value

    def cause(own, layer):
        k = size(own, layer)
        number = number_pattern(k)
        patterns = [rf"{number}(?!.*:)", f"the error is {k - 1:.4g} times the penalty"]
        patterns += [rf"{number}.*\b{reading}\b"] if reading else []
        patterns += ["term too much.*twice"] if k == 2 else []
        return "|".join(patterns)

    MISTAKES.append(Mistake(f"factor {name}", steps.split(), wrong, cause))


def number_pattern(k: float) -> str:
    """A factor as a report prints it; its sixth digit may be rounded either way."""
    told = f"{k:.6g}"
    last = r"\d?" if len(told.strip("-0.").replace(".", "")) > 5 else ""
    return rf"constant factor {re.escape(told[:-1] if last else told)}{last}\b"


factor("2", "delta dW db dx penalty all", lambda own, layer: 2.0, "a 2 too much")
factor("1/2", "delta dW db dx penalty all", lambda own, layer: 0.5, "a 2 is missing")
factor("-1", "delta dW db dx penalty all", lambda own, layer: -1.0, "the sign is wrong")
factor("1.3", "delta dW db dx penalty all", lambda own, layer: 1.3, "")
factor("N", "delta dW db penalty", lambda own, layer: float(own.n), "N")
factor("1/N", "delta dW db penalty", lambda own, layer: 1 / own.n, "1/N")
factor("K", "delta", lambda own, layer: float(own.net.sizes[-1]), "K")
factor("1/K", "delta", lambda own, layer: 1 / own.net.sizes[-1], "1/K")
factor("n_in", "dW", lambda own, layer: float(own.net.sizes[layer]), "n_in")
factor("1/n_in", "dW", lambda own, layer: 1 / own.net.sizes[layer], "1/n_in")


def square(v):
    return v.shape[0] == v.shape[1] > 1


mistake("transposed", "dW", lambda v, own, layer: v.T.copy() if square(v) else None, "transpose")
mistake("written by columns", "dW", lambda v, own, layer: v.T.reshape(v.shape), "transpose")
mistake("W for its transpose", "W", lambda v, own, layer: v.T if square(v) else None)
mistake("missing", "dW db dx", lambda v, own, layer: 0 * v, "gradient is 0|rest is missing")


# A penalty, of some kind or in some layers

FORGOTTEN = "gradient is 0|missing.*penalty"


def in_penalty(name: str, kind: type, of: Callable, cause: str) -> None:
    """of(R, w) in place of the gradient of a penalty of this kind."""

    def wrong(value, own, layer):
        R = own.case.penalties[layer]
        return of(R, own.weights[layer]) if type(R) is kind else None

    mistake(name, "penalty", wrong, cause)


def of_biases(v, own, layer):
    R = own.case.penalties[layer]
    return None if isinstance(R, tr.GroupLasso | None) else R.subgradient(own.biases[layer])


mistake("penalty missing", "penalty", lambda v, own, layer: 0 * v, FORGOTTEN)
mistake("penalty missing in hidden layers", "penalty",
        lambda v, own, layer: 0 * v if 0 < layer < len(own.weights) - 1 else None,
        FORGOTTEN)  # fmt: skip
mistake("penalty of the biases", "bias", of_biases,
        r"too much|error is \S+ times (x|sign\(x\)|the gradient of)")  # fmt: skip
in_penalty("λ|w| for λ sign(w)", tr.L1, lambda R, w: R.lam * np.abs(w), r"times \|x\| in place")
in_penalty("λ for λ sign(w)", tr.L1, lambda R, w: R.lam + 0 * w, "everywhere in place")
in_penalty("λ w for λ sign(w)", tr.L1, lambda R, w: R.lam * w, "times x in place")
in_penalty("λ sign(w) for 2λ w", tr.L2, lambda R, w: R.lam * np.sign(w), r"sign\(x\)|of L1")
in_penalty("L2 part only", tr.ElasticNet, lambda R, w: 2 * R.l2 * w,
           r"error is \S+ times sign\(x\)|missing.*L1|times x in place")  # fmt: skip
in_penalty("L1 part only", tr.ElasticNet, lambda R, w: R.l1 * np.sign(w),
           r"error is \S+ times (x|the gradient of L2)|missing.*L2|sign\(x\) in place|"
           "only the gradient of L1")  # fmt: skip
in_penalty("without the root of the group's size", tr.GroupLasso,
           lambda R, w: R.subgradient(w) / np.sqrt(w.shape[1]), NOTHING)  # fmt: skip


# Arrays of another step or layer


def of_layer(arrays: str, shift: int) -> Callable:
    """The array of a neighbouring layer, where it has the same shape."""

    def wrong(value, own, layer):
        at, stale = layer + shift, getattr(own, arrays)
        fits = 0 <= at < len(stale) and stale[at].shape == value.shape
        return stale[at] if fits else None

    return wrong


def without_dropout(v, own, layer):
    return own.f(own.z[layer - 1]) if layer and own.case.masks else None


def stale_slope(v, own, layer):
    z = own.z[layer - 2] if layer > 1 else None
    return own.slope(z) if z is not None and z.shape == v.shape else None


mistake("input of the layer before", "input", of_layer("inputs", -1))
mistake("input of the next layer", "input", of_layer("inputs", 1))
mistake("pre-activation as input", "input", of_layer("z", -1))
mistake("input without the dropout", "input", without_dropout)
mistake("weights of the layer before", "W", of_layer("weights", -1))
mistake("f'(a) for f'(z)", "slope", lambda v, own, layer: own.slope(own.inputs[layer]))
mistake("f(z) for f'(z)", "slope", lambda v, own, layer: own.inputs[layer])
mistake("slope forgotten", "slope", lambda v, own, layer: np.ones_like(v))
mistake("slope squared", "slope", lambda v, own, layer: v * v)
mistake("slope of the layer before", "slope", stale_slope)
mistake("mask forgotten", "mask", lambda v, own, layer: np.ones_like(v),
        "|".join(number_pattern((1 - RATE) ** j) for j in (1, 2, 3)))  # fmt: skip
mistake("mask without 1/(1 - rate)", "mask", lambda v, own, layer: 1.0 * (v > 0))
mistake("target not subtracted", "delta", lambda v, own, layer: own.mean * own.prediction)
mistake("prediction forgotten", "delta", lambda v, own, layer: -own.mean * own.target,
        r"error is -\S+ times x|gradient is 0|rest is missing")  # fmt: skip
mistake("targets of the next sample", "delta",
        lambda v, own, layer: own.mean * (own.prediction - np.roll(own.target, 1, 0)))  # fmt: skip
mistake("weights of samples forgotten", "delta", lambda v, own, layer: v / own.mean / own.n)
mistake("square root", "delta", lambda v, own, layer: np.sign(v) * np.sqrt(np.abs(v)))
mistake("gradient of other parameters", "all",
        lambda v, own, layer: right_gradient(own.case, 1.1 * own.params),
        r"constant factor 1\.1\b|error is \S+ times (x|the penalty)|multiplied by 0")  # fmt: skip
mistake("added to an old gradient", "all",
        lambda v, own, layer: v + right_gradient(own.case, 0.9 * own.params),
        r"constant factor (2|1\.9\d*)\b|twice|error is 0\.9 times the penalty")  # fmt: skip


# Numbers in the wrong place, and wrong numbers in one place


def at(where: Callable, to: Callable) -> Callable:
    """Some entries changed: those at where(i, j)."""

    def wrong(value, own, layer):
        if min(value.shape) < 3:
            return None
        changed = value.copy()
        place = where(*(len(own.weights) % n for n in value.shape))
        changed[place] = to(value[place])
        return changed

    return wrong


def row(i, j=0):
    return i


def column(i, j):
    return (slice(None), j)


def entry(*place):
    return place


MOVED, ONE, ROW, COLUMN = "shifted|reversed", "one coordinate", "^row . only", "^column . only"
mistake("shifted", "dW db", lambda v, own, layer: np.roll(v, 1, axis=0), MOVED)
mistake("shifted columns", "dW", lambda v, own, layer: np.roll(v, -1, axis=1), MOVED)
mistake("reversed", "dW db", lambda v, own, layer: v[::-1], MOVED)
mistake("one coordinate", "dW db", at(entry, lambda v: 1.1 * v + 0.01), ONE)
mistake("one row 0", "dW", at(row, lambda v: 0 * v), ROW)
mistake("one row reversed", "dW", at(row, lambda v: v[::-1]), f"{ROW}|reversed along axis 1")
mistake("one column 0", "dW", at(column, lambda v: 0 * v), COLUMN)
mistake("one column squared", "dW", at(column, lambda v: v * v), COLUMN)


# ---------------------------------------------------------------- the mutants

BACK = ("W", "dx", "mask", "slope")  # what carries the gradient from a layer to the one before
BLOCK = {"input": "W", "dW": "W", "penalty": "W", "db": "b", "bias": "b"}


@dataclass(frozen=True)
class Mutant:
    """A wrong gradient with its truth: patterns of its cause, and of the place where it is."""

    name: str
    case: Case
    right: np.ndarray
    given: np.ndarray
    cause: str
    place: str


def mutants(count: int, seed: int = 0) -> Iterator[Mutant]:
    """`count` mutants, each of another network: every mistake, in one layer and in all of them."""
    plans = [(m, step, loop) for loop in (False, True) for m in MISTAKES for step in m.steps]
    for number in range(count):
        rng = np.random.default_rng([1111, seed, number])
        mutant = None
        while mutant is None:
            mutant = _mutant(random_network(rng), *plans[number % len(plans)], rng)
        yield mutant


def _mutant(case: Case, m: Mistake, step: str, loop: bool, rng) -> Mutant | None:
    """The mistake in this network, or None if it does not apply or changes nothing."""
    own, causes, places = Pass(case), [], []
    chosen = len(own.weights) - 1 if step in ("delta", "all") else rng.integers(len(own.weights))

    def change(at: str, layer: int, value: np.ndarray) -> np.ndarray:
        wrong = m.wrong(value, own, layer) if at == step and (loop or layer == chosen) else None
        if wrong is None or np.allclose(wrong, value, 1e-9, 0.0):
            return value
        seen = (value.T @ own.dz, wrong.T @ own.dz) if step == "input" else (value, wrong)
        causes.extend([m.cause(own, layer), *_as_factor(*seen, step)])
        places.append(_place(step, layer))
        return wrong

    right, given = right_gradient(case), own.gradient(change)
    off = np.abs(given - right) > 1e-6 * np.maximum(np.abs(given), np.abs(right))
    if not off.any() or not np.isfinite(given).all():
        return None
    told = f"{m.name}, {step} of {'all' if loop else f'layer {chosen + 1}'}"
    return Mutant(told, case, right, given, _any_of(causes), _any_of(places))


def _as_factor(value: np.ndarray, wrong: np.ndarray, step: str) -> list[str]:
    """In this network the mistake may be no more than a constant factor: it may be called so.

    In several steps back it is a power of it. A step back may also give 0 further on.
    """
    steps = range(1, DEEPEST) if step in BACK else (1,)
    told = ["multiplied by 0"] if step in ("input", *BACK) else []
    k = float(np.vdot(value, wrong) / (np.vdot(value, value) or 1.0))
    if np.abs(wrong - k * value).max() > 1e-6 * np.abs(wrong).max():
        return told
    if k == 0:
        return [*told, "gradient is 0|rest is missing"]
    numbers = [number_pattern(k**j) for j in steps]
    told += [rf"{number}(?!:)|{number}: (a 2|the sign|.*power|.*√)" for number in numbers]
    told += ["in every step"] if step in BACK else []
    return [*told, f"the error is {k - 1:.4g} times the penalty"] if step == "penalty" else told


def _place(step: str, layer: int) -> str:
    """What may be said of the place."""
    if step in BACK:
        return rf"from layer {layer + 1} back to layer {layer}\b"
    if step not in BLOCK:
        return NOTHING
    block = BLOCK[step]
    kind = {"W": "weights", "b": "biases"}[block]
    return rf"only {block}{layer + 1} is wrong|only {kind} are wrong"


def _any_of(patterns: Sequence[str]) -> str:
    return "|".join(dict.fromkeys(patterns))


# ---------------------------------------------------------------- is a diagnosis true?

CLAIMS = re.compile(
    "constant factor|transpose|is 0|missing|too much|the error is|in place of|shifted|reversed|"
    "look at|in every step"
)


def score(mutant: Mutant, report: tr.Report) -> str:
    """What a report says of a mutant: "false" if it claims any cause that is not the true one.

    Else "cause" if it names the true one, "place" if it says only where the mistake is, or "none".
    """
    rows = [text for row in report.rows for text in row["diagnosis"].split("; ")]
    texts = [re.sub("^(data|penalty): ", "", text) for text in rows] + report.notes
    truth = re.compile(f"{mutant.cause}|{mutant.place}")
    if any(CLAIMS.search(text) and not truth.search(text) for text in texts):
        return "false"
    for name in ("cause", "place"):
        if any(re.search(getattr(mutant, name), text) for text in texts if text):
            return name
    return "none"
