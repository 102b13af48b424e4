"""`ndcl cluster ui`: ports that are free, and pages that stay until Ctrl-C or until the connection is lost."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray.autoscaler.sdk

from harness.cluster import commands, forward, pages
from harness.cluster.commands import Command
from harness.cluster.files import ClusterFile, read_cluster
from harness.cluster.pages import free_port, show_pages
from ndcl.errors import UserError
from tests.harness.cluster.made_clusters import ROOT, filled_in

FORWARDER = """
import socket, sys, time
heard = [socket.create_server(("127.0.0.1", int(word.partition(":")[0]))) for word in sys.argv[2:]]
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def file(tmp_path: Path) -> ClusterFile:
    return read_cluster(filled_in("aws", tmp_path))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that something listens on; MLflow is tried from there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        monkeypatch.setitem(pages.FROM, commands.MLFLOW_PORT, port)
        yield port


def forwarding(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the ports here answer for so long."""

    def forwarded(_: ClusterFile, ports: dict[int, int]) -> Command:
        words = [f"{here}:{there}" for here, there in ports.items()]
        return Command(words=(sys.executable, "-c", FORWARDER, str(seconds), *words))

    monkeypatch.setattr(commands, "pages", forwarded)


def test_a_port_that_is_taken_is_passed_over(taken: int) -> None:
    assert taken < free_port(taken) < taken + pages.TRIED


def test_the_ports_that_are_tried_are_none_of_a_macs_own() -> None:
    assert 5000 not in pages.FROM.values()


def test_where_no_port_is_free_that_is_said(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "TRIED", 1)
    with pytest.raises(UserError, match=f"no port from {taken} to {taken} is free"):
        free_port(taken)


def test_the_pages_are_open_until_control_c(file: ClusterFile, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    forwarding(600, monkeypatch)
    said: list[str] = []

    def opened(address: str) -> None:
        assert int(address.rpartition(":")[2]) > taken
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=10).close()
        signal.raise_signal(signal.SIGINT)

    show_pages(file, opened, said.append)
    assert said[1].startswith("MLflow: http://127.0.0.1:")
    assert said[2].startswith("dashboard: http://127.0.0.1:")
    assert said[-1] == "closed"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(said[1].rpartition(":")[2])), timeout=10)


def test_a_connection_that_ends_is_told_with_the_command(file: ClusterFile, monkeypatch: pytest.MonkeyPatch) -> None:
    forwarding(3, monkeypatch)
    with pytest.raises(
        UserError, match=rf"the connection to the head was lost; open it again: ndcl cluster ui {file.path}"
    ):
        show_pages(file, lambda _: None, lambda _: None)


def test_a_cluster_that_is_not_up_has_no_pages(file: ClusterFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "pages", lambda *_: Command(words=("false",)))
    with pytest.raises(UserError, match="the head's pages can't be opened; is the cluster up"):
        show_pages(file, lambda _: None, lambda _: None)


def test_ray_is_asked_for_these_ports(file: ClusterFile, monkeypatch: pytest.MonkeyPatch) -> None:
    command = commands.pages(file, {5001: 5000, 8266: 8265})
    assert str(command) == f"python -m harness.cluster.forward {file.path} 5001:5000 8266:8265"
    asked = []
    monkeypatch.setattr(ray.autoscaler.sdk, "run_on_cluster", lambda path, **options: asked.append((path, options)))
    monkeypatch.setattr("sys.argv", list(command.words[2:]))
    forward.main()
    assert asked == [(str(file.path), {"port_forward": [(5001, 5000), (8266, 8265)], "no_config_cache": True})]


def test_the_connection_ends_with_its_program(tmp_path: Path) -> None:
    """Ray waits for ssh as `subprocess` does; a child that went on would keep the ports."""
    code = (
        "import ray.autoscaler.sdk as sdk, subprocess, sys\n"
        "from harness.cluster import forward\n"
        "wait = [sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(600)']\n"
        "sdk.run_on_cluster = lambda *_, **__: subprocess.check_call(wait)\n"
        "forward.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, "a.yaml", "1:2"], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    process.terminate()
    assert process.stdout.read() == b""  # once nobody is left who could write
    assert process.wait() == 0


def test_ports_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["forward", "aws.yaml", "5000"])
    with pytest.raises(SystemExit):
        forward.main()
    assert "5000: expected HERE:THERE, such as 5001:5000" in capsys.readouterr().err
