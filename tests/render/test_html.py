"""A document as HTML: the numbers of the text form, all texts escaped, nothing to be loaded."""

import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.explain.explanation import hand_example
from tinyreg.render.document import Document, Heading, Lines, Table, equation
from tinyreg.render.html import for_notebook, fragment, picture, to_html
from tinyreg.render.mathml import mathml
from tinyreg.render.text import to_text

HOSTILE = "<script>alert('1 & 2')</script>"
PENALTIES = [None, tr.L2(0.1), tr.ElasticNet(0.1, 0.2), tr.GroupLasso(0.1, axis=1) + tr.L1(0.1)]
LOSSES = [tr.SigmoidCrossEntropy(), tr.SoftmaxCrossEntropy()]
ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid", "softplus", "gelu", "silu", "identity"]
EXPLAINED = [
    *(hand_example(activation) for activation in ACTIVATIONS),
    *(hand_example(loss=L) for L in LOSSES),
    *(hand_example(penalty=R) for R in PENALTIES),
    (tr.Objective(tr.MLP((20, 5, 3)), tr.SoftmaxCrossEntropy(), tr.L1(0.1)), np.eye(2, 20), [0, 2]),
]
DOCUMENTS = [
    *(tr.explain(*case).document() for case in EXPLAINED),
    tr.check_gradients(*EXPLAINED[0]).document(),
]


def tree(markup):
    """Its elements; as XML the markup lacks only the ends of elements that are empty."""
    closed = re.sub("<(br|img)([^>]*)>", r"<\1\2/>", markup)
    return ET.fromstring(f"<div>{closed}</div>")


def formulas(document):
    """All formulas of a document."""
    for piece in document.pieces:
        if hasattr(piece, "formula"):
            yield from (piece.formula, piece.shapes())
            continue
        cells = itertools.chain(piece.headers, *piece.rows) if isinstance(piece, Table) else [piece]
        for text in cells:
            if isinstance(text, Heading | str):
                yield from getattr(text, "text", text).split("`")[1::2]


@pytest.mark.parametrize("formula", sorted({f for d in DOCUMENTS for f in formulas(d)}))
def test_a_formula_keeps_its_characters(formula):
    math = ET.fromstring(mathml(formula))
    plain = "".join(math.itertext())
    for above, character in {"\u22a4": "ᵀ", "′": "'"}.items():
        plain = plain.replace(above, character)
    expected = (
        formula.replace("√|", "|")
        .replace("⁻⁵", "−5")
        .replace("²", "2")
        .replace("₊", "+")
        .replace("_", "")
    )
    assert re.sub(r"\s", "", plain) == re.sub(r"\s", "", expected)


@pytest.mark.parametrize(
    ("formula", "xml"),
    [
        ("y_k²", "<msup><msub><mi>y</mi><mi>k</mi></msub><mn>2</mn></msup>"),
        ("(u)₊", '<mo stretchy="false" lspace="0" rspace="0">(</mo><mi>u</mi>'
                 '<msub><mo stretchy="false" lspace="0" rspace="0">)</mo><mo>+</mo></msub>'),
        ("exp(−z)", '<mi>exp</mi><mo stretchy="false" lspace="0" rspace="0">(</mo>'
                    '<mo form="prefix">−</mo><mi>z</mi>'
                    '<mo stretchy="false" lspace="0" rspace="0">)</mo>'),
        ("1 where z > 0, 0 elsewhere",
         '<mn>1</mn><mspace width="0.2em"/><mtext>where</mtext><mspace width="0.2em"/><mi>z</mi>'
         '<mo>&gt;</mo><mn>0</mn><mo>,</mo><mspace width="0.2em"/><mn>0</mn>'
         '<mspace width="0.2em"/><mtext>elsewhere</mtext>'),
        ("λ √|g|",
         '<mi>λ</mi><mspace width="0.2em"/>'
         '<msqrt><mo stretchy="false" lspace="0" rspace="0">|</mo><mi>g</mi>'
         '<mo stretchy="false" lspace="0" rspace="0">|</mo></msqrt>'),
        ("a < b", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"),
        ("db1 = column sums of dz1",
         '<mi mathvariant="normal">d</mi><msub><mi>b</mi><mn>1</mn></msub><mo>=</mo>'
         '<mtext>column sums of</mtext><mspace width="0.2em"/><mi mathvariant="normal">d</mi>'
         "<msub><mi>z</mi><mn>1</mn></msub>"),
    ],
)  # fmt: skip
def test_a_formula_in_mathml(formula, xml):
    assert mathml(formula) == f"<math>{xml}</math>"


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_tables_and_arrays_have_the_numbers_of_the_text(document):
    root = tree(fragment(document))
    shown = [cell.text for cell in root.iter("td") if cell.text is not None]
    expected = []
    for piece in document.pieces:
        if isinstance(piece, Table):
            expected += [c for row in piece.cells()[1:] for c in row[bool(piece.left) :]]
        elif hasattr(piece, "formula"):
            expected += [
                cell for array in piece.cells() if isinstance(array, list)
                for row in array for cell in row
            ]  # fmt: skip
    numbers = [cell for cell in expected if re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)]
    assert [cell for cell in shown if re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)] == numbers
    text = to_text(document)
    assert all(number in text for number in numbers)


