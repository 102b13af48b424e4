"""The bucket in which a cluster's results outlive it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from harness.cluster.aws.desired_state import Step, Wanted
from harness.cluster.aws.session import Session, code_of
from ndcl.errors import UserError

CLOSED = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
FORGET_PARTS = {
    "ID": "forget-parts",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}
"""A rule for what an upload leaves that broke off: it costs, and no listing shows it."""


def missing(session: Session, wanted: Wanted) -> Iterator[Step]:
    """The bucket, closed to the public."""
    name, region = wanted.bucket, session.account.region
    if not has_bucket(session, name):
        what = f"make bucket s3://{name} in {region}, closed to the public"
        yield Step(what=what, do=partial(_make, session.s3, wanted, region))
    elif not _is_closed(session.s3, name):
        yield Step(what=f"close bucket s3://{name} to the public", do=partial(_close, session.s3, name))
    if wanted.kms_key and not (has_bucket(session, name) and _key_of(session.s3, name) == wanted.kms_key):
        what = f"encrypt what comes into s3://{name} by {wanted.kms_key}"
        yield Step(what=what, do=partial(_encrypt, session.s3, name, wanted.kms_key))


def removal(session: Session, wanted: Wanted) -> Iterator[Step]:
    """The bucket, if it was made here and is empty."""
    s3, name = session.s3, wanted.bucket
    if has_bucket(session, name) and _is_marked(s3, wanted) and _is_empty(s3, name):
        yield Step(what=f"delete bucket s3://{name}, which is empty", do=partial(s3.delete_bucket, Bucket=name))


def kept(session: Session, wanted: Wanted) -> str | None:
    """What stays, since it holds results, and how it is deleted."""
    name = wanted.bucket
    if has_bucket(session, name) and not _is_empty(session.s3, name):
        return f"kept: s3://{name}, which holds something; aws s3 rb --force s3://{name} deletes it with all results"
    return None


def has_bucket(session: Session, name: str) -> bool:
    """Raises UserError if it is somebody else's."""
    from botocore.exceptions import ClientError

    try:
        session.s3.head_bucket(Bucket=name)
    except ClientError as error:
        if code_of(error) in ("404", "NoSuchBucket"):
            return False
        if code_of(error) in ("403", "301"):
            raise UserError(f"s3://{name} is somebody else's or in another region; give another --bucket") from None
        raise
    return True


def _make(s3: Any, wanted: Wanted, region: str) -> None:
    name = wanted.bucket
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **where)
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": wanted.marks})
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [FORGET_PARTS]})
    _close(s3, name)


def _close(s3: Any, name: str) -> None:
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=CLOSED)


def _encrypt(s3: Any, name: str, key: str) -> None:
    by_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rule = {"ApplyServerSideEncryptionByDefault": by_key, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})


def _key_of(s3: Any, name: str) -> str | None:
    """The key by which a bucket encrypts, if it is one of the account's."""
    from botocore.exceptions import ClientError

    try:
        found = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    except ClientError as error:
        if code_of(error) == "ServerSideEncryptionConfigurationNotFoundError":
            return None
        raise
    return next((rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID") for rule in found), None)


def _is_closed(s3: Any, name: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        return bool(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"] == CLOSED)
    except ClientError as error:
        if code_of(error) == "NoSuchPublicAccessBlockConfiguration":
            return False
        raise


def _is_marked(s3: Any, wanted: Wanted) -> bool:
    from botocore.exceptions import ClientError

    try:
        return wanted.is_ours(s3.get_bucket_tagging(Bucket=wanted.bucket)["TagSet"])
    except ClientError as error:
        if code_of(error) == "NoSuchTagSet":
            return False
        raise


def _is_empty(s3: Any, name: str) -> bool:
    return int(s3.list_objects_v2(Bucket=name, MaxKeys=1)["KeyCount"]) == 0
