"""From a document to text, Markdown, LaTeX, and from numbers to pictures."""
