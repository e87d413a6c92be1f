"""The network as a drawing, in SVG, with the numbers of one pass.

What an equation computes bears its name (`data-of="dz1"`), and what it computes that from has it
among others (`data-with="z1 dW1 da0"`): so the page can go step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tinyreg.core.network import MLP
from tinyreg.render.document import number
from tinyreg.validate import Array

ALL, FEW = 6, 3  # a layer of more units than ALL is drawn by its first FEW
LABELLED = 4  # weights are written at the lines between at most so many units
INPUT, UNIT, HIGH, ROW = 96, 196, 60, 18  # widths of units, their height, and of a line of text
GAP, APART = 150, 62  # between layers, and between the units of one
WIDEST = 6.0  # a line


class _Layer:
    """Where the units of a layer stand."""

    def __init__(self, layer: int, size: int, height: float) -> None:
        self.drawn, self.more = (size, 0) if size <= ALL else (FEW, size - FEW)
        self.left = 2 + layer * (UNIT + GAP) - (UNIT - INPUT) * (layer > 0)
        self.right = self.left + (UNIT if layer else INPUT)
        self.top = (height - self.drawn * HIGH - (self.drawn - 1) * APART) / 2

    def y(self, unit: int) -> float:
        return self.top + unit * (HIGH + APART)


def drawing(net: MLP, results: Mapping[str, Array]) -> str:
    """The network with the numbers of the first sample; results are x, z1, y, L, dz2 and so on."""
    most = max(size if size <= ALL else FEW for size in net.sizes)
    height = most * (HIGH + APART) - APART + 60
    layers = [_Layer(layer, size, height) for layer, size in enumerate(net.sizes)]
    parts = [line for k in range(1, len(layers)) for line in _lines(net, results, layers, k)]
    for k, layer in enumerate(layers):
        parts += (_unit(net, results, layer, k, unit) for unit in range(layer.drawn))
        if layer.more:
            below = layer.y(layer.drawn - 1) + HIGH + ROW
            parts.append(_text(layer.left + 8, below, f"… {layer.more} more"))
    right, loss = layers[-1].right, f"L = {number(results['L'].item())}"
    parts.append(_text(right + 16, height / 2 + 5, loss, 'class="loss" data-of="L"'))
    sizes = ", ".join(map(str, net.sizes))
    return (
        f'<svg class="network" viewBox="0 0 {right + 110} {height}" width="{right + 110}" '
        f'role="img" aria-label="Layers of {sizes} units, the weights as lines between">'
        f"{''.join(parts)}</svg>"
    )


def _lines(
    net: MLP, results: Mapping[str, Array], layers: Sequence[_Layer], k: int
) -> Iterator[str]:
    """A line for each weight of layer k that is not 0; with W and dW at its ends, given room."""
    W, dW, below, above = net.weights[k - 1], results[f"dW{k}"], layers[k - 1], layers[k]
    largest = max(np.abs(weights).max() for weights in net.weights)
    labelled = max(below.drawn, above.drawn) <= LABELLED
    for i, j in np.ndindex(below.drawn, above.drawn):
        if not W[i, j]:
            continue
        start, end = below.y(i) + HIGH / 2, above.y(j) + HIGH / 2
        w, dw = number(float(W[i, j])), number(float(dW[i, j]))
        yield (
            f'<line class="{"positive" if W[i, j] > 0 else "negative"}" '
            f'data-with="z{k} dW{k} da{k - 1}" x1="{below.right}" y1="{start:g}" '
            f'x2="{above.left}" y2="{end:g}" '
            f'stroke-width="{1 + (WIDEST - 1) * abs(W[i, j]) / largest:.2g}">'
            f"<title>W{k}[{i},{j}] = {w}, dW{k}[{i},{j}] = {dw}</title></line>"
        )
        if labelled:
            off = (end - start) * 32 / GAP
            yield _text(below.right + 6, start + off + 4, w, f'class="weight" data-with="z{k}"')
            yield _text(above.left - 6, end - off + 4, dw, f'class="weight end" data-of="dW{k}"')


def _unit(net: MLP, results: Mapping[str, Array], layer: _Layer, k: int, unit: int) -> str:
    """A box with what the pass forward computes in a unit, and what the pass back does."""
    x, y = layer.left, layer.y(unit)
    box = f'<rect x="{x}" y="{y:g}" width="{layer.right - x}" height="{HIGH}" rx="10"/>'
    if k == 0:
        return box + _number(x + 8, y + 2 * ROW, "x", results["x"][0, unit], 'data-with="z1 dW1"')
    last = k == len(net.weights)
    forward = [f"z{k}", "p" if last else f"a{k}"]
    back = [f"db{k}", f"dz{k}", *([] if last else [f"da{k}"])]
    texts = [_number(x + 8, y + ROW, "b", net.biases[k - 1][unit], f'data-with="z{k}"')]
    if last:
        target = results["y"][0, unit]
        texts.append(_number(x + UNIT / 2, y + 3 * ROW, "y", target, 'data-with="L"'))
    for left, row, names in ((x + 8, 2, forward), (x + UNIT / 2, 1, back)):
        for below, name in enumerate(names, start=row):
            value, label = results[name][0, unit], name.rstrip("0123456789")
            texts.append(_number(left, y + below * ROW, label, value, f'data-of="{name}"'))
    return box + "".join(texts)


def _number(x: float, y: float, label: str, value: float, attributes: str) -> str:
    return _text(x, y, f"<tspan>{label}</tspan> {number(value)}", attributes)


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" {attributes}>{text}</text>'
