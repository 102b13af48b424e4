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


def worker_policy(account: Account, bucket: str, kms_key: str | None = None) -> dict[str, Any]:
    """The bucket with results and data, and the key that encrypts it; nothing else."""
    return _document([*_bucket(account, bucket), *_key(kms_key)])


def head_policy(
    account: Account, bucket: str, cluster: str, worker_role: str, kms_key: str | None = None
) -> dict[str, Any]:
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
            *_key(kms_key),
            *_key_of_disks(kms_key),
        ]
    )


def user_policy(account: Account, bucket: str, cluster: str, roles: Sequence[str]) -> dict[str, Any]:
    """What the user needs who runs bootstrap, `ray up` and `ray down`: the named roles, this bucket, and EC2."""
    owned = [account.role(name) for name in roles]
    profiles = [account.role(name).replace(":role/", ":instance-profile/") for name in roles]
    bucket_arn = f"arn:{account.partition}:s3:::{bucket}"
    to_ec2 = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    of_spot = {"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}}
    tagged = {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": cluster}}
    return _document(
        [
            _allow("LookAtAccount", ["sts:GetCallerIdentity", "ec2:Describe*", "iam:ListRoles"], ["*"]),
            _allow("MakeRoles", [f"iam:{action}" for action in _OF_ROLES], owned),
            _allow("MakeProfiles", [f"iam:{action}" for action in _OF_PROFILES], [*profiles, *owned]),
            _allow("GiveRolesToInstances", ["iam:PassRole"], owned, to_ec2),
            _allow("LetEc2StartSpot", ["iam:CreateServiceLinkedRole"], ["*"], of_spot),
            _allow("MakeBucket", [f"s3:{action}" for action in _OF_BUCKETS], [bucket_arn]),
            _allow("UseObjects", _OBJECTS, [f"{bucket_arn}/*"]),
            _allow("MakeNetworkAndKey", [f"ec2:{action}" for action in _OF_EC2], ["*"]),
            _allow("EndOwn", ["ec2:TerminateInstances"], [account.ec2("instance/*")], tagged),
            _allow("ResolveImage", ["ssm:GetParameters"], [_public_images(account)]),
            _allow("LookAtQuotasAndPrices", _HINTS, ["*"]),
        ]
    )


_HINTS = [
    *("servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota"),
    *("ec2:GetSpotPlacementScores", "pricing:GetProducts"),
]
"""What `ndcl cluster check` and `cost --live` look at, and do without where it is not allowed."""
_OBJECTS = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
_OF_ROLES = [
    *("GetRole", "CreateRole", "DeleteRole", "TagRole", "PutRolePermissionsBoundary"),
    *("GetRolePolicy", "PutRolePolicy", "DeleteRolePolicy", "ListRolePolicies"),
]
_OF_PROFILES = [
    *("GetInstanceProfile", "CreateInstanceProfile", "DeleteInstanceProfile", "TagInstanceProfile"),
    *("AddRoleToInstanceProfile", "RemoveRoleFromInstanceProfile"),
]
_OF_BUCKETS = [
    *("CreateBucket", "DeleteBucket", "ListBucket", "GetBucketLocation", "GetBucketTagging", "PutBucketTagging"),
    *("GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock", "PutLifecycleConfiguration"),
    *("GetEncryptionConfiguration", "PutEncryptionConfiguration"),
]
_OF_EC2 = [
    *("CreateSecurityGroup", "DeleteSecurityGroup", "RevokeSecurityGroupIngress"),
    *("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"),
    *("CreateKeyPair", "DeleteKeyPair", "CreatePlacementGroup", "DeletePlacementGroup", "RunInstances", "CreateTags"),
]


def _bucket(account: Account, bucket: str) -> list[Statement]:
    arn = f"arn:{account.partition}:s3:::{bucket}"
    return [
        _allow("ListBucket", ["s3:ListBucket", "s3:GetBucketLocation"], [arn]),
        _allow("UseObjects", _OBJECTS, [f"{arn}/*"]),
    ]


def _key(kms_key: str | None) -> list[Statement]:
    """Read and write what the key encrypts."""
    return [_allow("UseKey", ["kms:Decrypt", "kms:GenerateDataKey"], [kms_key])] if kms_key else []


def _key_of_disks(kms_key: str | None) -> list[Statement]:
    """Have EC2 encrypt the disks of the instances that the head starts."""
    if kms_key is None:
        return []
    actions = ["kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    for_ec2 = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    return [
        _allow("UseKeyForDisks", actions, [kms_key]),
        _allow("LetEc2UseKey", ["kms:CreateGrant"], [kms_key], for_ec2),
    ]


def _public_images(account: Account) -> str:
    """The parameters by which AWS publishes the newest images, for `ImageId: resolve:ssm:...`."""
    return f"arn:{account.partition}:ssm:{account.region}::parameter/aws/service/*"


def _allow(sid: str, actions: Sequence[str], resources: Sequence[str], condition: Any = None) -> Statement:
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return statement | ({"Condition": condition} if condition else {})


def _document(statements: list[Statement]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}
