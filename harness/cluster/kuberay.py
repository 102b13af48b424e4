"""What can be wrong with a KubeRay file, told from the file alone. Pure but for the version of the installed Ray."""

import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, cast

from harness.cluster.files import ClusterFile
from harness.cluster.findings import Finding, unknown
from harness.cluster.kuberay_fields import OBJECTS
from harness.cluster.launcher import OBJECT_STORES, placeholders

API_VERSION = "ray.io/v1"


def against_model(file: ClusterFile) -> Iterator[Finding]:
    """Unknown fields, and what every cluster needs."""
    yield from _unknown(file.values, OBJECTS[file.values["kind"]], "")
    if file.values.get("apiVersion") != API_VERSION:
        what = f"{file.values.get('apiVersion')!r} is not what this is checked for"
        yield Finding(where="apiVersion", what=what, remedy=f"apiVersion: {API_VERSION}")
    spec, where = _cluster(file)
    for group, place in _groups(spec, where):
        containers = ((group.get("template") or {}).get("spec") or {}).get("containers")
        if not isinstance(group.get("rayStartParams"), Mapping) or not containers:
            yield Finding(where=place, what="it needs rayStartParams and a template with containers", remedy="add them")
    if not spec.get("headGroupSpec"):
        yield Finding(where=where, what="there is no headGroupSpec", remedy="add one, as clusters/kuberay.yaml")


def head_drives_only(file: ClusterFile) -> Iterator[Finding]:
    """A trial on the head can take the memory of what holds the cluster together."""
    spec, where = _cluster(file)
    cpus = spec["headGroupSpec"]["rayStartParams"].get("num-cpus", "all")
    if str(cpus) != "0":
        what = f"the head offers {cpus} CPUs to trials, and one that runs out of memory there ends the sweep"
        yield Finding(where=f"{where}.headGroupSpec.rayStartParams", what=what, remedy='num-cpus: "0"')


def start_parameters(file: ClusterFile) -> Iterator[Finding]:
    """KubeRay takes text only."""
    for group, place in _groups(*_cluster(file)):
        for key, value in group["rayStartParams"].items():
            if not isinstance(value, str):
                what = f"{value!r} is no text, which is all that KubeRay takes"
                yield Finding(where=f"{place}.rayStartParams.{key}", what=what, remedy=f'{key}: "{value}"')


def token(file: ClusterFile) -> Iterator[Finding]:
    """The dashboard has to listen on all interfaces, since jobs come that way."""
    spec, where = _cluster(file)
    if (spec.get("authOptions") or {}).get("mode") != "token":
        what = "there is no token, so that Ray obeys every pod of the cluster"
        yield Finding(where=f"{where}.authOptions", what=what, remedy="mode: token (operator 1.5.1 or newer)")


def closed_pages(file: ClusterFile) -> Iterator[Finding]:
    """Who reaches the head's service."""
    spec, where = _cluster(file)
    head, place = spec["headGroupSpec"], f"{where}.headGroupSpec"
    if head.get("serviceType", "ClusterIP") != "ClusterIP":
        what = f"{head['serviceType']} opens dashboard and jobs to the outside"
        yield Finding(where=f"{place}.serviceType", what=what, remedy="ClusterIP, and kubectl port-forward")
    if head.get("enableIngress"):
        what = "an ingress opens the dashboard to the outside"
        yield Finding(where=f"{place}.enableIngress", what=what, remedy="false, and kubectl port-forward")


def autoscaling(file: ClusterFile) -> Iterator[Finding]:
    """Workers come with trials, go when idle, and are never more than were said."""
    spec, where = _cluster(file)
    options = spec.get("autoscalerOptions") or {}
    if not spec.get("enableInTreeAutoscaling"):
        what = "workers neither come with trials nor go"
        yield Finding(where=f"{where}.enableInTreeAutoscaling", what=what, remedy="true")
    if "idleTimeoutSeconds" not in options:
        what = "an idle worker goes after 60 s, and between two trials, too"
        yield Finding(where=f"{where}.autoscalerOptions", what=what, remedy="idleTimeoutSeconds: 300")
    for group, place in _workers(spec, where):
        if "maxReplicas" not in group:
            what = "there is no ceiling on workers, and thus on costs"
            yield Finding(where=place, what=what, remedy="maxReplicas: 8")
    if options.get("version") == "v2":
        for group, place in _groups(spec, where):
            if group["template"]["spec"].get("restartPolicy") != "Never":
                what = "the second autoscaler wants a pod that failed to be replaced, not restarted"
                yield Finding(where=f"{place}.template.spec", what=what, remedy="restartPolicy: Never")


