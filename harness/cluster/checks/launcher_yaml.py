"""What can be wrong with any YAML of Ray's cluster launcher, whatever the cloud. Pure but for packages' versions."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from harness.cluster.checks import node_sizes
from harness.cluster.checks.findings import Finding
from harness.cluster.files import PLACEHOLDER, ClusterFile
from harness.cluster.idle_guard import PAID, idle_hours
from harness.cluster.market import is_spot
from ndcl.errors import UserError

LOST_TOGETHER = 3
"""Settings that are missing from one type, by which one knows that it was not meant."""
LOCK = "requirements-node.lock"
GUARD, IDLE_GUARD = "harness.cluster.spot_guard", "harness.cluster.idle_guard"
NOTICE_GUARD = "harness.cluster.notice_guard"
WORKER_PORTS = range(10002, 20000)
"""Where Ray's workers listen."""
TOKEN = "ray get-auth-token --generate, and chmod 600 ~/.ray/auth_token"
_HOME = re.compile(r"/home/([^/]+)/")
OBJECT_STORES = ("s3://", "gs://", "abfs://", "abfss://")


def placeholders(file: ClusterFile) -> Iterator[Finding]:
    """What the user was to change, and has not."""
    for number, line in enumerate(file.text.splitlines(), start=1):
        if PLACEHOLDER in line.split(" #")[0].partition("# ")[0]:
            yield Finding(
                where=f"line {number}", what=f"it still says {PLACEHOLDER}", remedy="put your own value there"
            )


def lost_settings(file: ClusterFile) -> Iterator[Finding]:
    """A type that lacks what all others have, mostly since its `<<: *common` has gone."""
    settings: dict[str, set[str]] = {}
    for name, _, config in file.node_configs():
        of_azure = config.get("azure_arm_parameters")
        settings[name] = set(of_azure if isinstance(of_azure, dict) else config)
    for name, where, _ in file.node_configs():
        others = [own for other, own in settings.items() if other != name]
        lost = sorted(set.intersection(*others) - settings[name]) if len(others) > 1 else []
        if len(lost) >= LOST_TOGETHER:
            what = f"it lacks {', '.join(lost)}, which all other types have"
            yield Finding(where=where, what=what, remedy="<<: *common, as in the shipped file")


def ceiling(file: ClusterFile) -> Iterator[Finding]:
    """How many workers there are at the least and at the most."""
    least = sum(int(node_type.get("min_workers", 0)) for node_type in file.node_types.values())
    most = file.values.get("max_workers")
    if most is None and file.kind != "local":
        yield Finding(where="max_workers", what="there is no ceiling on costs", remedy="set the most workers at a time")
    elif most is not None and least > most:
        yield Finding(where="max_workers", what=f"{most} is less than the {least} of min_workers", remedy="raise it")


def head_drives_only(file: ClusterFile) -> Iterator[Finding]:
    """A trial on the head can take the memory of what holds the cluster together."""
    if file.kind == "local":
        offered = re.search(r"--num-cpus[= ](\S+)", _start_of(file, "head"))
        cpus = offered.group(1) if offered else "all"
        where, remedy = "head_start_ray_commands", "ray start --head --num-cpus=0"
    else:
        cpus = str(file.node_types.get(file.head, {}).get("resources", {}).get("CPU", "all"))
        where, remedy = f"available_node_types.{file.head}.resources", '{"CPU": 0}'
    if cpus != "0":
        what = f"the head offers {cpus} CPUs to trials, and one that runs out of memory there ends the sweep"
        yield Finding(where=where, what=what, remedy=remedy)


def start_commands(file: ClusterFile) -> Iterator[Finding]:
    """What a cluster does not come up without, or not as one."""
    head, worker = _start_of(file, "head"), _start_of(file, "worker")
    for where, command, needed, why in (
        ("head", head, "--autoscaling-config=~/ray_bootstrap_config.yaml", "no worker would ever be started"),
        ("worker", worker, "--address=$RAY_HEAD_IP:", "workers would not find the head"),
        ("head", head, "ulimit -n", "a few hundred connections use up the open files that a shell may have"),
        ("worker", worker, "ulimit -n", "a few hundred connections use up the open files that a shell may have"),
    ):
        if needed not in command:
            yield Finding(
                where=f"{where}_start_ray_commands", what=f"`{needed}` is not there, so {why}", remedy="add it"
            )
    ports = [re.search(pattern, text) for pattern, text in ((r"--port[= ](\d+)", head), (r"HEAD_IP:(\d+)", worker))]
    if all(ports) and len({match.group(1) for match in ports if match}) > 1:
        yield Finding(
            where="worker_start_ray_commands", what="it is another port than the head's", remedy="use the same"
        )


