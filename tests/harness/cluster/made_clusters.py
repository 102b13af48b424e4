"""The shipped clusters as a user has filled them in, whole or with something made wrong."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from harness.cluster.checks.check import findings_in_file
from harness.cluster.files import ClusterFile, read_cluster

ROOT = Path(__file__).parents[3]
GROUP = "sg-0123456789abcdef0"
SHIPPED = ("aws", "aws-efa", "azure", "gcp", "kuberay", "local", "sky")


def filled_in(name: str, folder: Path) -> Path:
    """A copy with the user's own values."""
    path = folder / f"{name}.yaml"
    text = (ROOT / "clusters" / f"{name}.yaml").read_text()
    text = text.replace("head_ip: CHANGE-ME", "head_ip: 192.168.1.11")
    text = text.replace("[CHANGE-ME, CHANGE-ME]", "[192.168.1.12, 192.168.1.13]")
    text = re.sub(r'type: "aws, once.*"', "type: aws", text)
    text = re.sub(r"\[(sg-)?CHANGE-ME\]", f"[{GROUP}]", text)
    text = text.replace("~/.ssh/CHANGE-ME.pem", "~/.ssh/id_ed25519")
    path.write_text(text.replace("CHANGE-ME", "mine"))
    return path


def changed(name: str, folder: Path, change: Callable[[Any], object]) -> ClusterFile:
    """A shipped cluster with something changed in its values."""
    path = filled_in(name, folder)
    documents = [copy.deepcopy(document) for document in yaml.safe_load_all(path.read_text())]
    change(documents[0])
    path.write_text(yaml.safe_dump_all(documents))
    return read_cluster(path)


def found(file: ClusterFile) -> list[str]:
    """What is wrong with it, as it is told."""
    return [str(finding) for finding in findings_in_file(file)]
