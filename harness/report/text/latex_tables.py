"""Tables in LaTeX: text that it must not take for commands, cells, and environments that fit the number of rows."""

from collections.abc import Iterable, Mapping, Sequence

from harness.report.analysis.cells import Cell
from harness.report.analysis.families import in_families
from harness.report.text.grid import highest, rounded, second_highest
from harness.terminal.legible import legible

PACKAGES = ("array", "booktabs", "longtable")
"""What the tables need."""
MOST_ROWS = 36
"""A table of more rows may be broken over pages, which a floating one can't."""
SPACING = r"\setlength{\tabcolsep}{4pt}"
MISSING = "--"
LAST_OF_FONTS = "\u017f"
"""The last character for which pdfLaTeX's fonts have glyphs."""
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "*": "{*}",  # else an option of a row's end
}  # fmt: skip


def escaped(text: str) -> str:
    """As it is read, where LaTeX is written."""
    return "".join(SPECIAL.get(character, character) for character in legible(text))


def breakable(text: str) -> str:
    """The same of a dotted key or a path, which may be broken behind its dots, underscores and slashes."""
    shown = escaped(text)
    for sign in (".", r"\_", "/"):
        shown = shown.replace(sign, rf"{sign}\allowbreak{{}}")
    return shown


def declarations(body: str) -> str:
    """What pdfLaTeX prints for characters of other scripts, which would end it; LuaLaTeX takes them from its font."""
    others = sorted({character for character in body if character > LAST_OF_FONTS})
    if not others:
        return ""
    codes = [f"{ord(character):04X}" for character in others]
    lines = [f"\\DeclareUnicodeCharacter{{{code}}}{{\\texttt{{U+{code}}}}}" for code in codes]
    return "\n".join(["\\ifdefined\\DeclareUnicodeCharacter", *lines, "\\fi", ""])


def label(*names: str) -> str:
    """Of letters, digits and what LaTeX allows besides."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in "-".join(names))


def tabular(
    caption: str, name: str, header: Sequence[str], blocks: Iterable[Sequence[str]], columns: str | None = None
) -> str:
    """A table of `blocks` of rows with rules between them, floating, or of many rows broken over pages.

    `header` has one line of column heads or several, `columns` the kinds of all columns (default: names left, numbers
    right); what is given is LaTeX.
    """
    blocks = [block for block in blocks if block]
    kinds = columns or f"l{'r' * header[-1].count(' & ')}"
    num_rows = sum(map(len, blocks))
    body = "\n\\midrule\n".join("\n".join(rf"{row} \\" for row in block) for block in blocks)
    heads = "\n".join(line if line.startswith(r"\cmidrule") else rf"{line} \\" for line in header)
    make = _broken if num_rows > MOST_ROWS else _floating
    return make(caption, f"tab:{name}", kinds, heads, body)


def family_blocks(lines: Mapping[str, Sequence[str]], families: Mapping[str, str], num_columns: int) -> list[list[str]]:
    """The lines of each algorithm, in a block for each family that begins with its name."""
    return [
        [*_heading(family, num_columns), *(line for name in names for line in lines[name])]
        for family, names in in_families(lines, families)
    ]


def _heading(family: str, num_columns: int) -> list[str]:
    return [rf"\multicolumn{{{num_columns}}}{{l}}{{\emph{{{escaped(family)}}}}}"] if family else []


def _floating(caption: str, name: str, kinds: str, heads: str, body: str) -> str:
    return "\n".join([
        "",
        r"\begin{table}[htbp]",
        rf"\centering\small{SPACING}\setlength{{\abovecaptionskip}}{{0pt}}\setlength{{\belowcaptionskip}}{{4pt}}",
        rf"\caption{{{caption}}}",
        rf"\label{{{name}}}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        heads,
        r"\midrule",
        body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ])  # fmt: skip


def _broken(caption: str, name: str, kinds: str, heads: str, body: str) -> str:
    width = rf"\multicolumn{{{_num_columns(heads)}}}{{r}}"
    return "\n".join([
        "",
        rf"\begingroup\small{SPACING}\setlength{{\LTcapwidth}}{{\textwidth}}",
        rf"\begin{{longtable}}{{{kinds}}}",
        rf"\caption{{{caption}}}",
        rf"\label{{{name}}} \\",
        r"\toprule",
        heads,
        r"\midrule",
        r"\endfirsthead",
        r"\toprule",
        heads,
        r"\midrule",
        r"\endhead",
        r"\midrule",
        rf"{width}{{continued on the next page}} \\",
        r"\endfoot",
        r"\bottomrule",
        r"\endlastfoot",
        body,
        r"\end{longtable}",
        r"\endgroup",
    ])  # fmt: skip


def _num_columns(heads: str) -> int:
    return heads.splitlines()[-1].count(" & ") + 1


def column(cells: Sequence[Cell | None], star: str = "*") -> list[str]:
    """A column's cells, the best bold and the second underlined, as they are printed; `star` marks previews."""
    marks = zip(cells, highest(cells), second_highest(cells), strict=True)
    return [cell_text(cell, best, second, star) for cell, best, second in marks]


def cell_text(cell: Cell | None, best: bool = False, second: bool = False, star: str = "*") -> str:
    """A mean with its standard error in percent."""
    if cell is None:
        return MISSING
    number = rounded(cell.mean)
    number = rf"\textbf{{{number}}}" if best else rf"\underline{{{number}}}" if second else number
    error = "" if cell.error is None else rf" {{\scriptsize$\pm${rounded(cell.error)}}}"
    return number + error + (rf"$^{{{star}}}$" if cell.provisional else "")
