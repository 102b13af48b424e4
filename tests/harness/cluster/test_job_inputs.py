"""What a job needs beside its code: what is missing is said before anything is sent, with the command that helps."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster import following
from harness.cluster.files import ClusterFile, read_cluster
from harness.cluster.job_inputs import require_inputs
from harness.config import load_sweep
from ndcl.data import Store
from ndcl.data.push import place_in, push
from ndcl.errors import UserError
from ndcl.filesystems import filesystem_of, join, remove_folder
from tests.harness.cluster.made_clusters import filled_in
from tests.made.made_store import make_store
from tests.servers.object_server import serving
from tests.servers.object_stores import served_s3

SWEEP: dict[str, Any] = {
    "name": "office",
    "data": {"name": "office"},
    "imbalance": {"setting": "natural", "validation": 2},
    "algorithms": {"erm": None},
    "train": {"num_steps": 4, "evaluate_every": 2, "batch_size": 4, "model.backbone": "linear"},
    "search": {"num_trials": 1, "scheduler": {"name": "none"}},
}
OWN_DATA = "not checked: data set 'office' has to lie in the data folder of head and nodes"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NDCL_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Store:
    return make_store(data / "office", np.full((3, 3), 9), shape=(6,))


@pytest.fixture
def bucket() -> Iterator[str]:
    with served_s3() as place:
        yield place
        remove_folder(*filesystem_of(join(place, "data")))  # the next server would have it, too


def cluster(folder: Path, name: str = "aws", **metadata: str) -> ClusterFile:
    path = filled_in(name, folder)
    values = yaml.safe_load(path.read_text())
    values["metadata"] |= metadata
    path.write_text(yaml.safe_dump(values))
    return read_cluster(path)


Check = Callable[..., list[str]]


@pytest.fixture
def said(tmp_path: Path) -> Check:
    """What is said of a cluster and a sweep with some values changed."""

    def look(file: ClusterFile, **values: Any) -> list[str]:
        path = tmp_path / "office.yaml"
        path.write_text(yaml.safe_dump({**SWEEP, **values}))
        lines: list[str] = []
        require_inputs(file, load_sweep(path), lines.append)
        return lines

    return look


def test_a_sweep_whose_data_lie_in_the_bucket_has_all_it_needs(
    said: Check, store: Store, bucket: str, tmp_path: Path
) -> None:
    place = join(bucket, "data")
    push(store, place_in(place, "office"))
    assert said(cluster(tmp_path, data=place)) == []
    assert said(cluster(tmp_path, data=place), data={"name": "Office"}) == [], "names match as everywhere"
    assert said(cluster(tmp_path), data={"name": "office", "folder": place}) == [], "its own folder comes first"


def test_data_that_are_not_in_the_bucket_are_named_with_the_command(
    said: Check, store: Store, bucket: str, tmp_path: Path
) -> None:
    place = join(bucket, "data")
    with pytest.raises(UserError, match="data set 'office' is not in s3://bucket/data, where head and nodes") as error:
        said(cluster(tmp_path, data=place))
    assert str(error.value).endswith(f"put it there: ndcl data push office '{place}'")


def test_without_a_place_for_data_a_clouds_nodes_have_none(said: Check, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nodes start without data set 'office'") as error:
        said(cluster(tmp_path, results="s3://mine/results?region=r", data=""))
    remedy = "ndcl data push office s3://mine/data, and write into the file, under metadata: data: s3://mine/data"
    assert remedy in str(error.value)


def test_what_cannot_be_seen_from_here_is_said_in_a_line(said: Check, store: Store, tmp_path: Path) -> None:
    assert said(cluster(tmp_path, "local")) == [OWN_DATA]
    assert said(cluster(tmp_path, "local", data="/mnt/data")) == [
        "not checked: data set 'office' has to lie in /mnt/data on head and nodes"
    ]


def test_nodes_of_a_cloud_may_have_data_of_their_own(said: Check, store: Store, tmp_path: Path) -> None:
    path = cluster(tmp_path, data="").path
    written = path.read_text()
    path.write_text(f"{written}\n# NDCL_DATA\n")
    with pytest.raises(UserError, match="start without data set"):
        said(read_cluster(path))
    path.write_text(written.replace("- ray stop", "- export NDCL_DATA=/image/data; ray stop"))
    assert said(read_cluster(path)) == [OWN_DATA]


def test_a_store_that_refuses_this_machine_does_not_stop_the_job(said: Check, store: Store, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    with serving(tmp_path / "bucket") as server:
        server.forbids = True
        (line,) = said(cluster(tmp_path, data=server.uri("data")))
    assert line.startswith("not checked: data set 'office' at s3://bucket/data, by this machine: ")


def test_other_content_there_than_here_is_said(said: Check, store: Store, bucket: str, tmp_path: Path) -> None:
    place = join(bucket, "data")
    push(make_store(tmp_path / "other" / "office", np.full((3, 3), 10), shape=(6,)), place_in(place, "office"))
    (line,) = said(cluster(tmp_path, data=place))
    assert line.startswith("warning: data set 'office' here is not that of s3://bucket/data, which the job takes; or: ")
    assert line.endswith(f"ndcl data push office '{place}' --replace")


def test_targets_and_settings_are_tried_where_the_data_are_here(
    said: Check, store: Store, bucket: str, tmp_path: Path
) -> None:
    place = join(bucket, "data")
    push(store, place_in(place, "office"))
    file = cluster(tmp_path, data=place)
    with pytest.raises(UserError, match="unknown target domain 'nowhere'"):
        said(file, data={"name": "office", "targets": ["nowhere"]})
    with pytest.raises(UserError, match="released"):
        said(file, imbalance={"setting": "released/cross"})
    (store.folder / "data.arrow").unlink()
    assert said(file) == [
        "not checked: whether targets and settings suit office, not on this machine; the head checks it first"
    ]


def test_weights_have_to_be_among_what_is_sent(
    said: Check, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = cluster(tmp_path, "local")
    make_store(data / "photos", np.full((3, 3), 9), shape=(64, 64, 3))

    def lines(weights: str) -> list[str]:
        train = {**SWEEP["train"], "model.backbone": "resnet18", "model.weights": weights}
        return said(file, data={"name": "photos"}, train=train)

    assert "weights: each node fetches ImageNet's at its first trial, unless they lie in its image" in lines("imagenet")
    for missing in ("own.pth", "/weights/own.pth", "~/own.pth"):
        with pytest.raises(UserError, match=f"model.weights: nodes won't find '{missing}'; put it below the folder"):
            lines(missing)
    (tmp_path / "own.pth").write_bytes(b"weights")
    assert not any("weights" in line for line in lines("own.pth"))


def test_nothing_is_sent_before(store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "submit", lambda *_: pytest.fail("it was sent"))
    sweep = tmp_path / "office.yaml"
    sweep.write_text(yaml.safe_dump(SWEEP))
    cluster_yaml = str(cluster(tmp_path, data=join(bucket, "data")).path)
    result = CliRunner().invoke(app, ["cluster", "submit", cluster_yaml, str(sweep)])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("ndcl: error: ")
    assert "ndcl data push office" in result.stderr
    options = ["--seconds-per-step", "0.1", "--results", str(tmp_path / "results")]
    result = CliRunner().invoke(app, ["cluster", "cost", str(sweep), cluster_yaml, *options])
    assert result.exit_code == 2
    assert "at the worst: " in result.stdout, "the price comes first"
    assert "ndcl data push office" in result.stderr
