"""The `ray` command as a program that answers what a test has written down, and takes note of what it was asked."""

import json
import pprint
import sys
from collections.abc import Mapping
from pathlib import Path

from ray.dashboard.modules.job.common import JobStatus
from ray.dashboard.modules.job.pydantic_models import JobDetails, JobType

PROGRAM = """#!{python}
import json, pathlib, shutil, sys, time
folder = pathlib.Path(__file__).parent
line = " ".join(sys.argv[1:])
with (folder / "calls").open("a") as calls:
    calls.write(line + "\\n")
rules = json.loads((folder / "rules.json").read_text())
for rule in rules:
    if rule["asked"] in line and rule["times"] != 0:
        rule["times"] -= 1
        (folder / "rules.json").write_text(json.dumps(rules))
        if rule["copied"]:
            shutil.copytree(rule["copied"], sys.argv[-1], dirs_exist_ok=True)
        print(rule["said"], flush=True)
        time.sleep(rule["seconds"])
        sys.exit(rule["code"])
"""


class MadeRay:
    """The program, in a folder of its own beside a `python`, which thus takes it for its own `ray`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        program = folder / "ray"
        program.write_text(PROGRAM.format(python=sys.executable))
        program.chmod(0o755)
        (folder / "python").symlink_to(sys.executable)
        (folder / "rules.json").write_text("[]")

    @property
    def python(self) -> str:
        """The Python beside it."""
        return str(self._folder / "python")

    def answers(
        self,
        asked: str,
        said: str = "",
        *,
        code: int = 0,
        times: int = -1,
        seconds: float = 0,
        copied: Path | None = None,
    ) -> None:
        """What a command line with `asked` in it gets; of several the first, each as often as `times` says."""
        rules = self._folder / "rules.json"
        rule = {"asked": asked, "said": said, "code": code, "times": times, "seconds": seconds}
        rules.write_text(json.dumps([*json.loads(rules.read_text()), rule | {"copied": copied and str(copied)}]))

    def calls(self) -> list[str]:
        """All command lines, in their order."""
        calls = self._folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


def listed(jobs: Mapping[str, str | int]) -> str:
    """What `ray job list` prints through `ray exec`: of each job its status, or the exit code that it failed with."""
    found = [
        JobDetails(
            type=JobType.SUBMISSION,
            submission_id=name,
            status=JobStatus.FAILED if isinstance(status, int) else JobStatus(status),
            driver_exit_code=status if isinstance(status, int) else None,
            entrypoint="env A='b' python -m harness.cli sweep submitted/pacs.yaml",
            message="it's \"said\": [JobDetails(status=<JobStatus.RUNNING: 'RUNNING'>)]\n",
            runtime_env={"working_dir": "gcs://_ray_pkg_0.zip", "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}},
        )
        for name, status in jobs.items()
    ]
    text = f"Fetched IP: 192.0.2.1\n{pprint.pformat(found)}\nShared connection to 192.0.2.1 closed.\n"
    return text.replace("\n", "\r\n")
