"""Made-up machines: network, mount and process namespaces on this one, each with an sshd; nothing else is reached."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ndcl.data import data_folder, open_dataset

ROOT = Path(__file__).parents[2]
PROGRAMS = ("ip", "unshare", "nsenter", "ssh", "ssh-keygen", "sshd", "rsync", "useradd")
"""Debian: iproute2, util-linux, openssh-client, openssh-server, rsync, passwd."""

DATA = "/mnt/data"


def missing() -> str | None:
    """Why machines can't be made up here, or None if they can."""
    if os.geteuid() != 0:
        return "only root can make namespaces"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    absent = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if absent:
        return f"{', '.join(absent)} not installed (apt-get install iproute2 openssh-server rsync)"
    made = subprocess.run(["unshare", "-n", "-m", "-p", "-f", "true"], capture_output=True, check=False)
    return None if made.returncode == 0 else "namespaces are not allowed here"


def sh(*words: str, check: bool = True) -> str:
    """Run a program; its output."""
    return subprocess.run(words, check=check, capture_output=True, text=True).stdout


def image_data() -> str:
    """A folder with the embedded digits, made once; machines show it as DATA, as if it were in their image."""
    open_dataset("digits")
    return str(data_folder())


def binds() -> list[str]:
    """Folders that Python needs and that may lie on other disks than `/`, which an overlay of it does not show."""
    return sorted({sys.prefix, sys.base_prefix})


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network without a way out: a namespace with a bridge."""

    name: str
    gateway: str
    bridge: str = "br0"

    def make(self) -> None:
        sh("ip", "netns", "add", self.name)
        inside = ("ip", "-n", self.name)
        sh(*inside, "link", "set", "lo", "up")
        sh(*inside, "link", "add", self.bridge, "type", "bridge")
        sh(*inside, "addr", "add", self.gateway, "dev", self.bridge)
        sh(*inside, "link", "set", self.bridge, "up")

    def remove(self) -> None:
        sh("ip", "netns", "del", self.name, check=False)


class Machine:
    """One machine on a network."""

    def __init__(self, network: Network, name: str, addresses: list[str], folder: Path) -> None:
        """The first of `addresses` has its prefix length; others are reached through it."""
        self.network, self.name, self.addresses, self.folder = network, name, addresses, folder
        self.namespace = f"{network.name}-{name}"[:60]
        self._link = f"v{name}"[-15:]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, key: str, profile: Mapping[str, str], shared: Path | None = None) -> None:
        """Power it on; who has the private part of `key` may log in as ubuntu, with the variables of `profile`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "authorized_keys").write_text(key)
        self._connect()
        variables = {"NDCL_DATA": DATA, **profile}
        environment = {
            **os.environ,
            "MACHINE": str(self.folder),
            "MACHINE_NAME": self.name,
            "MACHINE_BINDS": " ".join(binds()),
            "MACHINE_DATA": image_data(),
            "MACHINE_SHARED": str(shared or ""),
            "MACHINE_PROFILE": "\n".join(f"export {key}={value}" for key, value in variables.items()),
        }
        command = ["ip", "netns", "exec", self.namespace, "unshare", "-m", "-p", "-u", "-i", "-f", "--kill-child"]
        command += ["--propagation", "private", "bash", str(Path(__file__).with_name("machine.sh"))]
        with (self.folder / "console.log").open("w") as console:
            self.process = subprocess.Popen(
                command, env=environment, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _connect(self) -> None:
        inside, peer = ("ip", "-n", self.namespace), f"{self._link[:13]}-p"
        host = ("ip", "-n", self.network.name)
        sh("ip", "netns", "add", self.namespace)
        sh(*host, "link", "add", self._link, "type", "veth", "peer", "name", peer)
        sh(*host, "link", "set", peer, "netns", self.namespace)
        sh(*host, "link", "set", self._link, "master", self.network.bridge, "up")
        sh(*inside, "link", "set", "lo", "up")
        sh(*inside, "link", "set", peer, "name", "eth0")
        for address in self.addresses:
            sh(*inside, "addr", "add", address, "dev", "eth0")
            if address.endswith("/32"):
                sh(*host, "route", "replace", address, "dev", self.network.bridge)
        sh(*inside, "link", "set", "eth0", "up")
        gateway = self.network.gateway.partition("/")[0]
        sh(*inside, "route", "add", "default", "via", gateway, "dev", "eth0", "onlink")

    def runs(self, name: str) -> bool:
        """Whether the command line of a process on it has `name` in it."""
        pids = sh("ip", "netns", "pids", self.namespace, check=False).split()
        return bool(pids) and name in sh("ps", "-o", "args=", "-p", ",".join(pids), check=False)

    def ask_to_end(self) -> None:
        """As a cloud ends an instance: its processes are told first."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            sh("nsenter", "-t", child, "-p", "sh", "-c", "kill -TERM -1", check=False)

    def power_off(self) -> None:
        """At once, and take it off the network."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        sh("ip", "-n", self.network.name, "link", "del", self._link, check=False)
        sh("ip", "netns", "del", self.namespace, check=False)
