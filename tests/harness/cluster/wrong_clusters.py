"""The shipped clusters with one thing made wrong in each, and what has to be found."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

Change = Callable[[Any], object]


def types(values: Any) -> Any:
    return values["available_node_types"]


def config(values: Any, name: str = "head") -> Any:
    """The node_config of a type, no longer shared with others."""
    types(values)[name]["node_config"] = copy.deepcopy(types(values)[name]["node_config"])
    return types(values)[name]["node_config"]


def replaced(values: Any, key: str, old: str, new: str) -> None:
    assert any(old in command for command in values[key])
    values[key] = [command.replace(old, new) for command in values[key]]


OF_ANY_LAUNCHER: dict[str, tuple[Change, str]] = {
    "unknown key": (lambda v: v.update(idle_timeout_minute=5), "unknown key; did you mean 'idle_timeout_minutes'?"),
    "wrong type": (lambda v: v.update(max_workers="8"), "max_workers: '8' is not a whole number; 8 without quotes"),
    "missing": (lambda v: v.pop("cluster_name"), "'cluster_name' is missing"),
    "unknown key of a type": (lambda v: types(v)["head"].update(max_worker=1), "head.max_worker: unknown key"),
    "unknown key of the provider": (lambda v: v["provider"].update(regoin="x"), "provider.regoin: unknown key"),
    "unknown head": (lambda v: v.update(head_node_type="haed"), "'haed' is not among available_node_types"),
    "no ceiling": (lambda v: v.pop("max_workers"), "there is no ceiling on costs"),
    "more at least than at most": (lambda v: types(v)["gpu_spot"].update(min_workers=9), "8 is less than the 9"),
    "head with CPUs": (lambda v: types(v)["head"].update(resources={"CPU": 4}), "the head offers 4 CPUs"),
    "no autoscaler": (
        lambda v: replaced(v, "head_start_ray_commands", "--autoscaling-config=~/ray_bootstrap_config.yaml", ""),
        "so no worker would ever be started",
    ),
    "no head to join": (
        lambda v: replaced(v, "worker_start_ray_commands", "--address=$RAY_HEAD_IP:6379", "--address=10.0.0.1:6379"),
        "workers would not find the head",
    ),
    "another port": (
        lambda v: replaced(v, "worker_start_ray_commands", "IP:6379", "IP:6380"),
        "it is another port than the head's",
    ),
    "few open files": (lambda v: replaced(v, "worker_start_ray_commands", "ulimit", ": limit"), "open files"),
    "public dashboard": (
        lambda v: replaced(v, "head_start_ray_commands", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"),
        "the dashboard listens on 0.0.0.0",
    ),
    "public MLflow": (
        lambda v: v["head_start_ray_commands"].append("mlflow server --host 0.0.0.0 --port 5000"),
        "MLflow listens on 0.0.0.0",
    ),
    "dashboard among workers' ports": (
        lambda v: replaced(v, "head_start_ray_commands", "--dashboard-port=8265", "--dashboard-port=10265"),
        "dashboard port 10265 is among those of Ray's workers",
    ),
    "no token mode": (lambda v: v.update(setup_commands=[]), "nothing sets RAY_AUTH_MODE"),
    "no token file": (lambda v: v["file_mounts"].popitem(), "no token is copied to the nodes"),
    "not the root": (
        lambda v: v["file_mounts"].update({"/home/ubuntu/data": "./no-such-data"}),
        "there is no no-such-data",
    ),
    "no version": (lambda v: v["metadata"].pop("ray_version"), "it does not say which Ray the nodes run"),
    "other version": (lambda v: v["metadata"].update(ray_version="2.40.0"), "the nodes run Ray 2.40.0, this machine"),
    "no results": (lambda v: v["metadata"].pop("results"), "results would end with the head"),
    "results on the head": (lambda v: v["metadata"].update(results="/home/ubuntu/r"), "is on no object store"),
    "stopped nodes": (lambda v: v["provider"].pop("cache_stopped_nodes"), "their disks keep costing"),
    "spot alone": (lambda v: types(v).pop("gpu_ondemand"), "no on-demand type has the resources"),
    "no guard": (
        lambda v: replaced(v, "head_start_ray_commands", "harness.cluster.spot_guard", "harness"),
        "nothing starts the spot guard",
    ),
    "promised GPUs": (
        lambda v: [types(v)[name].update(resources={"CPU": 4, "GPU": 2}) for name in ("gpu_spot", "gpu_ondemand")],
        "2 GPU are promised, but a g5.xlarge has 1",
    ),
}
OF_AWS: dict[str, tuple[Change, str]] = {
    "nowhere": (lambda v: v["provider"].pop("region"), "it has no region"),
    "typo": (
        lambda v: config(v).update(InstanceMarketOption={}),
        "node_config.InstanceMarketOption: unknown key; did you mean 'InstanceMarketOptions'?",
    ),
    "typo further down": (
        lambda v: config(v)["MetadataOptions"].update(HttpToken="required"),
        "MetadataOptions.HttpToken: unknown key; did you mean 'HttpTokens'?",
    ),
    "typo in a list": (
        lambda v: config(v)["BlockDeviceMappings"][0]["Ebs"].update(VolumeSiz=1),
        "BlockDeviceMappings.0.Ebs.VolumeSiz: unknown key",
    ),
    "wrong type": (
        lambda v: config(v)["BlockDeviceMappings"][0]["Ebs"].update(VolumeSize="150"),
        "Ebs.VolumeSize: '150' is not a whole number; 150 without quotes",
    ),
    "no such value": (
        lambda v: config(v)["BlockDeviceMappings"][0]["Ebs"].update(VolumeType="gp33"),
        "'gp33' is none of its values; did you mean 'gp3'?",
    ),
    "subnet in place of a list": (lambda v: config(v).update(SubnetIds="subnet-1"), "SubnetIds: it is no list"),
    "open port": (
        lambda v: v["provider"].update(
            security_group={
                "IpPermissions": [{"FromPort": 8265, "ToPort": 8265, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
            }
        ),
        "port 8265 is open to everybody",
    ),
    "no group": (
        lambda v: [config(v, name).pop("SecurityGroupIds") for name in types(v)],
        "Ray would make a group with port 22 open",
    ),
    "spot head": (
        lambda v: config(v).update(InstanceMarketOptions={"MarketType": "spot"}),
        "head.node_config.InstanceMarketOptions: the head is a spot instance",
    ),
    "wrong label": (
        lambda v: types(v)["gpu_spot"].update(labels={"ray.io/market-type": "on-demand"}),
        "the label says on-demand, InstanceMarketOptions spot",
    ),
    "no role of the head": (lambda v: config(v).pop("IamInstanceProfile"), "all rights to EC2 and S3"),
    "no role of a worker": (
        lambda v: config(v, "gpu_spot").pop("IamInstanceProfile"),
        "workers could not reach the results' bucket",
    ),
    "IMDSv1": (lambda v: config(v)["MetadataOptions"].update(HttpTokens="optional"), "IMDSv1 is allowed"),
    "no disk": (lambda v: config(v).pop("BlockDeviceMappings"), "the disk is the image's own"),
    "open disk": (
        lambda v: config(v)["BlockDeviceMappings"][0]["Ebs"].update(Encrypted=False),
        "the disk is not encrypted",
    ),
    "left disk": (
        lambda v: config(v)["BlockDeviceMappings"][0]["Ebs"].update(DeleteOnTermination=False),
        "the disk outlives its instance",
    ),
    "no tags": (lambda v: config(v)["TagSpecifications"].pop(), "volumes have no tag project and owner"),
    "whose key": (
        lambda v: v["auth"].update(ssh_private_key="~/.ssh/id_ed25519") or config(v).pop("KeyName"),
        "not which key pair of EC2 it belongs to",
    ),
}
OF_EFA: dict[str, tuple[Change, str]] = {
    "subnet outside": (
        lambda v: config(v, "gpu").update(SubnetId="subnet-1"),
        "node_config.SubnetId: with NetworkInterfaces it has to stand inside each of them",
    ),
    "no group inside": (
        lambda v: config(v, "gpu")["NetworkInterfaces"][0].pop("Groups"),
        "NetworkInterfaces.0: it has no Groups",
    ),
    "public with several": (
        lambda v: config(v, "gpu")["NetworkInterfaces"].append({"SubnetId": "subnet-1", "Groups": ["sg-1"]}),
        "no public address to an instance with several interfaces",
    ),
    "far apart": (lambda v: config(v, "gpu").pop("Placement"), "it has EFA but no placement group"),
}
OF_GCP: dict[str, tuple[Change, str]] = {
    "typo": (lambda v: config(v).update(machinType="x"), "machinType: unknown key; did you mean 'machineType'?"),
    "typo of scheduling": (
        lambda v: config(v, "gpu_spot")["scheduling"].update(provisionModel="SPOT"),
        "scheduling.provisionModel: unknown key",
    ),
    "typo of a disk": (lambda v: config(v)["disks"][0].update(autoDel=True), "disks.0.autoDel: unknown key"),
    "no project": (lambda v: v["provider"].update(project_id=None), "it has no project_id"),
    "zone elsewhere": (
        lambda v: v["provider"].update(availability_zone="europe-west4-a"),
        "europe-west4-a is not in us-central1",
    ),
    "spot head": (lambda v: config(v).update(scheduling={"provisioningModel": "SPOT"}), "the head is a spot instance"),
    "moved GPU": (
        lambda v: config(v, "gpu_ondemand").update(scheduling={}),
        "refuses an instance with GPUs that it is to move",
    ),
    "left disk": (lambda v: config(v)["disks"][0].update(autoDelete=False), "the disk outlives its instance"),
    "no label": (lambda v: config(v)["labels"].pop("owner"), "instances have no label owner"),
    "no guard": (
        lambda v: replaced(v, "head_start_ray_commands", "harness.cluster.spot_guard", "harness"),
        "nothing starts the spot guard",
    ),
    "no account": (
        lambda v: config(v, "gpu_spot").pop("serviceAccounts"),
        "workers have no service account",
    ),
}
OF_AZURE: dict[str, tuple[Change, str]] = {
    "typo": (
        lambda v: config(v)["azure_arm_parameters"].update(vmsize="x"),
        "vmsize: unknown key; did you mean 'vmSize'?",
    ),
    "beside": (lambda v: config(v).update(vmSize="x"), "node_config.vmSize: unknown key"),
    "Ray's own": (lambda v: config(v)["azure_arm_parameters"].update(vmCount=2), "vmCount: unknown key"),
    "no size": (lambda v: config(v)["azure_arm_parameters"].pop("vmSize"), "head has no vmSize"),
    "nowhere": (lambda v: v["provider"].pop("resource_group"), "it has no resource_group"),
    "spot head": (
        lambda v: config(v)["azure_arm_parameters"].update(priority="Spot"),
        "the head is a spot machine",
    ),
    "left disk": (
        lambda v: config(v, "gpu_spot")["azure_arm_parameters"].update(evictionPolicy="Deallocate"),
        "keeps its disk",
    ),
    "no tag": (lambda v: v["provider"]["tags"].pop("owner"), "there is no tag owner"),
}
OF_OWN_MACHINES: dict[str, tuple[Change, str]] = {
    "no machines": (lambda v: v["provider"].pop("worker_ips"), "it does not say which machines"),
    "twice": (
        lambda v: v["provider"].update(head_ip=v["provider"]["worker_ips"][0]),
        "192.168.1.12 is head and worker",
    ),
    "left out": (lambda v: v.update(min_workers=1), "min_workers: 1, but there are 2 worker_ips"),
    "nobody": (lambda v: v["auth"].pop("ssh_user"), "it does not say as whom Ray logs in"),
    "no key": (lambda v: v["auth"].update(ssh_private_key="~/.ssh/other"), "there is no ~/.ssh/other"),
    "head with CPUs": (
        lambda v: replaced(v, "head_start_ray_commands", "--num-cpus=0", "--num-cpus=8"),
        "the head offers 8 CPUs",
    ),
    "no results": (lambda v: v["metadata"].pop("results"), "results would end with the head"),
}


def cluster_spec(values: Any) -> Any:
    return values["spec"]["rayClusterSpec"]


def pod(values: Any) -> Any:
    return cluster_spec(values)["workerGroupSpecs"][0]["template"]["spec"]


OF_KUBERAY: dict[str, tuple[Change, str]] = {
    "typo": (lambda v: cluster_spec(v).update(enableInTreeAutoScaling=True), "did you mean 'enableInTreeAutoscaling'"),
    "typo of the job": (lambda v: v["spec"].update(ttlSeconds=1), "spec.ttlSeconds: unknown key"),
    "typo of the autoscaler": (
        lambda v: cluster_spec(v)["autoscalerOptions"].update(idleTimeout=1),
        "autoscalerOptions.idleTimeout: unknown key; did you mean 'idleTimeoutSeconds'?",
    ),
    "typo of a pod": (lambda v: pod(v).update(restartPolcy="Never"), "template.spec.restartPolcy: unknown key"),
    "typo of a container": (lambda v: pod(v)["containers"][0].update(imag="x"), "containers.0.imag: unknown key"),
    "no mapping": (lambda v: cluster_spec(v).update(authOptions="token"), "'token' is not a mapping"),
    "old": (lambda v: v.update(apiVersion="ray.io/v1alpha1"), "apiVersion: ray.io/v1"),
    "no containers": (lambda v: pod(v).pop("containers"), "it needs rayStartParams and a template with containers"),
    "no head": (lambda v: cluster_spec(v).pop("headGroupSpec"), "there is no headGroupSpec"),
    "head with CPUs": (
        lambda v: cluster_spec(v)["headGroupSpec"]["rayStartParams"].pop("num-cpus"),
        "the head offers all CPUs",
    ),
    "number": (
        lambda v: cluster_spec(v)["workerGroupSpecs"][0]["rayStartParams"].update({"num-cpus": 4}),
        "rayStartParams.num-cpus: 4 is not a text",
    ),
    "no token": (lambda v: cluster_spec(v).pop("authOptions"), "there is no token"),
    "open service": (
        lambda v: cluster_spec(v)["headGroupSpec"].update(serviceType="LoadBalancer"),
        "LoadBalancer opens dashboard and jobs",
    ),
    "ingress": (lambda v: cluster_spec(v)["headGroupSpec"].update(enableIngress=True), "an ingress opens"),
    "fixed": (lambda v: cluster_spec(v).pop("enableInTreeAutoscaling"), "workers neither come with trials nor go"),
    "hasty": (
        lambda v: cluster_spec(v)["autoscalerOptions"].pop("idleTimeoutSeconds"),
        "an idle worker goes after 60 s",
    ),
    "no ceiling": (lambda v: cluster_spec(v)["workerGroupSpecs"][0].pop("maxReplicas"), "no ceiling on workers"),
    "restarted": (lambda v: pod(v).pop("restartPolicy"), "to be replaced, not restarted"),
    "memory": (
        lambda v: pod(v)["containers"][0]["resources"]["requests"].pop("memory"),
        "memory: None requested, limit 16Gi",
    ),
    "stays": (lambda v: v["spec"].pop("shutdownAfterJobFinishes"), "the cluster would stay, and cost"),
    "results in the pod": (
        lambda v: v["spec"].update(entrypoint="python -m harness.cli sweep a.yaml --storage /tmp"),
        "results would end with the head's pod",
    ),
    "other image": (
        lambda v: pod(v)["containers"][0].update(image="mine/ndcl:2.40.0"),
        "mine/ndcl:2.40.0 is not Ray",
    ),
}
CASES = [
    pytest.param(name, change, text, id=f"{name}-{what}")
    for name, of in (
        ("aws", OF_ANY_LAUNCHER),
        ("aws", OF_AWS),
        ("aws-efa", OF_EFA),
        ("gcp", OF_GCP),
        ("azure", OF_AZURE),
        ("local", OF_OWN_MACHINES),
        ("kuberay", OF_KUBERAY),
    )
    for what, (change, text) in of.items()
]
