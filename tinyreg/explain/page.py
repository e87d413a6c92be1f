"""An explanation as a page to go through: all that the text says, the network drawn, and sliders.

The page is complete as it stands. Its script marks what is there and picks among it; it computes
nothing but how a figure is framed.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

import numpy as np

from tinyreg.explain.drawing import drawing
from tinyreg.explain.onepass import OnePass, Written
from tinyreg.explain.sliders import sliders
from tinyreg.explain.stops import stops
from tinyreg.explain.sums import Part, Place, origins
from tinyreg.render.document import Document, Equation, Heading, Table, number
from tinyreg.render.html import fragment, to_html

Sections = Sequence[tuple[str, list[Written]]]
PASS = ("Forward", "The loss", "Backward")  # the sections that make it


def page(title: str, sections: Sections, this: OnePass, lr: float, steps: int) -> str:
    """The whole file: HTML with its styles and its script, which asks the network for nothing."""
    differences, known = _differences(sections), {"x": Place("", this.X)}
    written: list[str] = []
    passed: list[str] = []  # the steps of the pass
    for heading, pieces in sections:
        written.append(fragment(Document("", [Heading(heading)])))
        for piece in pieces:
            html = fragment(Document("", [piece]))
            if isinstance(piece, Equation):
                at = f"e{len(written)}"
                html = f'<div class="shown" id="{at}" data-result="{_name(piece)}">{html}</div>'
                html += _made(piece, f"#{at}", known, differences)
                passed += _step(piece, heading)
            written.append(html)
    first = 1 + len(sections[0][1])
    written.insert(first, _the_pass(this, known, passed))
    if this.problem.objective.penalised:
        written.append(sliders(stops(this, lr, steps)))
    own = files("tinyreg.explain")
    script, style = (own.joinpath(f"page.{kind}").read_text("utf-8") for kind in ("js", "css"))
    return to_html(title, "\n".join(written), script, style)


def _differences(sections: Sections) -> dict[str, str]:
    """What is to be said of the central difference of each gradient that is shown, by its name."""
    tables = (piece for _, pieces in sections for piece in pieces if isinstance(piece, Table))
    rows = [row for table in tables if "difference" in table.headers[2:3] for row in table.rows]
    return {
        str(name).replace("`", ""): "no central difference: kink"
        if isinstance(measured, str)
        else f"central difference {number(measured)}"
        for name, _, measured, *_ in rows
    }


def _made(equation: Equation, at: str, known: dict[str, Place], differences: dict[str, str]) -> str:
    """How each number of an equation is made, as a list; then its result is a known one."""
    arrays = [np.atleast_2d(item) for item in equation.numbers if not isinstance(item, str)]
    here = [Place(f"{at} [data-array='{k}']", array) for k, array in enumerate(arrays)]
    items = []
    for origin in origins(equation, here, known):
        told = f"{origin.name} = {origin.told}"
        if origin.name in differences:
            told += f"; {differences[origin.name]}"
        cell = Part(here[-1].where)
        if origin.name != _name(equation):  # which is a number that is no array
            cell = Part(here[-1].where, origin.row, origin.column)
        parts = ", ".join(map(_selector, origin.parts))
        items.append(f'<li data-cell="{_selector(cell)}" data-parts="{parts}">{escape(told)}</li>')
    if here:
        known[_name(equation)] = here[-1]
    if not items:
        return ""
    return _details("made", "How each number is made", f"<ul>{''.join(items)}</ul>")


def _selector(part: Part) -> str:
    """Of the cells of these entries, in CSS."""
    row = "" if part.row is None else f"[data-row='{part.row}']"
    column = "" if part.column is None else f"[data-col='{part.column}']"
    return f"{part.where} {row}{column}".strip()


def _name(equation: Equation) -> str:
    return equation.formula.partition(" = ")[0]


def _details(kind: str, summary: str, inside: str) -> str:
    return f'<details class="{kind}"><summary>{summary}</summary>{inside}</details>'


def _step(equation: Equation, heading: str) -> list[str]:
    """What the step computes, on one line: dW2 = a1ᵀ dz2: 1, -1; 0, 0."""
    name, result = _name(equation), equation.cells()[-1]
    if heading not in PASS or name in ("y", "ℓ"):
        return []
    stage = "backward" if name.startswith("d") else "forward"
    rows = result if isinstance(result, str) else "; ".join(", ".join(row) for row in result)
    told = escape(f"{equation.formula}: {rows}")
    return [f'<li data-step="{name}" data-stage="{stage}">{told}</li>']


def _the_pass(this: OnePass, known: dict[str, Place], steps: list[str]) -> str:
    """The network drawn, and the steps of the pass."""
    results = {name: place.numbers for name, place in known.items()}
    listed = f"<ol>{''.join(steps)}</ol>"
    several = " The numbers are of the first sample; to dW and db all samples add."
    return (
        '<figure class="pass"><p class="controls" hidden>'
        '<button type="button" data-by="-1">Previous</button>'
        '<button type="button" data-by="1">Next</button>'
        '<button type="button" data-to="forward">Forward</button>'
        '<button type="button" data-to="backward">Backward</button></p>'
        '<p class="told" role="status" hidden></p>'
        '<div class="scrolled" role="group" aria-label="The network drawn" tabindex="0">'
        f"{drawing(this.net, results)}</div>"
        "<figcaption>A solid line is a weight above 0, a dashed one a weight below; the wider, the "
        "larger. A weight of exactly 0 has no line. In a unit stands on the left what the pass "
        "forward computes, on the right what the pass back does; on a line the weight, and at its "
        f"end dW.{several if len(this.X) > 1 else ''}</figcaption>"
        f"{_details('steps', 'The pass in steps', listed)}</figure>"
    )
