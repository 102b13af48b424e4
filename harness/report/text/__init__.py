"""A comparison as tables: in the terminal, Markdown, LaTeX and JSON."""
