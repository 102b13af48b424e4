"""What programs of this machine say of a file, where the provider has its own: nothing is made by asking."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from harness.cluster.checks.findings import Finding
from harness.cluster.files import ClusterFile

PATIENCE_SECONDS = 60


def kubernetes(file: ClusterFile) -> Iterator[Finding]:
    """By the cluster's own fields and admission, which is asked as if the objects were made."""
    words = ("kubectl", "apply", "--dry-run=server", "--validate=strict", "--filename", str(file.path))
    yield from _said(words, "kubectl config use-context, or --offline")


def slurm(file: ClusterFile) -> Iterator[Finding]:
    """By the controller's partitions, accounts and limits, which are asked as if the job were submitted."""
    yield from _said(("sbatch", "--test-only", str(file.path), "SWEEP.yaml"), "correct it, or --offline elsewhere")


def _said(words: Sequence[str], remedy: str) -> Iterator[Finding]:
    """What a program refuses, its last words."""
    program = words[0]
    if shutil.which(program) is None:
        what = f"{program} is not installed, so that nobody can be asked"
        yield Finding(where="this machine", what=what, remedy="check where it is, or --offline")
        return
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        what = f"{program} has not answered for {PATIENCE_SECONDS} s"
        yield Finding(where="this machine", what=what, remedy=remedy)
        return
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = re.sub(rf"^(?:{program}: )?(?:error: )?", "", lines[-1]) if lines else f"exit code {done.returncode}"
        yield Finding(where=program, what=said[:300], remedy=remedy)
