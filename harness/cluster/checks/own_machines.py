"""What can be wrong with a cluster of the user's own machines."""

import ipaddress
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.cluster.checks.findings import Finding
from harness.cluster.files import PLACEHOLDER, ClusterFile

SSH_PORT = 22
PATIENCE_SECONDS = 3.0
OF_EXAMPLES = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")))
"""Which documents use, and nobody has (RFC 5737, RFC 3849)."""
MADE_UP = (".example", ".example.com", ".example.net", ".example.org", ".invalid")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
_LIKE_AN_ADDRESS = re.compile(r"[\d.]+")


def machines(file: ClusterFile) -> Iterator[Finding]:
    """Which machines there are."""
    workers = file.provider.get("worker_ips")
    if "coordinator_address" in file.provider:
        return
    if not file.provider.get("head_ip") or not isinstance(workers, list):
        yield Finding(where="provider", what="it does not say which machines", remedy="give head_ip and worker_ips")
        return
    wrong = [finding for key, machine in _machines(file) for finding in _of_address(machine, key)]
    if wrong or any(PLACEHOLDER in str(machine) for _, machine in _machines(file)):
        yield from wrong
        return
    for machine in sorted({worker for worker in workers if workers.count(worker) > 1}):
        what = f"{machine} is listed {workers.count(machine)} times, and Ray starts on it once"
        yield Finding(where="provider.worker_ips", what=what, remedy="list each machine once")
    if file.provider["head_ip"] in workers:
        what = f"{file.provider['head_ip']} is head and worker, and Ray starts on it once"
        yield Finding(where="provider.worker_ips", what=what, remedy="list the head under head_ip only")
    for key in ("min_workers", "max_workers"):
        number = file.values.get(key, len(workers))
        if number != len(workers):
            what = f"{number}, but there are {len(workers)} worker_ips"
            yield Finding(where=key, what=what, remedy=f"{key}: {len(workers)}; fewer leave machines out")


def _machines(file: ClusterFile) -> Iterator[tuple[str, Any]]:
    yield "provider.head_ip", file.provider["head_ip"]
    for number, worker in enumerate(file.provider["worker_ips"]):
        yield f"provider.worker_ips.{number}", worker


def _of_address(machine: Any, where: str) -> Iterator[Finding]:
    """An address, or a name that could be one of a machine."""
    text = str(machine)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        is_name = isinstance(machine, str) and _NAME.fullmatch(text) and not _LIKE_AN_ADDRESS.fullmatch(text)
        if not is_name:
            yield Finding(
                where=where, what=f"{machine!r} is no address", remedy="such as 192.168.1.11, or a host's name"
            )
        elif text.lower().endswith(MADE_UP):
            yield Finding(where=where, what=f"{text} is a name of examples", remedy="put your own machine's there")
        return
    if any(address in network for network in OF_EXAMPLES if network.version == address.version):
        yield Finding(where=where, what=f"{text} is an address of examples", remedy="put your own machine's there")
    elif address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        yield Finding(where=where, what=f"{text} is the address of no machine", remedy="such as 192.168.1.11")


def login(file: ClusterFile) -> Iterator[Finding]:
    """As whom Ray reaches the machines."""
    if not (file.values.get("auth") or {}).get("ssh_user"):
        yield Finding(where="auth", what="it does not say as whom Ray logs in", remedy="ssh_user: your user there")


def keys(file: ClusterFile) -> Iterator[Finding]:
    """With what."""
    key = (file.values.get("auth") or {}).get("ssh_private_key")
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


STRUCTURE = (machines, login)
SHAPE = (machines,)
CHECKS = (login, keys)
