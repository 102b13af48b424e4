"""The fields of KubeRay's RayJob and RayCluster (ray.io/v1, operator 1.5) and of pods, as far as clusters use them.

Kept by hand from KubeRay's published API: Kubernetes drops an unknown field without a word, so that a typo shows only
in what then does not happen. A key maps to the fields below it; None: anything.
"""

from typing import Any

Fields = dict[str, Any]
"""Field names to the fields below; None where anything goes."""

CONTAINER: Fields = dict.fromkeys(
    (
        "args",
        "command",
        "env",
        "envFrom",
        "image",
        "imagePullPolicy",
        "lifecycle",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "securityContext",
        "startupProbe",
        "volumeMounts",
        "workingDir",
    )
) | {"resources": {"limits": None, "requests": None, "claims": None}}

POD: Fields = dict.fromkeys(
    (
        "affinity",
        "automountServiceAccountToken",
        "dnsPolicy",
        "hostNetwork",
        "imagePullSecrets",
        "nodeName",
        "nodeSelector",
        "priorityClassName",
        "restartPolicy",
        "runtimeClassName",
        "schedulerName",
        "securityContext",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
        "tolerations",
        "topologySpreadConstraints",
        "volumes",
    )
) | {"containers": [CONTAINER], "initContainers": [CONTAINER]}

TEMPLATE: Fields = {"metadata": {"annotations": None, "labels": None}, "spec": POD}

AUTOSCALER: Fields = dict.fromkeys(
    (
        "env",
        "envFrom",
        "idleTimeoutSeconds",
        "image",
        "imagePullPolicy",
        "resources",
        "securityContext",
        "upscalingMode",
        "version",
        "volumeMounts",
    )
)

HEAD: Fields = dict.fromkeys(
    ("enableIngress", "headService", "labels", "rayStartParams", "resources", "serviceType")
) | {"template": TEMPLATE}

WORKERS: Fields = dict.fromkeys(
    (
        "groupName",
        "idleTimeoutSeconds",
        "labels",
        "maxReplicas",
        "minReplicas",
        "numOfHosts",
        "rayStartParams",
        "replicas",
        "resources",
        "scaleStrategy",
        "suspend",
    )
) | {"template": TEMPLATE}

CLUSTER: Fields = {
    "authOptions": {"mode": None},
    "autoscalerOptions": AUTOSCALER,
    "enableInTreeAutoscaling": None,
    "gcsFaultToleranceOptions": None,
    "headGroupSpec": HEAD,
    "headServiceAnnotations": None,
    "managedBy": None,
    "rayVersion": None,
    "suspend": None,
    "upgradeStrategy": None,
    "workerGroupSpecs": [WORKERS],
}

JOB: Fields = dict.fromkeys(
    (
        "activeDeadlineSeconds",
        "backoffLimit",
        "clusterSelector",
        "deletionStrategy",
        "entrypoint",
        "entrypointNumCpus",
        "entrypointNumGpus",
        "entrypointResources",
        "jobId",
        "managedBy",
        "metadata",
        "preRunningDeadlineSeconds",
        "runtimeEnvYAML",
        "shutdownAfterJobFinishes",
        "submissionMode",
        "submitterConfig",
        "submitterPodTemplate",
        "suspend",
        "ttlSecondsAfterFinished",
    )
) | {"rayClusterSpec": CLUSTER}

METADATA: Fields = dict.fromkeys(("annotations", "labels", "name", "namespace"))

OBJECTS: dict[str, Fields] = {
    kind: {"apiVersion": None, "kind": None, "metadata": METADATA, "spec": spec}
    for kind, spec in (("RayJob", JOB), ("RayCluster", CLUSTER))
}