def resources(file: ClusterFile) -> Iterator[Finding]:
    """What pods ask for, by which they are placed, and what they may take."""
    for group, place in _groups(*_cluster(file)):
        for number, container in enumerate(group["template"]["spec"]["containers"]):
            asked = container.get("resources") or {}
            where = f"{place}.template.spec.containers.{number}.resources"
            limit, request = ((asked.get(key) or {}).get("memory") for key in ("limits", "requests"))
            if limit is None or limit != request:
                what = f"memory: {request} requested, limit {limit}; Ray counts on the limit, Kubernetes on the request"
                yield Finding(where=where, what=what, remedy="give both, the same")


def goes_when_done(file: ClusterFile) -> Iterator[Finding]:
    """A job's cluster."""
    job = file.values["spec"]
    if file.values["kind"] == "RayJob" and not job.get("shutdownAfterJobFinishes"):
        what = "the cluster would stay, and cost, when the sweep has ended"
        yield Finding(where="spec.shutdownAfterJobFinishes", what=what, remedy="true")


def results_outlive_the_cluster(file: ClusterFile) -> Iterator[Finding]:
    """The sweep writes where pods come and go."""
    entrypoint = str(file.values["spec"].get("entrypoint", ""))
    storage = re.search(r"--storage[= ](\S+)", entrypoint)
    if file.values["kind"] != "RayJob" or (storage and storage.group(1).startswith(OBJECT_STORES)):
        return
    mounted = [
        mount["mountPath"]
        for container in _cluster(file)[0]["headGroupSpec"]["template"]["spec"]["containers"]
        for mount in container.get("volumeMounts", ())
    ]
    if not storage or not storage.group(1).startswith(tuple(mounted)):
        what = "results would end with the head's pod"
        yield Finding(where="spec.entrypoint", what=what, remedy="--storage s3://..., or on a mounted volume")


def versions(file: ClusterFile) -> Iterator[Finding]:
    """Ray refuses nodes and clients of another version."""
    spec, where = _cluster(file)
    here, stated = metadata.version("ray"), str(spec.get("rayVersion"))
    if stated != here:
        what = f"the file says Ray {spec.get('rayVersion')}, this machine has {here}"
        yield Finding(where=f"{where}.rayVersion", what=what, remedy=f'rayVersion: "{here}", and images to match')
    for group, place in _groups(spec, where):
        for number, container in enumerate(group["template"]["spec"]["containers"]):
            tagged = re.search(r":(\d+\.\d+\.\d+)", str(container.get("image", "")))
            if tagged and tagged.group(1) != stated:
                what = f"{container['image']} is not Ray {stated}"
                yield Finding(where=f"{place}.template.spec.containers.{number}.image", what=what, remedy="the same")


def _cluster(file: ClusterFile) -> tuple[Mapping[str, Any], str]:
    """The cluster's spec, and where it stands."""
    spec = file.values.get("spec") or {}
    if file.values["kind"] == "RayJob":
        return cast(Mapping[str, Any], spec.get("rayClusterSpec") or {}), "spec.rayClusterSpec"
    return spec, "spec"


def _workers(spec: Mapping[str, Any], where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    for number, group in enumerate(spec.get("workerGroupSpecs") or ()):
        yield group, f"{where}.workerGroupSpecs.{number}"


def _groups(spec: Mapping[str, Any], where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Head and workers, and where they stand."""
    if spec.get("headGroupSpec"):
        yield spec["headGroupSpec"], f"{where}.headGroupSpec"
    yield from _workers(spec, where)


def _unknown(value: Any, fields: Any, where: str) -> Iterator[Finding]:
    if isinstance(fields, list):
        for number, item in enumerate(value or ()):
            yield from _unknown(item, fields[0], f"{where}.{number}")
    elif isinstance(fields, dict) and isinstance(value, Mapping):
        for key, below in value.items():
            if key not in fields:
                yield unknown(str(key), fields, where)
            else:
                yield from _unknown(below, fields[key], f"{where}.{key}" if where else str(key))
    elif isinstance(fields, dict) and value is not None:
        yield Finding(where=where, what=f"expected a mapping, got {value!r}", remedy=f"with {', '.join(fields)}")


CHECKS = (
    placeholders,
    head_drives_only,
    start_parameters,
    token,
    closed_pages,
    autoscaling,
    resources,
    goes_when_done,
    results_outlive_the_cluster,
    versions,
)
