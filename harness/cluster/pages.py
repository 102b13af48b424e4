"""MLflow and dashboard of a cluster's head, opened on this machine at ports that are free."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterable

from harness.cluster import commands
from harness.cluster.files import ClusterFile
from harness.cluster.running import Say, started
from harness.config.commands import ndcl_command
from ndcl.errors import UserError

FROM = {commands.MLFLOW_PORT: 5001, commands.DASHBOARD_PORT: 8265}
"""By the port on the head, the first to be tried here; 5000 belongs to AirPlay on a Mac, and to `ndcl ui`."""
TRIED = 100
OPEN_SECONDS = 60.0
"""So long may it take until the ports answer."""


def show_pages(file: ClusterFile, opened: Callable[[str], None], say: Say) -> None:
    """Forward the pages, say where they are, and stay until Ctrl-C; `opened` is called with MLflow's address.

    Raises UserError if the connection can't be made, or is lost.
    """
    ports = {free_port(first): there for there, first in FROM.items()}
    process = started(commands.pages(file, ports), say)
    try:
        _wait(process, ports, file)
        mlflow, dashboard = (f"http://127.0.0.1:{here}" for here in ports)
        say(f"MLflow: {mlflow}")
        say(f"dashboard: {dashboard}")
        say("Ctrl-C closes them; jobs continue")
        opened(mlflow)
        process.wait()
        again = ndcl_command("cluster", "ui", file.path)
        raise UserError(f"{file.path}: the connection to the head was lost; open it again: {again}")
    except KeyboardInterrupt:
        say("closed")
    finally:
        process.terminate()
        process.wait()


def free_port(first: int) -> int:
    """The first port of this machine's loopback, from `first` on, that nothing listens on. Raises UserError."""
    for port in range(first, first + TRIED):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise UserError(f"no port from {first} to {first + TRIED - 1} is free on this machine; close what listens there")


def _wait(process: "subprocess.Popen[bytes]", ports: Iterable[int], file: ClusterFile) -> None:
    """Until all ports answer."""
    deadline = time.monotonic() + OPEN_SECONDS
    while not all(map(_answers, ports)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise UserError(f"{file.path}: the head's pages can't be opened; is the cluster up?")
        time.sleep(0.2)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
