"""Which revision of the code a sweep runs by."""

import subprocess
from pathlib import Path

import pytest

from harness.records import revision
from harness.records.revision import git_revision


def test_the_revision_is_this_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = ["git", "rev-parse", "HEAD"]
    here = Path(revision.__file__).parent
    expected = subprocess.run(head, cwd=here, capture_output=True, text=True, check=False).stdout.strip() or None
    found = git_revision()
    assert (found and found.removesuffix("-dirty")) == expected
    monkeypatch.setattr(revision, "__file__", str(tmp_path / "revision.py"))
    assert git_revision() is None
