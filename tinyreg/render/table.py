"""Numbers in columns, for a person to read."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], left: int = 1, rule: bool = False) -> list[str]:
    """The rows as lines of aligned columns.

    Parameters
    ----------
    rows : sequence of sequence of str
        The first one is the header.
    left : int
        So many columns are flush left, the others flush right.
    rule : bool
        Draw a line under the header.

    Returns
    -------
    list of str

    Examples
    --------
    >>> print("\\n".join(text_table([["", "F"], ["proximal", "0.43"]], rule=True)))
                 F
    --------  ----
    proximal  0.43
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if rule:
        lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
