"""What can be wrong with a cluster of the user's own machines."""

import socket
from collections.abc import Iterator
from pathlib import Path

from harness.cluster.files import ClusterFile
from harness.cluster.findings import Finding

SSH_PORT = 22
PATIENCE_SECONDS = 3.0


def machines(file: ClusterFile) -> Iterator[Finding]:
    """Which machines there are."""
    workers = file.provider.get("worker_ips")
    if "coordinator_address" in file.provider:
        return
    if not file.provider.get("head_ip") or workers is None:
        yield Finding(where="provider", what="it does not say which machines", remedy="give head_ip and worker_ips")
        return
    if file.provider["head_ip"] in workers:
        what = f"{file.provider['head_ip']} is head and worker, and Ray starts on it once"
        yield Finding(where="provider.worker_ips", what=what, remedy="list the head under head_ip only")
    for key in ("min_workers", "max_workers"):
        number = file.values.get(key, len(workers))
        if number != len(workers):
            what = f"{number}, but there are {len(workers)} worker_ips"
            yield Finding(where=key, what=what, remedy=f"{key}: {len(workers)}; fewer leave machines out")


def keys(file: ClusterFile) -> Iterator[Finding]:
    """How Ray reaches the machines."""
    auth = file.values.get("auth") or {}
    if not auth.get("ssh_user"):
        yield Finding(where="auth", what="it does not say as whom Ray logs in", remedy="ssh_user: your user there")
    key = auth.get("ssh_private_key")
    if key and not Path(key).expanduser().is_file():
        yield Finding(
            where="auth.ssh_private_key", what=f"there is no {key}", remedy="ssh-keygen -t ed25519, or correct"
        )


def reachable(file: ClusterFile, port: int = SSH_PORT) -> Iterator[Finding]:
    """Whether SSH answers on each machine."""
    if "coordinator_address" in file.provider:  # it knows the machines
        return
    for machine in (file.provider["head_ip"], *file.provider["worker_ips"]):
        try:
            socket.create_connection((machine, port), PATIENCE_SECONDS).close()
        except OSError as error:
            what = f"SSH does not answer on port {port} ({error.strerror or error})"
            yield Finding(where=f"machine {machine}", what=what, remedy="is it on, and does a firewall let you in?")


CHECKS = (machines, keys)
