"""A document as HTML: a page in one file that asks the network for nothing, or a part of one.

All texts are escaped. A page may bring a script and a style of its own; what it shows stands there
without them. In a notebook the same markup takes the colours that it finds.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files

import numpy as np

from tinyreg.render.document import (
    COLUMNS,
    Document,
    Equation,
    Heading,
    Lines,
    Piece,
    Table,
    marked,
)
from tinyreg.render.mathml import mathml

# What the browser may load for the page: what is in it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def to_html(title: str, body: str, script: str = "", style: str = "") -> str:
    """A whole file, given the markup below its title, which is of one line or more.

    >>> page = to_html("A < B", fragment(Document("", ["It is `λ|w|`."])))
    >>> "<h1>A &lt; B</h1>" in page, "://" in page
    (True, False)
    """
    heading, *below = map(escape, title.splitlines() or [""])
    under = f"<p>{'<br>'.join(below)}</p>\n" if below else ""
    running = f"<script>\n{script}</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n<style>\n{_style()}{style}</style>\n</head>\n"
        f'<body class="tinyreg">\n<main>\n<h1>{heading}</h1>\n{under}{body}\n</main>\n'
        f"{running}</body>\n</html>\n"
    )


def for_notebook(document: Document, *more: str) -> str:
    """The document and more markup below it, with its style, for an output cell."""
    title = "<br>".join(map(escape, document.title.splitlines()))
    parts = [f"<p><strong>{title}</strong></p>"] if title else []
    body = "\n".join([*parts, fragment(document), *more])
    return f'<div class="tinyreg"><style>{_style()}</style>\n{body}\n</div>'


def fragment(document: Document) -> str:
    """The pieces alone."""
    return "\n".join(map(_html, document.pieces))


def picture(png: bytes, alternative: str) -> str:
    """A picture within the page, and what it shows in words, which those read who do not see it."""
    source = f"data:image/png;base64,{b64encode(png).decode()}"
    return f'<p><img src="{source}" alt="{escape(alternative)}"></p>'


def _style() -> str:
    return files("tinyreg.render").joinpath("page.css").read_text("utf-8")


def _html(piece: Piece) -> str:
    match piece:
        case str():
            return f"<p>{_words(piece)}</p>"
        case Heading(text):
            return f"<h2>{_words(text)}</h2>"
        case Lines(lines):
            return _lines(lines)
        case Table():
            return _table(piece)
        case Equation():
            return _equation(piece)


def _words(text: str) -> str:
    return marked(text, mathml, escape)


def _lines(lines: Sequence[str]) -> str:
    """Lines with columns in them keep their spaces."""
    if any("  " in line for line in lines):
        return f"<pre>{escape(chr(10).join(lines))}</pre>"
    return f"<p>{'<br>'.join(map(escape, lines))}</p>"


def _box(kind: str, label: str) -> str:
    """The attributes of a box that may scroll sideways, for keyboards and screen readers."""
    name = escape(label.replace("`", "")) or "Table"
    return f'class="{kind}" role="group" tabindex="0" aria-label="{name}"'


def _table(table: Table) -> str:
    head, *rows = table.cells(mathml, escape)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    headers = "".join(f'<th scope="col">{h}</th>' if h else "<td></td>" for h in head)
    body = "\n".join(f"<tr>{_row(row, table.left)}</tr>" for row in rows)
    notes = f'\n<p class="notes">{"<br>".join(map(escape, table.notes))}</p>' if table.notes else ""
    box = _box("wide", table.caption or ", ".join(filter(None, table.headers)))
    return (
        f"<div {box}><table>{caption}\n<thead><tr>{headers}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table></div>{notes}"
    )


def _row(cells: Sequence[str], left: int) -> str:
    first, *others = cells
    begin = f'<th scope="row">{first}</th>' if left else f"<td>{first}</td>"
    flush = ['<td class="left">'] * (left - 1)
    starts = [*flush, *["<td>"] * (len(others) - len(flush))]
    return begin + "".join(f"{td}{cell}</td>" for td, cell in zip(starts, others, strict=False))


def _equation(equation: Equation) -> str:
    """The formula with its shapes, and below it the numbers, whose cells tell row and column."""
    shapes = f' <span class="shapes">{mathml(told)}</span>' if (told := equation.shapes()) else ""
    parts, k = ['<span class="sign">=</span>'], 0
    box = 'class="numbers"'
    for cells, item in zip(equation.cells(escape), equation.numbers, strict=True):
        if isinstance(item, str):
            parts.append(f'<span class="sign">{cells}</span>')
            continue
        shape = np.atleast_2d(item).shape
        if shape[1] >= COLUMNS:  # which may be wider than a phone
            box = _box("numbers", f"Numbers of {equation.formula}")
        parts.append(_array(cells, k, shape))
        k += 1
    return (
        f'<div class="equation"><p>{mathml(equation.formula)}{shapes}</p>\n'
        f"<div {box}>{' '.join(parts)}</div></div>"
    )


def _array(cells: str | list[list[str]], k: int, shape: tuple[int, ...]) -> str:
    """The k-th array of an equation; dots are no cells of it."""
    if isinstance(cells, str):
        return f'<span data-array="{k}">{cells}</span>'
    rows = "".join(
        f"<tr>{''.join(_cell(text, i, j) for j, text in enumerate(row))}</tr>"
        for i, row in enumerate(cells)
    )
    label = f"{shape[0]} by {shape[1]}"
    return f'<table class="array" role="table" data-array="{k}" aria-label="{label}">{rows}</table>'


def _cell(text: str, i: int, j: int) -> str:
    if text in ("…", "⋮"):
        return f"<td>{text}</td>"
    return f'<td data-row="{i}" data-col="{j}">{text}</td>'
