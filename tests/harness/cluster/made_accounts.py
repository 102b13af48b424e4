"""An account of moto's AWS in which nodes could live."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto import mock_aws

from harness.cluster.aws.session import Session, open_session

REGION = "us-west-2"
HOME, OFFICE = "203.0.113.7/32", "198.51.100.0/24"
BUCKET = "ndcl-123456789012-us-west-2"
IMAGE = "ami-12c6146b"
"""One that moto has; it has no parameters by which images are found."""


@contextmanager
def made_account() -> Iterator[None]:
    """AWS by moto, for a user with credentials."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "made")
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
            patch.delenv(name, raising=False)
        with mock_aws():
            yield


def made_session() -> Session:
    """Of an account whose default VPC leads to the internet, as a real one does and moto's doesn't."""
    opened = open_session(REGION)
    ec2 = opened.ec2
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.describe_route_tables()["RouteTables"][0]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    return opened
