"""The code blocks of README.md and docs/*.md: what a reader is told to type, write or expect."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOGS = ("docs/log.md", "docs/log/")
"""Tell what was tried, not what to type."""
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block of a page."""

    file: str
    """Relative to the root of the repository."""
    language: str
    text: str

    @property
    def lines(self) -> tuple[str, ...]:
        """Its commands, without comments; continued lines are joined."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return tuple(line for line in map(_without_comment, joined) if line)

    def line(self, start: str) -> str:
        """Its only command that begins with `start`."""
        (found,) = [line for line in self.lines if line.startswith(start)]
        return found


def pages() -> tuple[str, ...]:
    """README.md and the guides."""
    found = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    return ("README.md", *(page for page in found if not page.startswith(LOGS)))


def blocks(file: str) -> tuple[Block, ...]:
    """All blocks of a page, in order."""
    found = _FENCE.findall((ROOT / file).read_text())
    return tuple(Block(file=file, language=language, text=text) for language, text in found)


def block(file: str, start: str) -> Block:
    """The only block of the page whose text begins with `start`."""
    (found,) = [block for block in blocks(file) if block.text.startswith(start)]
    return found


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s+)#\s.*$", "", line).rstrip()
