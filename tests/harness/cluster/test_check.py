"""Every finding has a cluster that shows it and nothing else; what is shipped shows none."""

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster import own_machines
from harness.cluster.files import read_cluster
from ndcl.errors import UserError
from tests.harness.cluster.made_clusters import ROOT, SHIPPED, changed, filled_in, found

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


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_right_once_it_is_filled_in(name: str, tmp_path: Path) -> None:
    assert found(read_cluster(filled_in(name, tmp_path))) == []


@pytest.mark.parametrize("name", ["aws", "aws-efa", "gcp", "azure", "local"])
def test_ray_itself_accepts_what_is_shipped(name: str) -> None:
    validate_config(prepare_config(yaml.safe_load((ROOT / "clusters" / f"{name}.yaml").read_text())))


@pytest.mark.parametrize("path", sorted((ROOT / "clusters").glob("**/*.s[hb]*")), ids=lambda path: path.name)
def test_scripts_are_valid(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)


OF_ANY_LAUNCHER: dict[str, tuple[Change, str]] = {
    "unknown key": (lambda v: v.update(idle_timeout_minute=5), "unknown key; did you mean 'idle_timeout_minutes'?"),
    "wrong type": (lambda v: v.update(max_workers="8"), "max_workers: '8' is not of type 'integer'"),
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
    "stopped nodes": (lambda v: v["provider"].pop("cache_stopped_nodes"), "their disks go on costing"),
    "spot alone": (lambda v: types(v).pop("gpu_ondemand"), "no on-demand type has the same resources"),
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
        "Ebs.VolumeSize: '150' is no integer",
    ),
    "no such value": (
        lambda v: config(v)["BlockDeviceMappings"][0]["Ebs"].update(VolumeType="gp33"),
        "'gp33' is none of its values; one of standard, io1",
    ),
    "subnet in place of a list": (lambda v: config(v).update(SubnetIds="subnet-1"), "SubnetIds: it is no list"),
    "open port": (
        lambda v: v["provider"]["security_group"].update(
            IpPermissions=[{"FromPort": 8265, "ToPort": 8265, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        ),
        "ports 8265 to 8265 are open to everybody",
    ),
    "no group": (lambda v: v["provider"].pop("security_group"), "Ray would make a group with port 22 open"),
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
        lambda v: (
            v["auth"].update(ssh_private_key="~/.ssh/id_ed25519")
            or [config(v, name).update(KeyName="k") for name in ("gpu_spot", "gpu_ondemand")]
        ),
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
    "far apart": (lambda v: config(v, "gpu").pop("Placement"), "gpu has EFA but no placement group"),
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
    "no mapping": (lambda v: cluster_spec(v).update(authOptions="token"), "expected a mapping, got 'token'"),
    "old": (lambda v: v.update(apiVersion="ray.io/v1alpha1"), "apiVersion: ray.io/v1"),
    "no containers": (lambda v: pod(v).pop("containers"), "it needs rayStartParams and a template with containers"),
    "no head": (lambda v: cluster_spec(v).pop("headGroupSpec"), "there is no headGroupSpec"),
    "head with CPUs": (
        lambda v: cluster_spec(v)["headGroupSpec"]["rayStartParams"].pop("num-cpus"),
        "the head offers all CPUs",
    ),
    "number": (
        lambda v: cluster_spec(v)["workerGroupSpecs"][0]["rayStartParams"].update({"num-cpus": 4}),
        "rayStartParams.num-cpus: 4 is no text",
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


@pytest.mark.parametrize(("name", "change", "text"), CASES)
def test_what_is_wrong_is_found_and_nothing_else(name: str, change: Change, text: str, tmp_path: Path) -> None:
    findings = found(changed(name, tmp_path, change))
    assert findings
    assert all(text in finding for finding in findings), findings


def test_what_was_not_filled_in_is_found_line_by_line() -> None:
    path = ROOT / "clusters" / "aws.yaml"
    lines = [number for number, line in enumerate(path.read_text().splitlines(), 1) if "CHANGE-ME" in line]
    findings = found(read_cluster(path))
    assert findings == [f"line {number}: it still says CHANGE-ME; put your own value there" for number in lines]


def test_a_token_that_is_missing_or_that_others_may_read_is_found(home: Path, tmp_path: Path) -> None:
    file, token = read_cluster(filled_in("aws", tmp_path)), home / ".ray" / "auth_token"
    token.chmod(0o644)
    assert found(file) == [f"{token}: others may read the token; chmod 600 {token}"]
    token.unlink()
    assert [f"there is no {token}" in finding for finding in found(file)] == [True]


def test_a_lock_of_another_ray_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled_in("aws", tmp_path)
    (tmp_path / "requirements.lock").write_text("ray==2.40.0\n")
    monkeypatch.chdir(tmp_path)
    assert ["requirements.lock pins Ray 2.40.0" in finding for finding in found(read_cluster(path))] == [True]


def test_a_machine_on_which_ssh_does_not_answer_is_found(tmp_path: Path) -> None:
    def on_this_machine(values: Any) -> None:
        values["provider"].update(head_ip="127.0.0.1", worker_ips=["127.0.0.2"])

    file = changed("local", tmp_path, on_this_machine)
    unused = 1
    findings = [str(finding) for finding in own_machines.reachable(file, unused)]
    assert [finding.partition(": ")[0] for finding in findings] == ["machine 127.0.0.1", "machine 127.0.0.2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("provider: {type: awz}\n", "provider.type: unknown provider 'awz'; did you mean 'aws'?"),
        ("name: x\n", "it has neither a `provider` nor a RayJob or RayCluster"),
        ("a: [\n", "it is not valid YAML"),
    ],
)
def test_a_file_that_is_no_cluster_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"cluster\.yaml: ") as error:
        read_cluster(path)
    assert message in str(error.value)
    with pytest.raises(UserError, match="it can't be read"):
        read_cluster(tmp_path / "none.yaml")


def test_the_command_tells_a_line_a_finding_and_exits_with_2(tmp_path: Path) -> None:
    right = CliRunner().invoke(app, ["cluster", "check", str(filled_in("aws", tmp_path)), "--offline"])
    assert (right.exit_code, right.output.count("\n")) == (0, 1)
    assert "nothing is wrong that the file tells" in right.output
    wrong = CliRunner().invoke(app, ["cluster", "check", "clusters/aws.yaml", "--offline"])
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 4)
    assert wrong.output.endswith("3 findings\n")
