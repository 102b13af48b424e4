"""The long tests begin with those of what the newest commit touches."""

import pytest

from tests.conftest import TESTS, WHOLE, touched_by


@pytest.mark.parametrize(
    ("file", "begins"),
    [
        ("harness/sweep/run.py", ("distributed", "harness/sweep", "integration")),
        ("ndcl/models/network.py", ("ndcl/models",)),
        ("clusters/aws.yaml", ("clusters_live",)),
        ("tests/integration/test_status.py", ("integration/test_status.py",)),
        ("docs/start.md", ("journeys",)),
        ("README.md", ("journeys",)),
    ],
)
def test_a_change_leads_to_its_tests(file: str, begins: tuple[str, ...]) -> None:
    assert touched_by([file]) == begins


def test_the_folders_are_there() -> None:
    assert all((TESTS / folder).is_dir() for folders in WHOLE.values() for folder in folders)
    assert all((TESTS.parent / change).exists() for change in WHOLE)
