"""The penalty under sliders of λ and η, as HTML: its prox as a curve, and weights over the steps.

What stands here is the explanation's own stop. The script of the page puts another in its place,
and draws in the same way: numbers are coordinates, and a viewBox frames them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from tinyreg.explain.stops import Stops
from tinyreg.render.document import Document, Table, number
from tinyreg.render.html import fragment

NO_TAG = "\\u003c"  # < in JSON, so that no text in it can end the script


def sliders(shown: Stops) -> str:
    """Figures and a table of one stop, and all stops as data."""
    stop, n = shown.own, shown.steps
    walks = [[walk and walk[w] for walk in stop["walks"]] for w in range(len(shown.weights))]
    headers = ["", "`u`", "`prox(u)`", *(f"{method}, step {n}" for method in shown.methods)]
    numbers = zip(shown.weights, stop["u"], stop["prox"], walks, strict=True)
    rows = [
        [f"`{name}`", u, after, *(walk[-1] if walk else "diverges" for walk in of)]
        for name, u, after, of in numbers
    ]
    drawn = "".join(
        f'<figure class="walk">{_walk(name, of, shown)}</figure>'
        for name, of in zip(shown.weights, walks, strict=True)
    )
    data = json.dumps(shown._asdict(), ensure_ascii=False, separators=(",", ":"))
    inputs = _slider("lam", "Strength of the penalty", shown.lam)
    inputs += _slider("eta", "Step size", shown.eta)
    told = (
        f"The same under other strengths and steps: weights over {n} steps, "
        f"{' (dashed) and '.join(shown.methods)}. Numbers are rounded to six digits."
    )
    return (
        fragment(Document("", [told]))
        + f'<figure class="sliders"><p class="controls" hidden>{inputs}</p>'
        f'<p class="told" role="status">{escape(stop["told"])}</p>'
        f"{_curve(shown.weights, stop['u'], stop['prox'], stop['curve'])}"
        f'<div class="walks">{drawn}</div>'
        f"{fragment(Document('', [Table(headers, rows, rule=True)]))}</figure>"
        f'<script type="application/json" id="stops">{data.replace("<", NO_TAG)}</script>'
    )


def _slider(name: str, label: str, stops: Sequence[str]) -> str:
    last, own = len(stops) - 1, len(stops) // 2
    only = " disabled" if last == 0 else ""
    return (
        f'<label>{label} <input type="range" name="{name}" max="{last}" value="{own}"{only}> '
        f"<output>{escape(stops[own])}</output></label>"
    )


def _curve(
    names: Sequence[str],
    u: Sequence[float],
    prox: Sequence[float],
    points: Sequence[Sequence[float]],
) -> str:
    """The prox through its points, with a dot for each weight."""
    if not points:
        return "<p>No curve is drawn: the prox is not one function of each weight alone.</p>"
    (threshold, _), (end, _) = points[-2:]
    strip = "; in the strip it goes to 0" if threshold else ""
    dots = "".join(
        f'<path d="M{x!r} {0.0 - y!r}h0"><title>{name}</title></path>'
        for name, x, y in zip(names, u, prox, strict=True)
    )
    return (
        f'<figure class="curve"><svg viewBox="{-end!r} {-end!r} {2 * end!r} {2 * end!r}" '
        'role="img" aria-label="prox(u) over u, with the weights as dots">'
        f'<rect x="{0.0 - threshold!r}" y="-50%" width="{2 * threshold!r}" height="100%"/>'
        '<line class="zero" x1="-50%" x2="50%"/><line class="zero" y1="-50%" y2="50%"/>'
        '<line class="same" x1="-50%" y1="50%" x2="50%" y2="-50%"/>'
        f'<polyline points="{_points(points)}"/>{dots}</svg><figcaption>The prox of '
        "u = w − η ∂L/∂w: u across and prox(u) upward, both up to "
        f"<span>{number(end)}</span> from 0. A dot is a weight{strip}. The dotted line is u "
        "itself.</figcaption></figure>"
    )


def _walk(name: str, values: Sequence[Sequence[float] | None], shown: Stops) -> str:
    """One weight over the steps by each method; nothing of a method that diverges."""
    every = [0.0, *(x for walk in values for x in walk or ())]
    low, high = min(every), max(every)
    margin = (high - low) * 0.1 or 1.0
    lines = "".join(f'<polyline points="{_points(enumerate(walk or ()))}"/>' for walk in values)
    told = "; ".join(
        f"{method} {', '.join(map(number, walk)) if walk else 'it diverges'}"
        for method, walk in zip(shown.methods, values, strict=True)
    )
    return (
        f"<figcaption>{name} <span>{number(low)} to {number(high)}</span></figcaption>"
        f'<svg viewBox="0 {0.0 - high - margin!r} {shown.steps} {high - low + 2 * margin!r}" '
        f'role="img" preserveAspectRatio="none"><title>{name}: {told}</title>'
        f'<line class="zero" x2="100%"/>{lines}</svg>'
    )


def _points(points: Iterable[Sequence[float]]) -> str:
    return " ".join(f"{x!r},{0.0 - y!r}" for x, y in points)
