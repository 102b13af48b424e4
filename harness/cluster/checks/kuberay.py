"""What can be wrong with a KubeRay file, by the file alone. Pure but for the version of the installed Ray."""

import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, cast

from harness.cluster.catalogue.kuberay import schema_of_kind
from harness.cluster.checks.findings import Finding
from harness.cluster.checks.json_schema import against
from harness.cluster.checks.launcher_yaml import OBJECT_STORES, placeholders
from harness.cluster.checks.quantities import wrong_gpus, wrong_memory, wrong_names
from harness.cluster.files import ClusterFile

API_VERSION = "ray.io/v1"
QUEUE, ELASTIC = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/elastic-job"
AROUND = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "apiVersion": {},
        "kind": {},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "name": {"type": "string"},
                "generateName": {"type": "string"},
                "namespace": {"type": "string"},
            },
        },
    },
}
"""What every object of Kubernetes has around its `spec`, as far as users write it."""


def against_model(file: ClusterFile) -> Iterator[Finding]:
    """Unknown fields, which Kubernetes drops without a word, wrong types, and what every cluster needs."""
    outside = {key: value for key, value in file.values.items() if key != "spec"}
    violations = [
        *against(AROUND, outside, whose="Kubernetes"),
        *against(schema_of_kind(file.values["kind"]), _given(file.values.get("spec")), "spec", "Kubernetes"),
    ]
    if violations:
        yield from violations
        return
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
    for number, container in enumerate(head["template"]["spec"]["containers"]):
        words = " ".join(map(str, (*(container.get("command") or ()), *(container.get("args") or ()))))
        listens = re.search(r"--host[= ](\S+)", words) if "mlflow" in words else None
        if listens and listens.group(1) not in ("127.0.0.1", "localhost", "::1"):
            what = f"MLflow listens on {listens.group(1)}: every pod that reaches it can run code here"
            where_it_stands = f"{place}.template.spec.containers.{number}"
            yield Finding(where=where_it_stands, what=what, remedy="--host 127.0.0.1, and kubectl port-forward")
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


def queues(file: ClusterFile) -> Iterator[Finding]:
    """What Kueue wants of a job whose workers come and go."""
    about = file.values.get("metadata") or {}
    queue = (about.get("labels") or {}).get(QUEUE)
    is_elastic = (about.get("annotations") or {}).get(ELASTIC) == "true"
    if queue and not is_elastic and _cluster(file)[0].get("enableInTreeAutoscaling"):
        what = "Kueue refuses a job that is in a queue and scales, unless it is said to"
        yield Finding(where="metadata.annotations", what=what, remedy=f'{ELASTIC}: "true"')


def resources(file: ClusterFile) -> Iterator[Finding]:
    """What pods ask for, by which they are placed, and what they may take."""
    for group, place in _groups(*_cluster(file)):
        pod = group["template"]["spec"]
        for number, container in enumerate(pod["containers"]):
            asked = container.get("resources") or {}
            where = f"{place}.template.spec.containers.{number}.resources"
            unknown_names = list(wrong_names(asked, where))
            yield from unknown_names
            yield from wrong_memory(asked, where)
            if number == 0 and not unknown_names:  # the first is Ray's
                keys = {str(toleration.get("key")) for toleration in pod.get("tolerations") or ()}
                yield from wrong_gpus(asked, "nvidia.com/gpu" in keys, where)


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


def _given(value: Any) -> Any:
    """Without the keys that have no value: Kubernetes takes them as not written."""
    match value:
        case Mapping():
            return {key: _given(below) for key, below in value.items() if below is not None}
        case list():
            return [_given(item) for item in value]
        case _:
            return value


CHECKS = (
    placeholders,
    head_drives_only,
    token,
    closed_pages,
    autoscaling,
    queues,
    resources,
    goes_when_done,
    results_outlive_the_cluster,
    versions,
)
