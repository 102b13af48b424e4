"""Bootstrap and the checks of an account against moto's AWS: made once, corrected, taken away; others' things stay."""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import Stubber
from ray.autoscaler._private.aws.config import _configure_from_network_interfaces, bootstrap_aws
from ray.autoscaler._private.util import prepare_config
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster.aws import network, policies
from harness.cluster.aws.bootstrap import missing, removal
from harness.cluster.aws.desired_state import Wanted, wanted_by
from harness.cluster.aws.session import Session
from harness.cluster.checks.aws_account import CHECKS, launches
from harness.cluster.checks.check import findings_outside
from harness.cluster.files import ClusterFile, read_cluster
from ndcl.errors import UserError
from tests.harness.cluster.made_accounts import BUCKET, HOME, IMAGE, OFFICE, REGION, made_account, made_session
from tests.harness.cluster.made_clusters import GROUP, changed, filled_in


@pytest.fixture(autouse=True)
def account() -> Iterator[None]:
    with made_account():
        yield


@pytest.fixture
def session() -> Session:
    return made_session()


@pytest.fixture
def file(tmp_path: Path) -> ClusterFile:
    def with_bucket_and_image(values: Any) -> None:
        values["metadata"]["results"] = f"s3://{BUCKET}/results"
        values["provider"]["security_group"] = {"GroupName": "ndcl"}
        del values["auth"]["ssh_private_key"]
        for node_type in values["available_node_types"].values():
            node_type["node_config"]["ImageId"] = IMAGE
            del node_type["node_config"]["SecurityGroupIds"], node_type["node_config"]["KeyName"]

    return changed("aws", tmp_path, with_bucket_and_image)


SPOTS_OWN = "AWSServiceRoleForspot"
"""EC2's role for spot, as moto calls it."""
TAGGED_EFA = {
    "TagSpecifications": [{"ResourceType": "placement-group", "Tags": [{"Key": "ndcl-cluster", "Value": "ndcl-efa"}]}]
}


def bootstrapped(session: Session, file: ClusterFile, cidr: str = HOME) -> Wanted:
    wanted = wanted_by(file, session.account, cidr, None)
    for step in missing(session, wanted, file):
        step.do()
    return wanted


def findings(session: Session, file: ClusterFile) -> list[str]:
    return [str(finding) for check in CHECKS for finding in check(session, file)]


def group_of(session: Session) -> Any:
    filters = [{"Name": "group-name", "Values": ["ndcl"]}]
    (group,) = session.ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    return group


def open_to(group: Any) -> list[tuple[int, str]]:
    """Ports and who outside the group reaches them."""
    return [(p["FromPort"], entry["CidrIp"]) for p in group["IpPermissions"] for entry in p["IpRanges"]]


def test_what_is_made_is_what_the_yaml_refers_to_and_no_second_time(session: Session, file: ClusterFile) -> None:
    wanted = bootstrapped(session, file)
    assert wanted.bucket == BUCKET
    assert missing(session, wanted, file) == []
    assert findings(session, file) == []


def test_ssh_is_open_to_the_callers_range_alone_and_follows_it(session: Session, file: ClusterFile) -> None:
    bootstrapped(session, file)
    group = group_of(session)
    assert open_to(group) == [(22, HOME)]
    assert [pair["GroupId"] for p in group["IpPermissions"] for pair in p["UserIdGroupPairs"]] == [group["GroupId"]]
    wanted = wanted_by(file, session.account, OFFICE, None)
    steps = missing(session, wanted, file)
    assert [step.what.split(" in ")[0] for step in steps] == [
        f"close port 22 to {HOME}",
        f"allow SSH from {OFFICE}",
    ]
    for step in steps:
        step.do()
    assert open_to(group_of(session)) == [(22, OFFICE)]


