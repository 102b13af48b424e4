"""What of an AWS account the head may not use, though it has to: asked of AWS, by requests that change nothing."""

import urllib.request
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

METADATA = "http://169.254.169.254/latest"
WOULD_WORK = "DryRunOperation"
TAG = "ray-cluster-name"
RAYS_OWN = ("SubnetIds", "MinCount", "MaxCount")
"""Keys of node_config that Ray replaces by its own."""


def missing_rights(config: Mapping[str, Any]) -> Iterator[str]:
    """Each request of the autoscaler's that AWS refuses to the head, with the remedy."""
    import boto3

    ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
    own = _metadata("instance-id")
    requests: dict[str, Callable[[], object]] = {
        "DescribeInstances": ec2.describe_instances,
        "CreateTags": partial(ec2.create_tags, DryRun=True, Resources=[own], Tags=[{"Key": "Name", "Value": "head"}]),
        "TerminateInstances": partial(ec2.terminate_instances, DryRun=True, InstanceIds=[own]),
    }
    for name, node_type in config["available_node_types"].items():
        if name != config["head_node_type"]:
            launch = _launch(config, node_type["node_config"])
            requests[f"RunInstances for {name}"] = partial(ec2.run_instances, DryRun=True, **launch)
    for what, request in requests.items():
        yield from _refusal(what, request)


def _launch(config: Mapping[str, Any], node_config: Mapping[str, Any]) -> dict[str, Any]:
    """A launch as Ray asks for it: tagged, in the first of the type's subnets."""
    launch = {key: value for key, value in node_config.items() if key not in RAYS_OWN}
    tags = [spec for spec in launch.get("TagSpecifications", ()) if spec["ResourceType"] != "instance"]
    own = [tag for spec in launch.get("TagSpecifications", ()) if spec not in tags for tag in spec["Tags"]]
    own.append({"Key": TAG, "Value": config["cluster_name"]})
    subnets = {} if "NetworkInterfaces" in launch else {"SubnetId": node_config["SubnetIds"][0]}
    instance = {"ResourceType": "instance", "Tags": own}
    return {**launch, **subnets, "MinCount": 1, "MaxCount": 1, "TagSpecifications": [*tags, instance]}


def _refusal(what: str, request: Callable[[], object]) -> Iterator[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        request()
    except ClientError as error:
        if error.response["Error"]["Code"] != WOULD_WORK:
            message = error.response["Error"].get("Message", "")
            remedy = "its role's policy is made by: ndcl cluster bootstrap aws --cluster CLUSTER.yaml"
            yield f"AWS refuses it {what} ({message}); {remedy}"
    except BotoCoreError as error:
        yield f"{what}: {error}; give the head a role: IamInstanceProfile: {{Name: ndcl-head}}"


def _metadata(name: str) -> str:
    """What the instance's metadata service (IMDSv2) says."""
    ask = urllib.request.Request(
        f"{METADATA}/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    )
    with urllib.request.urlopen(ask, timeout=10) as answer:
        headers = {"X-aws-ec2-metadata-token": answer.read().decode()}
    request = urllib.request.Request(f"{METADATA}/meta-data/{name}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())
