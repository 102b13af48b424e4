"""Text in Markdown: no name formats, links, ends a cell or a code block. Pure."""

import re

from harness.terminal.legible import legible


def literal(text: str) -> str:
    """`text` as it is read, on one line, where Markdown is written."""
    text = re.sub(r"([\\`*|<\[~])", r"\\\1", legible(text))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)  # inside a word an underscore is none of Markdown's


def code_block(text: str) -> str:
    """Lines as they are, in a fence longer than any of theirs."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    lines = "\n".join(map(legible, text.splitlines()))
    return f"{fence}\n{lines}\n{fence}"
