"""A user who has made a token and a key, at the root of the repository."""

from pathlib import Path

import pytest

from tests.harness.cluster.made_clusters import ROOT


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the user's own."""
    folder = tmp_path / "home"
    for path in (folder / ".ray" / "auth_token", folder / ".ssh" / "id_ed25519"):
        path.parent.mkdir(parents=True)
        path.write_text("secret")
        path.chmod(0o600)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(ROOT)
    return folder
