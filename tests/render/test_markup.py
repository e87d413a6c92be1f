"""The same pieces in Markdown and LaTeX, against sources written by hand."""

import numpy as np
import pytest

from tinyreg.render.document import Document, Heading, Lines, Table, equation
from tinyreg.render.latex import PREAMBLE, to_latex
from tinyreg.render.markdown import to_markdown

TABLE = Table(
    ["of W_l", "`∂L/∂w`", "F"],
    [["`dW1[0,1]`", 1 / 3, "100 %"], ["a|b", 2e-10, "0"]],
    left=2,
    caption="prox_1",
    notes=["at $1", "and *"],
)
PIECES = {
    "paragraph": "A slope `λ|w|` of R_1.",
    "heading": Heading("The loss `L`"),
    "lines": Lines(["50 % of a_b", "  and <c>"]),
    "table": TABLE,
    "plain table": Table(["", "F"], [["fista", "1"]], rule=True),
    "equation": equation("y = x W1", [[1.0, 2e-9]], [[3.0], [0.0]], "=", [[3.0]]),
    "one number": equation("L", np.float64(0.25)),
}
MARKDOWN = {
    "paragraph": r"A slope $\lambda \lvert w\rvert$ of R\_1.",
    "heading": "## 1. The loss $L$",
    "lines": "50 % of a\\_b  \n  and \\<c>",
    "table": r"""
prox\_1

| of W\_l | $\partial L/\partial w$ | F |
| --- | --- | ---: |
| $\mathrm{d}W_{1}[0,1]$ | 0.3333 | 100 % |
| a\|b | 2e-10 | 0 |

at \$1
and \*""".lstrip().replace("at \\$1\n", "at \\$1  \n"),
    "plain table": "|  | F |\n| --- | ---: |\n| fista | 1 |",
    "equation": r"""
```math
\begin{aligned}
y &= x W_{1} \qquad (1\times 2)(2\times 1) = (1\times 1) \\
&= \begin{pmatrix} 1 & 2 \times 10^{-9} \end{pmatrix} \begin{pmatrix} 3 \\ 0 \end{pmatrix} \\
&= \begin{pmatrix} 3 \end{pmatrix}
\end{aligned}
```""".lstrip(),
    "one number": "```math\n\\begin{aligned}\nL &= 0.25\n\\end{aligned}\n```",
}
LATEX = {
    "paragraph": r"A slope $\lambda \lvert w\rvert$ of R\_1.",
    "heading": r"\section{The loss $L$}",
    "lines": "50 \\% of a\\_b \\\\\n  and \\ensuremath{<}c\\ensuremath{>}",
    "table": r"""
\begin{center}\small
prox\_1 \\
\begin{tabular}{llr}
of W\_l & $\partial L/\partial w$ & F \\
\hline
$\mathrm{d}W_{1}[0,1]$ & $0.3333$ & 100 \% \\
a\ensuremath{|}b & $2 \times 10^{-10}$ & 0 \\
\end{tabular}
\\ at \$1 \\
and *
\end{center}""".lstrip(),
    "plain table": r"""
\begin{center}\small
\begin{tabular}{lr}
 & F \\
\hline
fista & 1 \\
\end{tabular}
\end{center}""".lstrip(),
    "equation": MARKDOWN["equation"].replace("```math", r"\[").replace("```", r"\]"),
    "one number": MARKDOWN["one number"].replace("```math", r"\[").replace("```", r"\]"),
}


@pytest.mark.parametrize("kind", PIECES)
def test_each_piece_in_markdown(kind):
    assert to_markdown(Document("", [PIECES[kind]])) == MARKDOWN[kind]


@pytest.mark.parametrize("kind", PIECES)
def test_each_piece_in_latex(kind):
    expected = "\n\n".join([PREAMBLE, LATEX[kind], r"\end{document}"])
    assert to_latex(Document("", [PIECES[kind]])) == expected


def test_a_title_may_have_more_lines_and_headings_are_numbered():
    document = Document("a_b\nof digits", [Heading("One"), "1.", Heading("Two"), "2."])
    assert to_markdown(document) == ("# a\\_b  \nof digits\n\n## 1. One\n\n1.\n\n## 2. Two\n\n2.")
    assert r"\section*{a\_b \\" + "\nof digits}\n\n\\section{One}" in to_latex(document)


def test_latex_is_ascii_whatever_the_words_hold():
    assert to_latex(Document("λ é", [])).isascii()
