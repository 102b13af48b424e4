"""What can be wrong with a script of Slurm, told from the file alone. Pure but for folders of this machine."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from harness.cluster.checks.findings import Finding
from harness.cluster.files import ClusterFile

_OPTION = re.compile(r"#SBATCH\s+\S")
_MEANT = re.compile(r"#+\s*SBATCH\b|#+SBATCH\S", re.IGNORECASE)
KNOWN = sorted(
    re.findall(
        r"[\w-]+",
        """
        account array bb bbf begin burst-buffer chdir cluster-constraint clusters comment constraint
        container contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu deadline delay-boot
        dependency distribution error exclude exclusive export export-file extra-node-info
        get-user-env gid gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres
        gres-flags hint hold ignore-pbs input job-name kill-on-invalid-dep licenses mail-type
        mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice no-kill
        no-requeue nodefile nodelist ntasks ntasks-per-core ntasks-per-gpu ntasks-per-socket
        open-mode output overcommit oversubscribe parsable partition power prefer priority profile
        propagate qos quiet reboot requeue reservation resv-ports segment signal sockets-per-node
        spread-job stepmgr switches thread-spec threads-per-core time-min tmp tres-bind
        tres-per-task uid use-min-nodes verbose wait wait-all-nodes wckey cpus-per-task nodes
        ntasks-per-node time
        """,
    )
)
"""Of sbatch; those of one letter, and others, are left to itself."""


def option_lines(file: ClusterFile) -> Iterator[Finding]:
    """sbatch reads options up to the first command, and takes what it does not know as a comment."""
    commands_begin = False
    for number, line in enumerate(file.text.splitlines()[1:], start=2):
        if _OPTION.match(line):
            if commands_begin:
                what = "sbatch reads no option behind the first command"
                yield Finding(where=f"line {number}", what=what, remedy="move it up")
        elif _MEANT.match(line):
            yield Finding(where=f"line {number}", what="it is a comment to sbatch", remedy="#SBATCH --name=value")
        elif line.strip() and not line.lstrip().startswith("#"):
            commands_begin = True


def options(file: ClusterFile) -> Iterator[Finding]:
    """Typos, and what the script goes by."""
    for name in file.values:
        near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.7)
        if len(name) > 1 and name not in KNOWN and near:
            yield Finding(where=f"#SBATCH --{name}", what="unknown option", remedy=f"did you mean --{near[0]}?")
            return
    if not {"time", "t"} & file.values.keys():
        what = "there is no limit of time, and thus none on what it takes"
        yield Finding(where="#SBATCH --time", what=what, remedy="#SBATCH --time=24:00:00")
    if file.values.get("ntasks-per-node", "1") != "1" or "ntasks" in file.values:
        what = "more than one task a node, and Ray starts once on each"
        yield Finding(where="#SBATCH --ntasks-per-node", what=what, remedy="--ntasks-per-node=1")
    if "SLURM_CPUS_PER_TASK" in file.text and not {"cpus-per-task", "c"} & file.values.keys():
        what = "it is not given, and the script goes by it"
        yield Finding(where="#SBATCH --cpus-per-task", what=what, remedy="#SBATCH --cpus-per-task=8")
    folder = Path(file.values.get("output") or "").parent
    if "%" not in str(folder) and not folder.is_dir():
        what = f"there is no folder {folder}, and Slurm ends a job whose output it can't write"
        yield Finding(where="#SBATCH --output", what=what, remedy=f"mkdir -p {folder}")


SHAPE = (option_lines, options)
