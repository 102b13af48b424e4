"""A user who has made a token and a key, at the root of the repository."""

from pathlib import Path

import boto3
import pytest
from ray.autoscaler._private.aws import utils as launcher_of_aws

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


@pytest.fixture(autouse=True)
def no_account_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's SDK and Ray's launcher keep the credentials that they have found as long as their process lives."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("resource_cache", "client_cache"):
        getattr(launcher_of_aws, name).cache_clear()


@pytest.fixture
def made_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRay:
    """A `ray` that answers what the test says, in place of the one beside Python, and credentials for it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made")
    made = MadeRay(tmp_path / "bin")
    monkeypatch.setattr("sys.executable", made.python)
    return made
