"""Names of every kind in the terminal, whatever its encoding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.terminal.legible import as_text, legible

LATIN_1 = os.fsdecode(b"gr\xfc\xdfe.png")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße 日本 [red]", "Grüße 日本 [red]"),
        (LATIN_1, r"gr\xfc\xdfe.png"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("gnp\u202egpj", r"gnp\u202egpj"),
        ("x\u2028y", r"x\u2028y"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_an_escape(text: str, shown: str) -> None:
    assert legible(text) == shown


def test_what_an_encoding_lacks_is_replaced() -> None:
    assert legible("ü: 54.6 ±1.3 …日", "ascii") == r"\xfc: 54.6 +-1.3 ...\u65e5"
    assert legible("ü ±", "latin-1") == "ü ±"


@given(st.text(st.characters(codec=None)), st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252"]))
def test_any_text_is_one_line_that_can_be_encoded(text: str, encoding: str) -> None:
    shown = legible(text, encoding)
    assert shown.encode(encoding).decode(encoding) == shown
    assert len(shown.splitlines()) <= 1
    assert legible(shown, encoding) == shown, "what is legible stays as it is"


@given(st.text(st.characters(codec=None)))
def test_any_name_goes_into_a_file(name: str) -> None:
    assert as_text(name).encode("utf-8").decode("utf-8") == as_text(name)
    assert as_text(as_text(name)) == as_text(name)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8:strict"])
def test_no_encoding_of_stdout_ends_a_command(tmp_path: Path, encoding: str) -> None:
    code = (
        "import sys; from harness.cli import app; from harness.terminal.lines import prepare_streams, say\n"
        "prepare_streams(); say('54.6 ±1.3 日本 ' + sys.argv[1]); print('日本', sys.argv[1])"
    )
    command = [sys.executable, "-c", code, os.fsencode(LATIN_1)]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert b"54.6" in done.stdout
    assert b"xdfe.png" in done.stdout or b"\xdfe.png" in done.stdout
