"""The result of a study as one page: tables, picture, settings, and the command to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyreg.render.document import Document, Table
from tinyreg.render.html import fragment, to_html


def report(document: Document, settings: Mapping[str, Any], shown: str, command: str) -> str:
    """HTML; `shown` is the picture as `render.html.picture` has it, or nothing.

    >>> page = report(Document("digits", []), {"epochs": 60}, "", "tinyreg compare --epochs 60")
    >>> "<h1>digits</h1>" in page, "tinyreg compare --epochs 60" in page
    (True, True)
    """
    rows = [[name, str(value)] for name, value in settings.items()]
    settled = Table(["setting", "value"], rows, left=2, caption="How it was made", notes=[command])
    parts = fragment(document), shown, fragment(Document("", [settled]))
    return to_html(document.title, "\n".join(parts))
