"""Every code block of the pages is run by a journey, or named in not_run.py with the reason why not."""

import ast
from pathlib import Path

from tests.journeys.guides import blocks, pages
from tests.journeys.not_run import NOT_RUN

HERE = Path(__file__).parent


def run_by_journeys() -> set[tuple[str, str]]:
    """The arguments of all calls `block("page", "begin")` in the tests of this folder."""
    calls = [
        node
        for path in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "block"
    ]
    return {(ast.literal_eval(call.args[0]), ast.literal_eval(call.args[1])) for call in calls}


def planned_yaml() -> set[tuple[str, str]]:
    """What test_yaml_blocks.py plans: every YAML block that is not named elsewhere."""
    return {(block.file, block.text) for page in pages() for block in blocks(page) if block.language == "yaml"}


def test_every_block_is_run_or_named() -> None:
    named = run_by_journeys() | planned_yaml() | set(NOT_RUN)
    missing = [
        f"{page}: {block.text.splitlines()[0]}"
        for page in pages()
        for block in blocks(page)
        if not any(page == file and block.text.startswith(start) for file, start in named)
    ]
    assert not missing, "run these in a journey, or name them in not_run.py"


def test_nothing_is_named_that_is_not_there_or_run_after_all() -> None:
    for file, start in NOT_RUN:
        assert len([block for block in blocks(file) if block.text.startswith(start)]) == 1, (file, start)
    assert not run_by_journeys() & set(NOT_RUN)
