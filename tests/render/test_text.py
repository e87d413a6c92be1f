"""What a document looks like as text: every shape that a result has, against text set by hand."""

import numpy as np

from tinyreg.render.document import Document, Heading, Lines, Table, equation
from tinyreg.render.text import to_text


def assert_text(document, expected):
    """The text, line by line; the expected one begins and ends with a newline that is not meant."""
    assert to_text(document) == expected[1:-1]


def test_a_report_is_a_headline_a_plain_table_and_remarks_directly_below():
    headers = ["block", "shape", "match", "worst rel. error"]
    rows = [["W1", "2 × 3", "6", "1.2e-10"], ["b1", "3", "·", "0.5"]]
    remarks = ["b1: constant factor 2: a 2 too much", "a note on  more than one block"]
    document = Document("FAILED: gradients: 6 match", [Table(headers, rows, notes=remarks)])
    assert_text(
        document,
        """
FAILED: gradients: 6 match

block  shape  match  worst rel. error
W1     2 × 3      6           1.2e-10
b1         3      ·               0.5
b1: constant factor 2: a 2 too much
a note on  more than one block
""",
    )


def test_a_comparison_is_title_lines_a_ruled_table_and_a_verdict_that_is_not_wrapped():
    verdict = "The verdict is one sentence, " + 10 * "and it stands on one line, " + "however long."
    document = Document(
        "digits: 8 training and 2 test samples\n4-2 relu net",
        [
            Table(
                ["", "none", "proximal"],
                [["objective F = L + R", "0.5", "0.43"], ["  data loss L", "0.4", "0.4"]],
                rule=True,
            ),
            Lines([verdict]),
        ],
    )
    assert_text(
        document,
        f"""
digits: 8 training and 2 test samples
4-2 relu net

                     none  proximal
-------------------  ----  --------
objective F = L + R   0.5      0.43
  data loss L         0.4       0.4

{verdict}
""",
    )


def test_a_path_has_captions_directly_above_tables_that_are_flush_right():
    caption = "proximal  (* best validation score)"
    tables = [Table(["λ", "F"], [["*1.00e-02", "0.4"]], left=0, caption=caption)]
    costs = ["mean score at the smallest λ", "  proximal     0 %: 0.9"]
    assert_text(
        Document("two lines\nof a title", [*tables, Lines(costs), Lines(["broke off"])]),
        """
two lines
of a title

proximal  (* best validation score)
        λ    F
*1.00e-02  0.4

mean score at the smallest λ
  proximal     0 %: 0.9

broke off
""",
    )


def test_a_document_without_a_title_begins_with_its_first_piece():
    table = Table(["full batch", "steps"], [["fista", 12.0]], rule=True, notes=["F_best = 0.5"])
    assert_text(
        Document("", [table]),
        """
full batch  steps
----------  -----
fista          12
F_best = 0.5
""",
    )


def test_an_explanation_has_underlined_titles_numbered_sections_and_indented_tables():
    W = np.array([[0.1, -1.0], [0.9, 0.25]])
    document = Document(
        "A 2-2 network",
        [
            Heading("Forward"),
            "A weighted sum `z1 = x W1` of its inputs.",
            equation("z1 = x W1", [[1.0, 2.0]], W, "=", [[1.9, -0.5]]),
            equation("L", 0.25),
            Heading("The slope `dz`"),
            Table(["", "`w`"], [["`W1[0,0]`", 1 / 3], ["`W1[0,1]`", -0.0]], rule=True),
        ],
    )
    assert_text(
        document,
        """
A 2-2 network
=============


1  Forward
----------

A weighted sum z1 = x W1 of its inputs.

z1 = x W1        (1×2)(2×2) = (1×2)

  = [ 1  2 ] [ 0.1    -1 ] = [ 1.9  -0.5 ]
             [ 0.9  0.25 ]

L = 0.25


2  The slope dz
---------------

                w
  -------  ------
  W1[0,0]  0.3333
  W1[0,1]       0
""",
    )


def test_paragraphs_are_wrapped_and_their_formulas_are_not_broken():
    words = "word " * 18  # 90 characters, and 9 more do not fit
    assert_text(
        Document("", [f"{words}`a = b + c` ends."]),
        f"""
{words.rstrip()}
a = b + c ends.
""",
    )


def test_dots_stand_for_what_is_left_out_of_an_array():
    assert_text(
        Document("", [equation("W", np.ones((9, 9)))]),
        """
W        (9×9)

    [ 1  1  1  1  … ]
  = [ 1  1  1  1  … ]
    [ 1  1  1  1  … ]
    [ ⋮  ⋮  ⋮  ⋮  ⋮ ]
""",
    )
