"""The same pieces in Markdown and LaTeX, against sources written by hand, and compiled."""

import re
import shutil
import subprocess

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.explain.explanation import hand_example
from tinyreg.render.document import Document, Heading, Lines, Table, equation
from tinyreg.render.latex import LINE, PREAMBLE, ROWS, aligned, tex, to_latex
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
\begin{fit}\begin{tabular}{llr}
of W\_l & $\partial L/\partial w$ & F \\
\hline
$\mathrm{d}W_{1}[0,1]$ & $0.3333$ & 100 \% \\
a\ensuremath{|}b & $2 \times 10^{-10}$ & 0 \\
\end{tabular}\end{fit}
\\ at \$1 \\
and *
\end{center}""".lstrip(),
    "plain table": r"""
\begin{center}\small
\begin{fit}\begin{tabular}{lr}
 & F \\
\hline
fista & 1 \\
\end{tabular}\end{fit}
\end{center}""".lstrip(),
    "equation": MARKDOWN["equation"]
    .replace("```math", r"\[\begin{fit}\(\displaystyle")
    .replace("```", r"\)\end{fit}\]"),
    "one number": MARKDOWN["one number"]
    .replace("```math", r"\[\begin{fit}\(\displaystyle")
    .replace("```", r"\)\end{fit}\]"),
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


@pytest.mark.parametrize(
    ("formula", "in_tex"),
    [
        ("f'(z) = 1 where z > 0, 0 elsewhere",
         r"f'(z) = 1 \text{ where } z > 0\text{, }0 \text{ elsewhere}"),
        ("z where z > 0, 0.01 z elsewhere",
         r"z \text{ where } z > 0\text{, }0.01 z \text{ elsewhere}"),
        ("db1 = column sums of dz1", r"\mathrm{d}b_{1} = \text{column sums of } \mathrm{d}z_{1}"),
        ("clip(u, −ηλ, ηλ)", r"\operatorname{clip}(u, -\eta \lambda , \eta \lambda )"),
    ],
)  # fmt: skip
def test_words_in_a_formula_are_words_with_a_space_between(formula, in_tex):
    assert tex(formula) == in_tex


def test_a_long_equation_is_broken_before_a_sign_and_loses_nothing():
    p = np.arange(1000.0, 1010)[np.newaxis]
    long = equation("z = (p − y)/N", "(", p, "−", p, ")", "/", "1", "=", 0 * p)
    lines = aligned(long).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["z", "&=", r"&\quad", "&="]
    assert lines[3].startswith(r"&\quad - \begin{pmatrix} 1000 &")
    assert lines[3].endswith(r"\end{pmatrix} ) / 1 \\")
    product = aligned(equation("a = x W", p, p, "=", p[:, :1])).splitlines()
    assert product[2].startswith(r"&= \begin{pmatrix} 1000 & 1001")
    assert product[3].startswith(r"&\quad \cdot \begin{pmatrix} 1000 & 1001")
    total = aligned(equation("R = " + " + ".join(f"R(W{i})" for i in range(1, 30)), "1"))
    assert total.count("W_") == 29
    assert len(total.splitlines()) > 5
    assert max(len(re.sub(r"[{}_\\ ]", "", line)) for line in total.splitlines()) < LINE + 6


def explained(sizes, loss, penalty, n=1, activation="relu"):
    rng = np.random.default_rng(0)
    objective = tr.Objective(tr.MLP(sizes, activation, seed=0), loss, penalty)
    y = rng.integers(2, size=n) if isinstance(loss, tr.SoftmaxCrossEntropy) else None
    y = rng.integers(2, size=(n, sizes[-1])) if y is None else y
    return tr.explain(objective, rng.normal(size=(n, sizes[0])), y).latex()


LONG = Table(["W", "a" * 300], [["b_" * 90, 1.0]] * (3 * ROWS), notes=["c" * 500])
COMPILED = {
    "by hand": lambda: tr.explain(*hand_example()).latex(),
    "64-64-10": lambda: explained((64, 64, 10), tr.SoftmaxCrossEntropy(), tr.L1(0.01)),
    "deep": lambda: explained(
        (3, *[4] * 9, 2), tr.SquaredError(), tr.GroupLasso(0.1, 1), 1, "gelu"
    ),
    "small numbers": lambda: explained(
        (2, 3, 12), tr.SigmoidCrossEntropy(), tr.ElasticNet(1e-7, 1e-9), 5, "leaky_relu"
    ),
    "long words": lambda: to_latex(
        Document("d_" * 200, ["e" * 300, Heading("f" * 200), Lines(["g" * 300]), LONG])
    ),
}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("what", COMPILED)
def test_latex_compiles_and_nothing_stands_over_an_edge(what, tmp_path):
    (tmp_path / "page.tex").write_text(COMPILED[what](), encoding="ascii")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    told = done.stdout.decode(errors="replace").splitlines()
    assert [line for line in told if line.startswith(("!", "Overfull"))] == []
    assert done.returncode == 0
