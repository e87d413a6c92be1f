"""From a document to text, Markdown, LaTeX, and from numbers to pictures.

`document` holds what a result says; `text`, `markdown` and `latex` (with `tex` for formulas) print
it. `plots` knows arrays, names and numbers only.
"""