def as_ray_starts_it(file: ClusterFile) -> Any:
    """The node types, as Ray's own launcher fills them in before it starts a head."""
    return bootstrap_aws(prepare_config(copy.deepcopy(dict(file.values))))["available_node_types"]


def test_ray_finds_what_was_made_and_opens_nothing(session: Session, file: ClusterFile) -> None:
    bootstrapped(session, file)
    group = group_of(session)["GroupId"]
    started = as_ray_starts_it(file)
    assert {tuple(node["node_config"]["SecurityGroupIds"]) for node in started.values()} == {(group,)}
    assert started["head"]["node_config"]["IamInstanceProfile"] == {"Name": "ndcl-head"}
    assert open_to(group_of(session)) == [(22, HOME)]


def test_without_bootstrap_ray_lets_everybody_in(session: Session, file: ClusterFile) -> None:
    as_ray_starts_it(file)
    assert open_to(group_of(session)) == [(22, "0.0.0.0/0")]


def test_ray_takes_the_interfaces_of_efa_as_they_are_written(session: Session, tmp_path: Path) -> None:
    file = read_cluster(filled_in("aws-efa", tmp_path))
    node_types = {"available_node_types": copy.deepcopy(dict(file.node_types))}
    gpu = _configure_from_network_interfaces(node_types)["available_node_types"]["gpu"]["node_config"]
    assert (gpu["SubnetIds"], gpu["SecurityGroupIds"]) == (["subnet-mine"], [GROUP])


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "::/0", "203.0.113.7/24", "home"])
def test_everybody_and_what_is_no_range_are_refused(cidr: str, session: Session, file: ClusterFile) -> None:
    with pytest.raises(UserError, match="--cidr"):
        wanted_by(file, session.account, cidr, None)


def test_what_somebody_opened_is_closed_again(session: Session, file: ClusterFile) -> None:
    wanted = bootstrapped(session, file)
    everything = {"IpProtocol": "tcp", "FromPort": 8265, "ToPort": 8265, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    session.ec2.authorize_security_group_ingress(GroupId=group_of(session)["GroupId"], IpPermissions=[everything])
    assert any("port 8265 is open to everybody" in finding for finding in findings(session, file))
    (step,) = missing(session, wanted, file)
    step.do()
    assert open_to(group_of(session)) == [(22, HOME)]


def test_a_role_that_was_given_more_is_set_back(session: Session, file: ClusterFile) -> None:
    wanted = bootstrapped(session, file)
    everything = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    session.iam.put_role_policy(RoleName="ndcl-worker", PolicyName="ndcl-worker", PolicyDocument=everything)
    (step,) = missing(session, wanted, file)
    step.do()
    policy = session.iam.get_role_policy(RoleName="ndcl-worker", PolicyName="ndcl-worker")["PolicyDocument"]
    assert policy == policies.worker_policy(session.account, BUCKET)


def test_the_bucket_is_closed_and_closed_again(session: Session, file: ClusterFile) -> None:
    wanted = bootstrapped(session, file)
    session.s3.delete_public_access_block(Bucket=BUCKET)
    (step,) = missing(session, wanted, file)
    step.do()
    block = session.s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert all(block.values())


def test_what_others_made_under_the_names_is_left_alone(session: Session, file: ClusterFile) -> None:
    session.iam.create_role(RoleName="ndcl-head", AssumeRolePolicyDocument="{}")
    wanted = wanted_by(file, session.account, HOME, None)
    with pytest.raises(UserError, match="role ndcl-head is there but was not made for cluster ndcl by this command"):
        missing(session, wanted, file)
    assert [step.what for step in removal(session, wanted)] == []


def test_all_is_taken_away_again_but_a_bucket_that_holds_something(session: Session, file: ClusterFile) -> None:
    wanted = bootstrapped(session, file)
    session.s3.put_object(Bucket=BUCKET, Key="results/pacs/report.html", Body=b"")
    for step in removal(session, wanted):
        step.do()
    assert removal(session, wanted) == []
    assert [role["RoleName"] for role in session.iam.list_roles()["Roles"]] == [SPOTS_OWN]
    assert session.iam.list_instance_profiles()["InstanceProfiles"] == []
    names = [group["GroupName"] for group in session.ec2.describe_security_groups()["SecurityGroups"]]
    assert names == ["default"]
    session.s3.delete_object(Bucket=BUCKET, Key="results/pacs/report.html")
    (step,) = removal(session, wanted)
    step.do()
    assert session.s3.list_buckets()["Buckets"] == []


def test_nothing_is_taken_away_while_instances_are_there(session: Session, file: ClusterFile) -> None:
    wanted = bootstrapped(session, file)
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "ray-cluster-name", "Value": "ndcl"}]}]
    made = session.ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1, TagSpecifications=tags)
    identity = made["Instances"][0]["InstanceId"]
    with pytest.raises(UserError, match=f"{identity} of cluster ndcl are there; end it with: ndcl cluster down"):
        removal(session, wanted)
    session.ec2.terminate_instances(InstanceIds=[identity])
    assert removal(session, wanted)


