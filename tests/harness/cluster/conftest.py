"""A user who has made a token and a key, at the root of the repository."""

from pathlib import Path

import pytest

from tests.harness.cluster.made_clusters import ROOT
from tests.made.made_ray import MadeRay


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


@pytest.fixture
def made_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRay:
    """A `ray` that answers what the test says, in place of the one beside Python, and credentials for it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made")
    made = MadeRay(tmp_path / "bin")
    monkeypatch.setattr("sys.executable", made.python)
    return made
