"""What `explain` returns: the sections of one pass, as text, Markdown, LaTeX, a page and data.

The numbers are those of `MLP`, the losses and the penalties; nothing is computed here a second
time but the central differences that stand beside the gradients.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from tinyreg.core.losses import Loss, SquaredError
from tinyreg.core.network import MLP
from tinyreg.core.objective import Objective
from tinyreg.core.penalties import L1, Penalty
from tinyreg.explain.onepass import OnePass, Written
from tinyreg.explain.page import page
from tinyreg.explain.passes import backward, forward, loss, network
from tinyreg.explain.penalty import penalty
from tinyreg.explain.sample import prepared, sample
from tinyreg.explain.steps import steps as few_steps
from tinyreg.render.document import Document, Heading, Table, leading, marked
from tinyreg.render.latex import to_latex
from tinyreg.render.markdown import to_markdown
from tinyreg.render.text import to_text
from tinyreg.study.model import Model
from tinyreg.validate import Array, Data, check_integer, check_number, check_type, named

HAND_PENALTY = L1(0.5)


class Section(NamedTuple):
    """A title, and what stands below it."""

    title: str
    pieces: list[Written]


@dataclass(frozen=True)
class Explanation:
    """A pass written out; `print` shows it as text.

    Attributes
    ----------
    title : str
    sections : list of Section
        Each has a `title` and `pieces`: sentences, equations and tables. Their numbers are not
        rounded.
    onepass, lr, steps : the pass itself, η and the number of steps, which `html` draws

    Examples
    --------
    >>> from tinyreg.explain.explanation import hand_example
    >>> explanation = explain(*hand_example())
    >>> [section["title"] for section in explanation.to_dict()["sections"]]
    ['The network', 'Forward', 'The loss', 'Backward', 'The penalty', 'Step by step']
    >>> forms = explanation.text(), explanation.markdown(), explanation.latex(), explanation.html()
    >>> for form in forms:
    ...     print(form.splitlines()[0])
    A 2-2-2 network: one pass forward, one pass back
    # A 2-2-2 network: one pass forward, one pass back
    \\documentclass{article}
    <!doctype html>
    >>> explanation.document().pieces[0]
    Heading(text='The network')
    """

    title: str
    sections: list[Section]
    onepass: OnePass = field(repr=False, compare=False)
    lr: float
    steps: int

    def document(self) -> Document:
        """The sections one after the other."""
        pieces = [piece for s in self.sections for piece in (Heading(s.title), *s.pieces)]
        return Document(self.title, pieces)

    def __str__(self) -> str:
        return to_text(self.document())

    def text(self) -> str:
        """For a terminal, at most about 100 characters wide."""
        return to_text(self.document()) + "\n"

    def markdown(self) -> str:
        """GitHub's Markdown, with its tables and its maths."""
        return to_markdown(self.document()) + "\n"

    def latex(self) -> str:
        """A whole document, which needs no more than amsmath."""
        return to_latex(self.document()) + "\n"

    def html(self) -> str:
        """A page to go through: one file, which asks the network for nothing."""
        return page(self.title, self.sections, self.onepass, self.lr, self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Strings, numbers, lists and dicts, ready for JSON."""
        sections = [{"title": t, "pieces": [_as_data(p) for p in ps]} for t, ps in self.sections]
        return {"title": self.title, "sections": sections}


def explain(
    objective: Objective,
    X: Data,
    y: Data,
    *,
    lr: float = 0.1,
    steps: int = 6,
    model: Model | None = None,
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
        The samples, one or more, and their targets, as the objective takes them. Of a sparse X
        the rows are made dense.
    lr : float
        η > 0, the step size of the prox and of the steps.
    steps : int
        How many; at least 1.
    model : Model, optional
        Then X and y are in the units of its data, classes by name, and how they are scaled is the
        first step. The network, the loss and the penalty are the objective's all the same.

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
    >>> from tinyreg.explain.explanation import hand_example
    >>> text = explain(*hand_example()).text()
    >>> print(text[text.index("z1 = x W1 + b1   ") : text.index("a1 = f(z1)")].rstrip())
    z1 = x W1 + b1        (1×2)(2×2) + (2) = (1×2)
    <BLANKLINE>
      = [ 1  2 ] [ 0.1    -1 ] + [ 0.1  0 ] = [ 2  -0.5 ]
                 [ 0.9  0.25 ]
    """
    check_type("objective", objective, Objective, "an Objective")
    lr = check_number("lr", lr, above=0)
    check_integer("steps", steps, least=1)
    if model is None:
        this, first = OnePass(objective, X, y), []
    else:
        check_type("model", model, Model, "a Model")
        with named("model"):
            model = replace(model, net=objective.net, loss=objective.loss)
        this = OnePass(objective, *prepared(model, X, y))
        first = [Section("The sample", sample(this, model, X, y))]
    sections = [
        Section("The network", network(this, objective)),
        *first,
        Section("Forward", forward(this)),
        Section("The loss", loss(this)),
        Section("Backward", backward(this)),
        Section("The penalty", penalty(this, lr)),
    ]
    if objective.penalised:
        sections.append(Section("Step by step", few_steps(this, lr, steps)))
    sizes = "-".join(map(str, objective.net.sizes))
    title = f"A {sizes} network: one pass forward, one pass back"
    return Explanation(title, sections, this, lr, steps)


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


def _as_data(piece: Written) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"text": marked(piece, str)}
    if isinstance(piece, Table):
        headers, *rows = [
            [marked(cell, str) if isinstance(cell, str) else float(cell) for cell in row]
            for row in (piece.headers, *piece.rows)
        ]
        return {"headers": headers, "rows": rows}
    numbers = [
        item if isinstance(item, str) else {"shape": item.shape, "shown": leading(item).tolist()}
        for item in piece.numbers
    ]
    return {"formula": piece.formula, "numbers": numbers}
