"""What head and workers may do in an AWS account: as little as the autoscaler and the trials need. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Statement = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where a cluster lives."""

    number: str
    region: str
    partition: str = "aws"
    """`aws-cn` in China, `aws-us-gov` in GovCloud."""

    def ec2(self, resource: str, *, owned: bool = True) -> str:
        """The ARN of EC2's resources; images belong to nobody's account."""
        return f"arn:{self.partition}:ec2:{self.region}:{self.number if owned else ''}:{resource}"

    def role(self, name: str) -> str:
        """The ARN of a role."""
        return f"arn:{self.partition}:iam::{self.number}:role/{name}"


def trust() -> dict[str, Any]:
    """Who may take a role: instances."""
    principal = {"Service": "ec2.amazonaws.com"}
    return _document([{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}])


def worker_policy(account: Account, bucket: str) -> dict[str, Any]:
    """The bucket with results and data, nothing else."""
    return _document(_bucket(account, bucket))


def head_policy(account: Account, bucket: str, cluster: str, worker_role: str) -> dict[str, Any]:
    """Also: start instances that carry the cluster's tag, and end these and no others; give them the worker's role."""
    tagged = {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": cluster}}
    used = (
        "subnet",
        "network-interface",
        "security-group",
        "key-pair",
        "volume",
        "placement-group",
        "spot-instances-request",
    )
    return _document(
        [
            _allow("Look", ["ec2:DescribeInstances"], ["*"]),
            _allow(
                "StartTagged",
                ["ec2:RunInstances"],
                [account.ec2("instance/*")],
                {"StringEquals": {"aws:RequestTag/ray-cluster-name": cluster}},
            ),
            _allow(
                "StartWith",
                ["ec2:RunInstances"],
                [account.ec2("image/*", owned=False), *(account.ec2(f"{kind}/*") for kind in used)],
            ),
            _allow("ResolveImage", ["ssm:GetParameters"], [_public_images(account)]),
            _allow(
                "TagAtStart",
                ["ec2:CreateTags"],
                [account.ec2("*/*")],
                {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
            ),
            _allow("TagOwn", ["ec2:CreateTags"], [account.ec2("instance/*")], tagged),
            _allow("EndOwn", ["ec2:TerminateInstances"], [account.ec2("instance/*")], tagged),
            _allow(
                "GiveWorkersTheirRole",
                ["iam:PassRole"],
                [account.role(worker_role)],
                {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            ),
            *_bucket(account, bucket),
        ]
    )


def _bucket(account: Account, bucket: str) -> list[Statement]:
    arn = f"arn:{account.partition}:s3:::{bucket}"
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    return [
        _allow("ListBucket", ["s3:ListBucket", "s3:GetBucketLocation"], [arn]),
        _allow("UseObjects", objects, [f"{arn}/*"]),
    ]


def _public_images(account: Account) -> str:
    """The parameters by which AWS publishes the newest images, for `ImageId: resolve:ssm:...`."""
    return f"arn:{account.partition}:ssm:{account.region}::parameter/aws/service/*"


def _allow(sid: str, actions: Sequence[str], resources: Sequence[str], condition: Any = None) -> Statement:
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return statement | ({"Condition": condition} if condition else {})


def _document(statements: list[Statement]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}