def closed_pages(file: ClusterFile) -> Iterator[Finding]:
    """Dashboard and MLflow obey whoever reaches them."""
    for key in (key for key in file.values if key.endswith("_commands")):
        for command in file.commands(key):
            for option, host in re.findall(r"(--dashboard-host|--host|-h)[= ]([^\s;&]+)", command):
                if not _is_loopback(host) and (option == "--dashboard-host" or "mlflow" in command):
                    page = "MLflow" if option != "--dashboard-host" else "the dashboard"
                    yield Finding(
                        where=key,
                        what=f"{page} listens on {host}: who reaches it can run code here",
                        remedy=f"{option}=127.0.0.1, and reach it by `ndcl cluster ui`",
                    )
    port = re.search(r"--dashboard-port[= ](\d+)", _start_of(file, "head"))
    if port and int(port.group(1)) in WORKER_PORTS:
        yield Finding(
            where="head_start_ray_commands",
            what=f"dashboard port {port.group(1)} is among those of Ray's workers",
            remedy=f"one outside {WORKER_PORTS.start} to {WORKER_PORTS.stop - 1}, such as 8265",
        )


def token(file: ClusterFile) -> Iterator[Finding]:
    """Without one, Ray obeys whoever reaches its ports."""
    commands = "\n".join(command for key in file.values if key.endswith("_commands") for command in file.commands(key))
    if "RAY_AUTH_MODE=token" not in commands and "setup_node.sh" not in commands:
        yield Finding(
            where="setup_commands",
            what="nothing sets RAY_AUTH_MODE, so that Ray obeys whoever reaches its ports",
            remedy="- bash ~/ndcl/clusters/bin/setup_node.sh",
        )
    mounts = [local for remote, local in file.mounted() if remote.endswith("/.ray/auth_token")]
    if not mounts:
        yield Finding(
            where="file_mounts", what="no token is copied to the nodes", remedy="~/.ray/auth_token: ~/.ray/auth_token"
        )
    for path in mounts:
        if not path.is_file():
            yield Finding(where="file_mounts", what=f"there is no {path}", remedy=TOKEN)
        elif path.stat().st_mode & 0o077:
            yield Finding(where=str(path), what="others may read the token", remedy=f"chmod 600 {path}")


def mounts(file: ClusterFile) -> Iterator[Finding]:
    """Files that would be copied and are not here; the token has its own check."""
    for remote, local in file.mounted():
        if not remote.endswith("/.ray/auth_token") and not local.exists():
            yield Finding(
                where=f"file_mounts.{remote}",
                what=f"there is no {local}",
                remedy="start from the root of the repository, or correct the path",
            )


def homes(file: ClusterFile) -> Iterator[Finding]:
    """Ray logs in as one user, and commands look for `~/ndcl` and the token in the home of that one."""
    user = str((file.values.get("auth") or {}).get("ssh_user") or "")
    elsewhere = {match.group(1) for remote, _ in file.mounted() if (match := _HOME.match(remote))} - {user}
    if user and elsewhere and not file.values.get("docker"):
        owners, home = " and ".join(sorted(elsewhere)), "/root" if user == "root" else f"/home/{user}"
        what = f"it copies into the home of {owners}, but Ray logs in as {user} (auth.ssh_user)"
        yield Finding(where="file_mounts", what=what, remedy=f"{home}/..., or ssh_user: {sorted(elsewhere)[0]}")


def versions(file: ClusterFile) -> Iterator[Finding]:
    """Ray refuses nodes and clients of another version, after minutes and in a log."""
    here, stated = metadata.version("ray"), file.metadata.get("ray_version")
    if stated is None:
        yield Finding(where="metadata", what="it does not say which Ray the nodes run", remedy=f"ray_version: {here}")
    elif str(stated) != here:
        yield Finding(
            where="metadata.ray_version",
            what=f"the nodes run Ray {stated}, this machine {here}",
            remedy=f"the same on both: ray_version: {here}, or install ray=={stated} here",
        )
    for remote, local in file.mounted():
        lock = local if local.name == LOCK else local / LOCK
        pinned = re.search(r"^ray==(\S+)", lock.read_text(), re.MULTILINE) if lock.is_file() else None
        if pinned and pinned.group(1) != here:
            yield Finding(
                where=f"file_mounts.{remote}",
                what=f"{lock} pins Ray {pinned.group(1)}, this machine has {here}",
                remedy="make install",
            )


