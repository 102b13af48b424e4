"""docs/architecture.md has the tables of test_architecture.py, and names files that there are."""

import re

import pytest

from tests.test_architecture import FORBIDDEN_IN_METHOD, FOREIGN, HARNESS, NDCL, REPORT, ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()


def table(first_heading: str) -> list[tuple[tuple[str, ...], ...]]:
    """The rows of a table by its first heading: of each cell the names in backticks."""
    rows = PAGE.split(f"| {first_heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [tuple(tuple(re.findall(r"`([^`]+)`", cell)) for cell in row.split("|")[1:-1]) for row in rows]


def test_the_packages_of_the_harness() -> None:
    found = {name: set(allowed) for names, allowed in table("package of harness") for name in names}
    assert found == {**{name: set(allowed) for name, allowed in HARNESS.items()}, "cli": set()}


def test_the_libraries() -> None:
    found = {
        name: {*always, *(f"{place}~" for place in late)} for names, always, late in table("library") for name in names
    }
    assert found == FOREIGN


def test_the_folders_of_the_report() -> None:
    assert {name: allowed for (name,), allowed in table("folder of harness/report")} == REPORT


def test_the_floors_of_the_method() -> None:
    floors = [names for _, names in table("floor of ndcl")]
    assert list(map(set, floors)) == list(map(set, reversed(NDCL)))
    (forbidden,) = re.findall(r"^`ndcl` imports none of (.*)\. `serving`", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", forbidden)) == FORBIDDEN_IN_METHOD


def test_every_package_is_described() -> None:
    described = {name for table_name in ("ndcl", "harness") for names, _ in table(table_name) for name in names}
    packages = {
        f"{top}/{path.name}"
        for top in ("ndcl", "harness")
        for path in (ROOT / top).iterdir()
        if (path / "__init__.py").is_file()
    }
    assert packages <= described


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:ndcl|harness|tests|docs|clusters)/[^`]*)`", PAGE))))
def test_a_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_way_of_a_value_enters_no_file_twice() -> None:
    steps = PAGE.split("## The way of a value")[1].split("\n## ")[0]
    files = re.findall(r"`((?:ndcl|harness)/[^`]+\.py)`", steps)
    assert len(files) > 20
    assert len(set(files)) == len(files)
