"""An AWS account, as the user's credentials see it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.cluster.aws.policies import Account
from harness.cluster.files import ClusterFile
from ndcl.errors import UserError

REFUSED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure", "403")
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "RequestExpired", "SignatureDoesNotMatch")

NO_CREDENTIALS = "AWS: no credentials found; run aws configure, or set AWS_PROFILE"
UNKNOWN_ACCOUNT = "ACCOUNT"


@dataclass(frozen=True, kw_only=True)
class Session:
    """Clients of one region."""

    account: Account
    user: str
    """Who asks: the last part of the name by which AWS knows the credentials."""
    ec2: Any
    iam: Any
    s3: Any


def open_session(region: str) -> Session:
    """Raises UserError without credentials, without the SDK, or where the region does not answer."""
    boto3 = _sdk()
    with answered():
        identity = boto3.client("sts", region_name=region).get_caller_identity()
        clients = {name: boto3.client(name, region_name=region) for name in ("ec2", "iam", "s3")}
    account = Account(number=identity["Account"], region=region, partition=identity["Arn"].split(":")[1])
    return Session(account=account, user=identity["Arn"].rpartition("/")[2].rpartition(":")[2], **clients)


def require_credentials(file: ClusterFile) -> None:
    """Raise UserError where Ray would find none of AWS on this machine, or temporary ones that have expired.

    It says either by a traceback.
    """
    if file.kind != "aws" or file.provider.get("aws_credentials"):
        return
    with answered():
        found = _credentials()
        if found is None:
            raise UserError(NO_CREDENTIALS)
        if found.get_frozen_credentials().token:
            _sdk().client("sts", region_name=file.provider["region"]).get_caller_identity()


def account_of(region: str) -> Account:
    """The account of the credentials; where there are none, with ACCOUNT in place of its number."""
    with answered():
        has_credentials = _credentials() is not None
    if has_credentials:
        return open_session(region).account
    with answered():
        partition = _sdk().Session().get_partition_for_region(region)
    return Account(number=UNKNOWN_ACCOUNT, region=region, partition=partition)


def _credentials() -> Any:
    """What the SDK finds, or None; nobody is asked whether they are valid."""
    return _sdk().Session().get_credentials()


def _sdk() -> Any:
    try:
        import boto3
    except ModuleNotFoundError:
        raise UserError("AWS's SDK is not installed; make install, or pip install boto3") from None
    return boto3


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """What AWS and its SDK raise, as UserError with the remedy."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    try:
        yield
    except NoCredentialsError:
        raise UserError(NO_CREDENTIALS) from None
    except NoRegionError:
        raise UserError("AWS: no region is given; set provider.region in the cluster's YAML") from None
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in EXPIRED:
            raise UserError(f"AWS does not accept the credentials ({code}); log in again") from None
        if code in REFUSED:
            what = f"AWS refuses {error.operation_name} ({message})"
            raise UserError(f"{what}; use credentials with that permission, or ask the account's owner") from None
        raise UserError(f"AWS: {error.operation_name}: {message} ({code})") from None
    except BotoCoreError as error:
        raise UserError(f"AWS can't be asked: {error}; check network, region and credentials") from None


def code_of(error: Exception) -> str:
    """The code of an error that AWS answered with."""
    response: dict[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def usable_subnets(ec2: Any, file: ClusterFile) -> list[dict[str, Any]]:
    """Those in which Ray may launch a node for which none is given: of any VPC, as Ray chooses them."""
    zones = [zone.strip() for zone in file.provider.get("availability_zone", "").split(",") if zone.strip()]
    subnets = ec2.describe_subnets()["Subnets"]
    return [
        subnet
        for subnet in subnets
        if subnet["State"] == "available"
        and (file.provider.get("use_internal_ips") or subnet["MapPublicIpOnLaunch"])
        and (not zones or subnet["AvailabilityZone"] in zones)
    ]


def groups_named(ec2: Any, name: str) -> dict[str, dict[str, Any]]:
    """The security groups of that name, by VPC."""
    filters = [{"Name": "group-name", "Values": [name]}]
    return {group["VpcId"]: group for group in ec2.describe_security_groups(Filters=filters)["SecurityGroups"]}
