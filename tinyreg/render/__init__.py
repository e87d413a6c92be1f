"""From a document to text, Markdown, LaTeX, and from numbers to pictures.

`document` holds what a result says; `text`, `latex` and `markdown` print it. `plots` knows arrays,
names and numbers only.
"""
