"""What can be wrong with a file of SkyPilot's: by its own schema and, where it is installed, its own loader."""

import difflib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.cluster.catalogue.skypilot import sky_schemas
from harness.cluster.checks.findings import Finding
from harness.cluster.checks.json_schema import against
from harness.cluster.checks.launcher_yaml import OBJECT_STORES, placeholders
from harness.cluster.checks.node_sizes import LEAST_DISK_GIB
from harness.cluster.files import STORAGE_VARIABLE, ClusterFile

GPUS = (
    *("A10", "A100", "A100-80GB", "A10G", "B200", "B300", "GH200", "H100", "H200", "H200-SXM", "K80", "L4", "L40"),
    *("L40S", "MI300X", "P100", "P4", "RTX4090", "RTX5090", "RTX6000-Ada", "RTXA6000", "RTXPRO6000", "T4", "V100"),
)
"""In SkyPilot's names; others are left to it."""
LOADER = "import sys, sky\nsky.Task.from_yaml(sys.argv[1])"
LOADER_SECONDS = 120


def fields(file: ClusterFile) -> Iterator[Finding]:
    """What SkyPilot would refuse."""
    yield from against(sky_schemas()["task"], file.values, whose="SkyPilot")
    resources = file.values.get("resources")
    if isinstance(resources, Mapping):
        yield from against(sky_schemas()["resources"], resources, "resources", "SkyPilot")


def accelerators(file: ClusterFile) -> Iterator[Finding]:
    """GPUs that are asked for, by one name or any of several."""
    named = list(_accelerators(_resources(file)))
    if not named:
        what = "no accelerator is asked for, so that no trial has a GPU"
        yield Finding(where="resources", what=what, remedy="any_of: [{accelerators: {L4: 1}}]")
    for where, name in named:
        near = difflib.get_close_matches(name.upper(), [gpu.upper() for gpu in GPUS], n=1)
        if near and name.upper() not in near:
            yield Finding(
                where=where, what=f"{name} is no accelerator that is known", remedy=f"did you mean {near[0]}?"
            )


def ceiling(file: ClusterFile) -> Iterator[Finding]:
    """The cheapest that is to be had may be dear."""
    if not any("max_hourly_cost" in choice for choice in _choices(_resources(file))):
        yield Finding(where="resources", what="there is no ceiling on costs", remedy="max_hourly_cost: 5.0")


def spot(file: ClusterFile) -> Iterator[Finding]:
    """A machine that is taken back has to be followed by another."""
    for choice in _choices(_resources(file)):
        recovery = choice.get("job_recovery")
        strategy = recovery.get("strategy") if isinstance(recovery, Mapping) else recovery
        if choice.get("use_spot") and strategy and str(strategy).upper() == "NONE":
            what = "spot machines are taken back, and none would follow"
            yield Finding(where="resources.job_recovery", what=what, remedy="strategy: EAGER_NEXT_REGION")
            return


def sizes(file: ClusterFile) -> Iterator[Finding]:
    """Of the disk, which has to hold image, packages and data."""
    for choice in _choices(_resources(file)):
        size = str(choice.get("disk_size", ""))
        if size.isdigit() and int(size) < LEAST_DISK_GIB:
            what = f"{size} GiB are too few for the image, the packages and data"
            yield Finding(where="resources.disk_size", what=what, remedy="150, as the shipped file")
            return


def closed(file: ClusterFile) -> Iterator[Finding]:
    """SkyPilot opens ports to everybody."""
    if any(choice.get("ports") for choice in _choices(_resources(file))):
        what = "SkyPilot opens them to everybody, and Ray and MLflow obey who reaches them"
        yield Finding(where="resources.ports", what=what, remedy="leave them out, and use ssh -L")


def one_node(file: ClusterFile) -> Iterator[Finding]:
    """`run` is run on each."""
    number = file.values.get("num_nodes", 1)
    if number != 1 and "SKYPILOT_NODE_RANK" not in str(file.values.get("run")):
        what = f"each of {number} nodes would run the same sweep"
        yield Finding(where="num_nodes", what=what, remedy="1, with several GPUs on it")


def results_outlive_the_machine(file: ClusterFile) -> Iterator[Finding]:
    """A machine that is taken back takes its disk along."""
    given = re.search(r"--storage[= ](\S+)", str(file.values.get("run")))
    place = given.group(1).strip("\"'") if given else ""
    name = re.fullmatch(r"\$\{?(\w+)\}?", place)
    if name:
        place = str((file.values.get("envs") or {}).get(name.group(1)) or "")
    if not given:
        what = "the sweep's results would end with its machine"
        yield Finding(where="run", what=what, remedy=f'ndcl sweep ... --storage "${STORAGE_VARIABLE}"')
    elif not place.startswith(OBJECT_STORES):
        where = f"envs.{name.group(1)}" if name else "run"
        what = f"{place or 'it'} is on no object store, so that it may end with the machine"
        yield Finding(where=where, what=what, remedy=f"one of {', '.join(OBJECT_STORES)}")


def by_its_own_loader(file: ClusterFile) -> Iterator[Finding]:
    """In its own environment, where it mostly lives; it reads the file and starts nothing."""
    python = _python_of_sky()
    if python is None:
        return
    words = (python, "-c", LOADER, str(file.path))
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=LOADER_SECONDS)
    except subprocess.TimeoutExpired:
        what = f"SkyPilot has not read it within {LOADER_SECONDS} s"
        yield Finding(where="this machine", what=what, remedy="sky check, or --offline")
        return
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = re.sub(r"^[\w.]+: ", "", lines[-1]) if lines else "SkyPilot refuses it"
        yield Finding(where="the file", what=said[:300], remedy="SkyPilot refuses it; correct it")


def _python_of_sky() -> str | None:
    """The interpreter that has SkyPilot: this one, or that of the `sky` command."""
    if importlib.util.find_spec("sky") is not None:
        return sys.executable
    command = shutil.which("sky")
    if command is None:
        return None
    with Path(command).open(errors="replace") as script:
        found = re.match(r"#!(\S*python\S*)\s*$", script.readline())
    return found.group(1) if found else None


def _resources(file: ClusterFile) -> Mapping[str, Any]:
    return file.values.get("resources") or {}


def _choices(resources: Any) -> Iterator[Mapping[str, Any]]:
    """Each machine that would do, with what holds for all."""
    common = {key: value for key, value in resources.items() if key not in ("any_of", "ordered")}
    others = [*(resources.get("any_of") or ()), *(resources.get("ordered") or ())]
    yield from ({**common, **choice} for choice in others) if others else (common,)


def _accelerators(resources: Any) -> Iterator[tuple[str, str]]:
    """Where each stands, and its name."""
    lists = [("resources", [resources])]
    lists += [(f"resources.{key}", resources[key]) for key in ("any_of", "ordered") if resources.get(key)]
    for place, choices in lists:
        for number, choice in enumerate(choices):
            where = place if choices == [resources] else f"{place}.{number}"
            given = choice.get("accelerators")
            names = [given] if isinstance(given, str) else list(given or ())
            yield from ((f"{where}.accelerators", str(name).partition(":")[0]) for name in names)


SHAPE = (fields,)
CHECKS = (placeholders, accelerators, ceiling, spot, sizes, closed, one_node, results_outlive_the_machine)