def results_outlive_the_cluster(file: ClusterFile) -> Iterator[Finding]:
    """A head that is gone takes its disk along."""
    results = str(file.metadata.get("results", ""))
    if not results:
        yield Finding(
            where="metadata", what="results would end with the head", remedy="results: s3://..., or a shared folder"
        )
    elif file.kind != "local" and not results.startswith(OBJECT_STORES):
        yield Finding(
            where="metadata.results",
            what=f"{results} is on no object store, so that it may end with the head",
            remedy=f"one of {', '.join(OBJECT_STORES)}",
        )


def stopped_nodes(file: ClusterFile) -> Iterator[Finding]:
    """Ray's default stops nodes, to have them faster the next time."""
    if file.kind != "local" and file.provider.get("cache_stopped_nodes", True):
        yield Finding(
            where="provider.cache_stopped_nodes",
            what="idle workers would be stopped and not ended, and their disks keep costing",
            remedy="cache_stopped_nodes: false",
        )


def on_demand_beside_spot(file: ClusterFile) -> Iterator[Finding]:
    """Ray asks for the same type for ever where there is no capacity."""
    steady = [node_type["resources"] for _, node_type in _workers(file) if not is_spot(node_type)]
    for name, node_type in _workers(file):
        wanted = node_type["resources"].items()
        if is_spot(node_type) and not any(all(has.get(key, 0) >= least for key, least in wanted) for has in steady):
            yield Finding(
                where=f"available_node_types.{name}",
                what="it is spot, and no on-demand type has the resources: without spot capacity trials wait",
                remedy="add one with labels: {ray.io/market-type: on-demand}",
            )


def spot_guard(file: ClusterFile) -> Iterator[Finding]:
    """Ray itself never falls back from spot to on-demand."""
    has_spot = any(is_spot(node_type) for _, node_type in _workers(file))
    if has_spot and not any(GUARD in command for command in file.commands("head_start_ray_commands")):
        what = "nothing starts the spot guard, so that trials wait while there is no spot capacity"
        yield Finding(
            where="head_start_ray_commands", what=what, remedy=f"start python -m {GUARD} as clusters/aws.yaml"
        )


def notice_guard(file: ClusterFile) -> Iterator[Finding]:
    """Without it a trial loses what it did since its last checkpoint when its machine is taken."""
    if not any(is_spot(node_type) for _, node_type in _workers(file)):
        return
    started = " ".join(command for command in file.commands("worker_start_ray_commands") if NOTICE_GUARD in command)
    cloud = re.search(r"--cloud[= ]+(\S+)", started)
    remedy = f"start python -m {NOTICE_GUARD} --cloud {file.kind} as clusters/{file.kind}.yaml"
    if not started:
        what = "nothing starts the notice guard, so that trials on spot lose what they did since their last checkpoint"
        yield Finding(where="worker_start_ray_commands", what=what, remedy=remedy)
    elif cloud is None or cloud[1] != file.kind:
        what = f"the notice guard asks another cloud than {file.kind}, and hears of no notice"
        yield Finding(where="worker_start_ray_commands", what=what, remedy=remedy)


def idle_guard(file: ClusterFile) -> Iterator[Finding]:
    """The head costs also when nothing runs."""
    try:
        hours = idle_hours(file.metadata)
    except UserError:
        what = f"{file.metadata['idle_hours']!r} is no number of hours"
        yield Finding(where="metadata.idle_hours", what=what, remedy="such as 2, or 0 for never")
        return
    is_started = any(IDLE_GUARD in command for command in file.commands("head_start_ray_commands"))
    if hours and file.kind in PAID and not is_started:
        what = "nothing ends the cluster when nobody uses it, so that it costs until `ndcl cluster down`"
        remedy = f"start python -m {IDLE_GUARD} as clusters/aws.yaml, or metadata.idle_hours: 0"
        yield Finding(where="head_start_ray_commands", what=what, remedy=remedy)


def _workers(file: ClusterFile) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, node_type in file.node_types.items():
        if name != file.head:
            yield name, node_type


def _start_of(file: ClusterFile, node: str) -> str:
    """The command that starts Ray on the head or on workers."""
    commands = file.commands(f"{node}_start_ray_commands")
    return next((command for command in commands if "ray start" in command), "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("\"'[]")).is_loopback
    except ValueError:
        return host == "localhost"


CHECKS = (
    placeholders,
    ceiling,
    head_drives_only,
    start_commands,
    closed_pages,
    token,
    mounts,
    homes,
    versions,
    results_outlive_the_cluster,
    stopped_nodes,
    on_demand_beside_spot,
    spot_guard,
    notice_guard,
    idle_guard,
    *node_sizes.CHECKS,
)