def test_efa_gets_its_placement_group(session: Session, tmp_path: Path) -> None:
    """Against the SDK's own model of EC2: moto has no placement groups."""
    file = read_cluster(filled_in("aws-efa", tmp_path))
    wanted = wanted_by(file, session.account, HOME, None)
    ours = {"GroupName": "ndcl-efa", "Tags": wanted.marks}
    with Stubber(session.ec2) as stub:
        stub.add_response("describe_placement_groups", {"PlacementGroups": []})
        stub.add_response("create_placement_group", {}, {"GroupName": "ndcl-efa", "Strategy": "cluster", **TAGGED_EFA})
        stub.add_response("describe_placement_groups", {"PlacementGroups": [ours]})
        stub.add_response("describe_placement_groups", {"PlacementGroups": [ours]})
        stub.add_response("delete_placement_group", {}, {"GroupName": "ndcl-efa"})
        (step,) = network.missing_placement_groups(session.ec2, wanted)
        step.do()
        assert list(network.missing_placement_groups(session.ec2, wanted)) == []
        (step,) = network.removal_of_placement_groups(session.ec2, wanted)
        step.do()
        stub.assert_no_pending_responses()


def test_the_head_may_start_and_end_its_own_and_nothing_else() -> None:
    account = policies.Account(number="123456789012", region=REGION)
    statements = policies.head_policy(account, BUCKET, "ndcl", "ndcl-worker")["Statement"]
    allowed = {action: s for s in statements for action in s["Action"]}
    assert set(allowed) == {
        *("ec2:DescribeInstances", "ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances"),
        *("iam:PassRole", "ssm:GetParameters", "s3:ListBucket", "s3:GetBucketLocation"),
        *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
    }
    own = {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": "ndcl"}}
    assert allowed["ec2:TerminateInstances"]["Condition"] == own
    assert allowed["iam:PassRole"]["Resource"] == ["arn:aws:iam::123456789012:role/ndcl-worker"]
    everywhere = [s["Sid"] for s in statements if "*" in s["Resource"]]
    assert everywhere == ["Look"]
    starts = [s for s in statements if "ec2:RunInstances" in s["Action"]]
    unconditional = [resource for s in starts if "Condition" not in s for resource in s["Resource"]]
    assert not [resource for resource in unconditional if ":instance/" in resource]


def test_before_bootstrap_the_checks_say_what_is_missing(session: Session, file: ClusterFile) -> None:
    told = findings(session, file)
    for text in (
        "has no group ndcl, and Ray would make one with port 22 open to everybody",
        "there is no instance profile ndcl-head",
        "there is no instance profile ndcl-worker",
        f"there is no bucket s3://{BUCKET}",
    ):
        assert any(text in finding for finding in told), text


def test_before_bootstrap_it_is_one_finding_with_the_command(
    session: Session, file: ClusterFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.cluster.aws.session.open_session", lambda region: session)
    (told,) = [str(finding) for finding in findings_outside(file)]
    vpc = session.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    assert told == (
        f"account: bootstrap makes what is missing: {vpc} has no group ndcl, and Ray would make one with port 22 open "
        "to everybody, there is no instance profile ndcl-worker, there is no instance profile ndcl-head, "
        f"there is no bucket s3://{BUCKET}; ndcl cluster bootstrap aws --cluster {file.path}"
    )


def test_subnets_without_a_way_out_are_told_once(
    session: Session, file: ClusterFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrapped(session, file)
    monkeypatch.setattr("harness.cluster.aws.session.open_session", lambda region: session)
    table = session.ec2.describe_route_tables()["RouteTables"][0]["RouteTableId"]
    session.ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    (told,) = [str(finding) for finding in findings_outside(file)]
    subnets = [subnet["SubnetId"] for subnet in session.ec2.describe_subnets()["Subnets"]]
    assert all(subnet in told for subnet in subnets)
    assert "have no route to the internet" in told


def test_a_vpc_that_ray_may_choose_without_the_group_is_found(session: Session, file: ClusterFile) -> None:
    bootstrapped(session, file)
    vpc = session.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = session.ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    session.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    told = findings(session, file)
    assert f"provider.security_group: {vpc} has no group ndcl" in "\n".join(told)
    assert any(f"{subnet} has no route to the internet" in finding for finding in told)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("SubnetIds", ["subnet-0"], "subnet subnet-0 is not in us-west-2"),
        ("SecurityGroupIds", ["sg-0"], "there is no security group sg-0 in us-west-2"),
        ("InstanceType", "g9.xlarge", "us-west-2 has no g9.xlarge"),
        ("InstanceType", "t3.nano", "are promised, a t3.nano has"),
    ],
)
def test_what_the_region_does_not_have_is_found(
    key: str, value: Any, text: str, session: Session, file: ClusterFile, tmp_path: Path
) -> None:
    bootstrapped(session, file)

    def change(values: Any) -> None:
        values["metadata"]["results"] = f"s3://{BUCKET}"
        worker = values["available_node_types"]["gpu_spot"]
        worker["node_config"] = {**file.node_types["gpu_spot"]["node_config"], key: value}
        for name in ("head", "gpu_ondemand"):
            values["available_node_types"][name]["node_config"] = file.node_types[name]["node_config"]

    told = findings(session, changed("aws", tmp_path, change))
    assert told
    assert all(text in finding for finding in told), told


def test_a_cluster_that_was_renamed_after_bootstrap_is_told_once(
    session: Session, file: ClusterFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrapped(session, file)
    monkeypatch.setattr("harness.cluster.aws.session.open_session", lambda region: session)
    renamed = dataclasses.replace(file, values={**file.values, "cluster_name": "mine"})
    assert [str(finding) for finding in findings_outside(file)] == []
    assert [str(finding) for finding in findings_outside(renamed)] == [
        "cluster_name: ndcl-head and ndcl-worker were made for cluster ndcl: the head could start no worker; "
        f"cluster_name: ndcl, or profiles of other names and ndcl cluster bootstrap aws --cluster {file.path}"
    ]


PUBLIC = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default"


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (f"resolve:ssm:{PUBLIC}-x86_64", None),
        (f"resolve:ssm:{PUBLIC}-x86", "us-west-2 has no parameter /aws/service/ami-amazon-linux-latest/al2023-ami-ker"),
        (f"resolve:ssm:{PUBLIC}-arm64", "is for arm64, a g5.xlarge is x86_64"),
        ("ami-00000000000000000", "us-west-2 has no image ami-00000000000000000"),
    ],
)
def test_an_image_that_is_not_there_or_for_other_machines_is_told_once(
    image: str, said: str | None, session: Session, file: ClusterFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrapped(session, file)
    monkeypatch.setattr("harness.cluster.aws.session.open_session", lambda region: session)
    values = copy.deepcopy(dict(file.values))
    for name in ("gpu_spot", "gpu_ondemand"):
        values["available_node_types"][name]["node_config"]["ImageId"] = image
    told = [str(finding) for finding in findings_outside(dataclasses.replace(file, values=values))]
    assert len(told) == (said is not None)
    assert all(said in line and "{gpu_ondemand,gpu_spot}.node_config.ImageId" in line for line in told if said)


def test_halves_of_everybody_are_found_in_the_account(session: Session, file: ClusterFile) -> None:
    bootstrapped(session, file)
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": half}]}
        session.ec2.authorize_security_group_ingress(GroupId=group_of(session)["GroupId"], IpPermissions=[ssh])
    assert ["port 22 is open to everybody" in finding for finding in findings(session, file)] == [True]


def test_a_private_subnet_is_found(session: Session, file: ClusterFile) -> None:
    for subnet in session.ec2.describe_subnets()["Subnets"]:
        session.ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": False})
    assert any("there is no subnet that gives public addresses" in f for f in findings(session, file))
    with pytest.raises(UserError, match="create-default-vpc"):
        bootstrapped(session, file)


def test_what_ec2_would_refuse_is_found_without_starting_anything(session: Session, file: ClusterFile) -> None:
    bootstrapped(session, file)
    with Stubber(session.ec2) as stub:
        stub.add_client_error("run_instances", "UnauthorizedOperation", "You may not start it.")
        stub.add_client_error("run_instances", "DryRunOperation", "It would have been started.")
        told = [str(finding) for finding in launches(session, file)]
        assert list(launches(session, file)) == []
    assert len(told) == 1
    assert "You may not start it." in told[0]
    assert list(launches(session, file)) == []
    assert session.ec2.describe_instances()["Reservations"] == []


def test_without_credentials_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    result = CliRunner().invoke(app, ["cluster", "check", str(filled_in("aws", tmp_path))])
    assert result.exit_code == 2
    assert "account: AWS: no credentials found; run aws configure, or set AWS_PROFILE" in result.output


def test_what_may_not_be_asked_is_told_and_the_rest_is_checked(
    session: Session, file: ClusterFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrapped(session, file)
    monkeypatch.setattr("harness.cluster.aws.session.open_session", lambda region: session)
    with Stubber(session.s3) as stub:
        stub.add_client_error("head_bucket", "AccessDenied", "No.")
        told = [str(finding) for finding in findings_outside(file)]
    assert told == [
        "account: AWS refuses HeadBucket (No.); use credentials with that permission, or ask the account's owner"
    ]


def test_the_command_says_first_what_it_will_do_and_asks(session: Session, tmp_path: Path) -> None:
    path = filled_in("aws", tmp_path)
    command = ["cluster", "bootstrap", "aws", "--cluster", str(path), "--cidr", HOME]
    refused = CliRunner().invoke(app, command, input="n\n")
    assert refused.exit_code == 1
    assert f"  make bucket s3://{BUCKET} in {REGION}, closed to the public" in refused.output
    assert session.s3.list_buckets()["Buckets"] == []
    done = CliRunner().invoke(app, [*command, "--yes"])
    assert done.exit_code == 0, done.output
    assert done.output.endswith(f"next: ndcl cluster bootstrap aws --cluster {path} --write\n")
    assert "nothing to do" in CliRunner().invoke(app, [*command, "--yes"]).output
    gone = CliRunner().invoke(app, [*command[:-2], "--destroy", "--yes"])
    assert gone.exit_code == 0, gone.output
    assert session.s3.list_buckets()["Buckets"] == []
    assert "give one of aws with --cluster" in CliRunner().invoke(app, [*command[:4], "clusters/gcp.yaml"]).stderr
