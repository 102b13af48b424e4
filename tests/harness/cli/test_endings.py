"""How a command ends that is asked little, written nowhere, or read by nobody."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ndcl
from tests.harness.command_line import run

COMMANDS = ("--help", "data list --folder .", "data show digits --folder . --out d.png")


def typed(line: str, here: Path) -> "subprocess.CompletedProcess[str]":
    """What a shell makes of a line, in which NDCL is the command; the exit code is the command's."""
    shell = f"set -o pipefail; {line.replace('NDCL', f'{sys.executable} -m harness.cli')}"
    return subprocess.run(["bash", "-c", shell], cwd=here, capture_output=True, text=True)


@pytest.mark.parametrize("group", [(), ("data",), ("cluster",), ("plan",)])
def test_help_by_a_letter(group: tuple[str, ...]) -> None:
    assert run(*group, "-h").output == run(*group, "--help").output
    assert run(*group, "-h").exit_code == 0


def test_the_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"ndcl {ndcl.__version__}\n")


def test_a_wrong_choice_is_told_without_the_words_of_a_library() -> None:
    result = run("predict", "model", "x.png", "--device", "gpu")
    assert result.exit_code == 2
    assert "'--device': 'gpu' is not one of" in result.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sweep", "missing argument 'SWEEP.yaml'"),
        ("swep x", "no such command 'swep'; did you mean 'sweep'?"),
        ("plan a.yaml --foo", "no such option: --foo"),
        ("train a.yaml --workers none", "invalid value for '--workers': "),
        ("train a.yaml --workers 0", "invalid value for '--workers': "),
        ("predict model", "missing argument 'IMAGES...'"),
        ("plan a.yaml --results", "option '--results' requires an argument"),
        ("data show", "missing argument 'NAME'"),
        ("cluster chek", "no such command 'chek'; did you mean 'check'?"),
        ("sweep a.yaml b.yaml", "got unexpected extra argument(s) (b.yaml)"),
    ],
)
def test_a_line_that_is_not_understood_is_told_in_one_line(line: str, words: str) -> None:
    result = run(*line.split())
    assert (result.exit_code, result.stdout) == (2, "")
    [told] = result.stderr.splitlines()
    assert told.startswith(f"ndcl: error: {words}")
    assert told.endswith(" -h` shows what it takes")


def test_a_command_without_a_verb_shows_what_there_is() -> None:
    for group in ((), ("data",), ("cluster",)):
        assert run(*group).output == run(*group, "--help").output


def test_an_interruption_while_modules_are_imported_has_no_traceback() -> None:
    scripts = tomllib.loads(Path("pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["ndcl"].partition(":")
    code = (
        "import sys, types\n"
        "class Stopped(types.ModuleType):\n"
        "    def __getattr__(self, name): raise KeyboardInterrupt\n"
        f"from {module} import {function}\n"
        "sys.modules['harness.cli'] = Stopped('harness.cli')\n"
        f"{function}()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (130, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_is_full_is_one_line(command: str, tmp_path: Path) -> None:
    result = typed(f"NDCL {command} > /dev/full", tmp_path)
    assert result.returncode == 2
    assert result.stderr.endswith("the output can't be written (No space left on device); make room for it\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_that_nobody_reads_is_no_mistake(command: str, tmp_path: Path) -> None:
    result = typed(f"NDCL {command} | true", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
