"""The machine from which a cluster is started: `ndcl` in a network that holds nothing but the cluster."""

import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.clusters_live.machines import ROOT, image_data


class Laptop:
    """Commands in a network, with their own home."""

    def __init__(self, network: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.network, self.home = network, folder / "home"
        self.home.mkdir(parents=True)
        (folder / "tmp").mkdir()
        self._environment = {
            **os.environ,
            "HOME": str(self.home),
            "TMPDIR": str(folder / "tmp"),  # Ray keeps there what it knows of a cluster
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "NDCL_DATA": image_data(),
            **environment,
        }
        token = self.home / ".ray" / "auth_token"  # as `ray get-auth-token --generate` would make it
        token.parent.mkdir()
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)

    def run(self, *words: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, with its errors among its output."""
        return subprocess.run(
            ["ip", "netns", "exec", self.network, *words],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def start(self, *words: str, log: Path) -> "subprocess.Popen[bytes]":
        """Start a program that continues."""
        with log.open("w") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.network, *words],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def ndcl(self, *words: str, seconds: float = 600) -> str:
        """What `ndcl` prints; it must end well."""
        code, output = self.ndcl_code(*words, seconds=seconds)
        assert code == 0, output[-6000:]
        return output

    def ndcl_code(self, *words: str, seconds: float = 600) -> tuple[int, str]:
        """How `ndcl` ends, and what it prints."""
        done = self.run(sys.executable, "-m", "harness.cli", *words, seconds=seconds)
        return done.returncode, done.stdout