def test_each_cell_tells_its_row_and_column_and_dots_are_no_cells():
    A = np.arange(50.0).reshape(5, 10)
    root = tree(fragment(Document("", [equation("C = A b", A, np.ones(2), "=", 3.0)])))
    arrays = {array.get("data-array"): array for array in root.iter() if array.get("data-array")}
    assert [*arrays] == ["0", "1", "2"]
    places = [
        (int(cell.get("data-row")), int(cell.get("data-col")), float(cell.text))
        for cell in arrays["0"].iter("td") if cell.get("data-row")
    ]  # fmt: skip
    assert places == [(i, j, A[i, j]) for i in range(3) for j in range(4)]
    assert sum(cell.text in "…⋮" for cell in arrays["0"].iter("td")) == 8
    assert (arrays["2"].tag, arrays["2"].text) == ("span", "3")
    assert arrays["0"].get("aria-label") == "5 by 10"


def test_a_table_has_headers_and_their_scopes():
    table = Table(["", "F"], [["prox", 0.5]], caption="one <seed>", notes=["a < b"])
    root = tree(fragment(Document("", [table])))
    assert [(th.get("scope"), th.text) for th in root.iter("th")] == [("col", "F"), ("row", "prox")]
    assert root.find(".//caption").text == "one <seed>"
    assert root.find(".//p").text == "a < b"


def test_what_scrolls_sideways_is_reached_by_keyboard_and_has_a_name():
    small, wide = np.eye(2), np.arange(10.0)
    pieces = [
        Table(["", "`w`", "gap"], [["a", 1.0, 2.0]]), Table(["", "F"], [], caption="of <one>"),
        Table([""], [["a"]]), equation("A", small, small, "=", small), equation("b < c", wide),
    ]  # fmt: skip
    boxes = [box for box in tree(fragment(Document("", pieces))).iter("div") if box.get("tabindex")]
    assert [(box.get("tabindex"), box.get("role")) for box in boxes] == [("0", "group")] * 4
    names = [box.get("aria-label") for box in boxes]
    assert names == ["w, gap", "of <one>", "Table", "Numbers of b < c"]


@pytest.mark.parametrize("lone", ["²", "₊", "ᵀ x", "√", "", "^", "–"])
def test_any_text_is_a_formula(lone):
    plain = "".join(ET.fromstring(mathml(lone)).itertext())
    assert plain == lone.replace(" ", "")


def test_lines_with_columns_keep_their_spaces():
    root = tree(fragment(Document("", [Lines(["a sentence"]), Lines(["  a  1", "  b  2"])])))
    assert root.find("p").text == "a sentence"
    assert root.find("pre").text == "  a  1\n  b  2"


def hostile_document():
    pieces = [
        HOSTILE, f"`{HOSTILE}`", Heading(HOSTILE), Lines([HOSTILE]), Lines([f"  {HOSTILE}  "]),
        Table([HOSTILE] * 2, [[HOSTILE, HOSTILE]], caption=HOSTILE, notes=[HOSTILE]),
        equation(HOSTILE, HOSTILE, 1.0),
    ]  # fmt: skip
    return Document(f"{HOSTILE}\n{HOSTILE}", pieces)


@pytest.mark.parametrize(
    "page",
    [
        to_html(HOSTILE, fragment(hostile_document())),
        for_notebook(hostile_document()),
        picture(b"", f'"{HOSTILE}'),
    ],
    ids=["page", "notebook", "picture"],
)
def test_markup_in_a_text_stays_text(page):
    assert "<script" not in page
    assert 'alt=""' not in page


def test_a_page_is_one_file_with_a_policy_that_forbids_the_network():
    page = to_html("Title\nbelow", "<p>body</p>", "go()", ".own {}")
    assert "default-src 'none'" in page
    assert re.search(r"<script>\ngo\(\)</script>", page)
    assert ".own {}" in page
    assert "<h1>Title</h1>" in page
    assert "<p>below</p>" in page
    assert not re.search(r"(src|href)=|https?:|url\(|@import", page)
    assert len(page) < 6000


def test_headings_of_a_page_go_down_in_order():
    d = DOCUMENTS[0]
    levels = re.findall(r"<h(\d)", to_html(d.title, fragment(d)))
    assert levels == ["1"] + ["2"] * sum(isinstance(p, Heading) for p in d.pieces)


def test_a_result_may_be_shown_twice_in_a_notebook():
    shown = for_notebook(DOCUMENTS[0], "<svg></svg>")
    assert " id=" not in shown
    assert shown.endswith("<svg></svg>\n</div>")
