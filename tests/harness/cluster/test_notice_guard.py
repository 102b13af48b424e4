"""What each cloud's metadata server says before it takes a machine, by one on loopback, and what follows from it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.cluster.notice import GUARD_LOCK_FILE, MARK, NodeNotice, is_guarded, leave_mark, mark_file, remove_mark
from harness.cluster.notice_guard import CLOUDS, NoticeGuard
from harness.cluster.one_at_a_time import alone
from tests.servers.metadata_server import Metadata, metadata_server

ROOT = Path(__file__).parents[3]
AZURE_EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
AZURE_NAME = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with metadata_server() as server:
        yield server


@pytest.fixture(autouse=True)
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MARK, str(tmp_path / "notice"))
    return tmp_path / "notice"


def event(kind: str, machine: str) -> str:
    return json.dumps({"Events": [{"EventType": kind, "Resources": [machine], "NotBefore": "12:00"}]})


GOOGLE = "/computeMetadata/v1/instance"
AWS_ACTION = "/latest/meta-data/spot/instance-action"


@pytest.mark.parametrize(
    ("cloud", "texts", "expected"),
    [
        ("aws", {}, None),
        ("aws", {"/latest/meta-data/events/recommendations/rebalance": '{"noticeTime": "12:00"}'}, None),
        ("aws", {AWS_ACTION: '{"action": "terminate", "time": "12:00"}'}, "AWS: terminate at 12:00"),
        ("gcp", {f"{GOOGLE}/preempted": "FALSE", f"{GOOGLE}/maintenance-event": "NONE"}, None),
        ("gcp", {f"{GOOGLE}/preempted": "TRUE"}, "Google Cloud: preempted"),
        (
            "gcp",
            {f"{GOOGLE}/maintenance-event": "TERMINATE_ON_HOST_MAINTENANCE"},
            "Google Cloud: ended for maintenance",
        ),
        ("azure", {AZURE_EVENTS: '{"Events": []}'}, None),
        ("azure", {AZURE_EVENTS: event("Reboot", "me"), AZURE_NAME: "me"}, None),
        ("azure", {AZURE_EVENTS: event("Preempt", "another"), AZURE_NAME: "me"}, None),
        ("azure", {AZURE_EVENTS: event("Preempt", "me"), AZURE_NAME: "me"}, "Azure: preempted, not before 12:00"),
    ],
)
def test_each_cloud_is_understood(cloud: str, texts: dict[str, str], expected: str | None, metadata: Metadata) -> None:
    metadata.texts |= texts
    assert CLOUDS[cloud](metadata.url) == expected


def test_a_notice_drains_the_node_before_the_trials_look(mark: Path) -> None:
    said = iter([None, "AWS: terminate", "AWS: terminate"])
    seen: list[tuple[str, bool]] = []
    guard = NoticeGuard(lambda: next(said), lambda reason: seen.append((reason, mark.exists())))
    notice = NodeNotice()
    guard.step()
    assert not notice()
    guard.step()
    assert notice()
    guard.step()
    assert seen == [("AWS: terminate", False)], "once, and before the mark"
    assert "AWS: terminate" in mark.read_text()


def test_trials_look_also_where_ray_does_not_answer_and_ray_is_told_again(mark: Path) -> None:
    tries: list[str] = []

    def drain(reason: str) -> None:
        tries.append(reason)
        if len(tries) == 1:
            raise ConnectionError

    guard = NoticeGuard(lambda: "gone", drain)
    with pytest.raises(ConnectionError):
        guard.step()
    before = mark.stat().st_mtime_ns
    guard.step()
    guard.step()
    assert len(tries) == 2
    assert mark.stat().st_mtime_ns == before, "or else trials that started meanwhile would be given back"


def test_what_starts_on_a_node_with_its_notice_trains(mark: Path) -> None:
    leave_mark("earlier")
    notice = NodeNotice()
    assert not notice()
    remove_mark()
    assert not notice()
    leave_mark("now")
    os.utime(mark, ns=(1, 1))
    assert notice()
    assert mark_file() == mark


@pytest.mark.parametrize(("name", "cloud"), [("aws", "aws"), ("aws-efa", "aws"), ("gcp", "gcp"), ("azure", "azure")])
def test_the_workers_of_each_launcher_yaml_start_the_guard(name: str, cloud: str) -> None:
    config = yaml.safe_load((ROOT / "clusters" / f"{name}.yaml").read_text())
    wanted = f"python -m harness.cluster.notice_guard --cloud {cloud} "
    assert any(wanted in command for command in config["worker_start_ray_commands"])
    assert cloud in CLOUDS


def test_whether_anybody_may_leave_a_mark_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else several workers would ask each other after each step for nothing."""
    monkeypatch.delenv(MARK, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not is_guarded()
    monkeypatch.setenv(MARK, str(tmp_path / "notice"))
    assert is_guarded()
    monkeypatch.delenv(MARK)
    with alone(GUARD_LOCK_FILE):
        assert is_guarded()
