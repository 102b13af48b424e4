"""The literal path: `ray up` before and after bootstrap, the file that bootstrap fills in, and what it takes away."""

import copy
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.util import prepare_config
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.cluster.aws.session import Session
from harness.cluster.checks.aws_account import security_group
from harness.cluster.files import read_cluster
from tests.harness.cluster.made_accounts import BUCKET, HOME, IMAGE, REGION, made_account, made_session
from tests.harness.cluster.made_clusters import ROOT, found

ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
}
"""S3's calls whose right has another name."""


@pytest.fixture(autouse=True)
def account() -> Iterator[None]:
    with made_account():
        yield


@pytest.fixture
def session() -> Session:
    return made_session()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy of what is shipped, with an image that moto has."""
    text = (ROOT / "clusters" / "aws.yaml").read_text()
    [image] = [line.strip() for line in text.splitlines() if line.strip().startswith("ImageId: resolve")]
    copied = tmp_path / "aws.yaml"
    copied.write_text(text.replace(image, f"ImageId: {IMAGE}"))
    return copied


def bootstrap(path: Path, *options: str, text: str = "", code: int = 0) -> Result:
    command = ["cluster", "bootstrap", "aws", "--cluster", str(path), *options]
    done = CliRunner().invoke(app, command, input=text)
    assert done.exit_code == code, done.output
    return done


def as_ray_starts_it(path: Path) -> Any:
    """The node types, as Ray's own launcher fills them in before it starts a head."""
    values = copy.deepcopy(yaml.safe_load(path.read_text()))
    return bootstrap_aws(prepare_config(values))


def trust_nobody() -> dict[str, Any]:
    statement = {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def key_of(home: Path) -> Path:
    return home / ".ssh" / f"ndcl-{REGION}.pem"


@pytest.mark.parametrize("name", ["aws", "aws-efa"])
@pytest.mark.parametrize("command", ["up --yes", "down --yes", "exec", "attach"])
def test_plain_ray_stops_before_it_has_made_anything_and_names_the_remedy(name: str, command: str) -> None:
    verb, *options = command.split()
    words = [Path(sys.executable).with_name("ray"), verb, *options, f"clusters/{name}.yaml"]
    environment = {**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "COLUMNS": "200"}
    done = subprocess.run(
        [*words, *(["true"] if verb == "exec" else [])],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert f"ndcl cluster bootstrap aws {'' if name == 'aws' else f'--cluster clusters/{name}.yaml '}--write" in said


def test_after_bootstrap_ray_has_all_that_it_needs_and_makes_nothing(session: Session, path: Path, home: Path) -> None:
    before = path.read_text()
    done = bootstrap(path, "--cidr", HOME, "--yes", "--write", "--owner", "ada")
    assert done.output.endswith(f"next: ndcl cluster check {path}\n")
    file = read_cluster(path)
    assert found(file) == []
    assert list(security_group(session, file)) == []
    assert file.values["metadata"]["results"] == f"s3://{BUCKET}/results"
    assert file.values["metadata"]["data"] == f"s3://{BUCKET}/data"
    changed = [(a, b) for a, b in zip(before.splitlines(), path.read_text().splitlines(), strict=True) if a != b]
    assert len(changed) == 8
    assert all(a.partition("#")[2] == b.partition("#")[2] for a, b in changed), "comments stay"
    groups, pairs = session.ec2.describe_security_groups()["SecurityGroups"], session.ec2.describe_key_pairs()
    started = as_ray_starts_it(path)
    [group] = [group for group in groups if group["GroupName"] == "ndcl"]
    for node_type in started["available_node_types"].values():
        assert node_type["node_config"]["SecurityGroupIds"] == [group["GroupId"]]
        assert node_type["node_config"]["KeyName"] == "ndcl"
        tags = node_type["node_config"]["TagSpecifications"][0]["Tags"]
        assert {"Key": "owner", "Value": "ada"} in tags
    assert Path(started["auth"]["ssh_private_key"]).expanduser() == key_of(home)
    assert session.ec2.describe_security_groups()["SecurityGroups"] == groups
    assert session.ec2.describe_key_pairs()["KeyPairs"] == pairs["KeyPairs"]


def test_secrets_are_for_the_user_alone(session: Session, path: Path, home: Path) -> None:
    token = home / ".ray" / "auth_token"
    token.unlink()
    bootstrap(path, "--cidr", HOME, "--yes", "--write")
    for secret in (token, key_of(home)):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert len(secret.read_text()) > 30
    assert key_of(home).read_text().endswith("-----END OPENSSH PRIVATE KEY-----\n")
    made = token.read_text()
    token.chmod(0o644)
    assert "let nobody else read ~/.ray/auth_token" in bootstrap(path, "--cidr", HOME, "--yes").output
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() == made


def test_a_second_time_there_is_nothing_to_do_and_nothing_changes(session: Session, path: Path) -> None:
    bootstrap(path, "--cidr", HOME, "--yes", "--write")
    text = path.read_text()
    assert "nothing to do" in bootstrap(path, "--cidr", HOME, "--yes", "--write").output
    assert path.read_text() == text


def test_the_file_changes_only_if_the_user_agrees(session: Session, path: Path) -> None:
    text = path.read_text()
    done = bootstrap(path, "--cidr", HOME, text="y\nn\n")
    assert f"write this into {path}?" in done.output
    assert f"+ results: s3://{BUCKET}/results" in done.output
    assert path.read_text() == text
    bootstrap(path, "--cidr", HOME, text="y\n")
    assert path.read_text() != text


def test_values_of_the_users_own_stay(session: Session, path: Path) -> None:
    path.write_text(path.read_text().replace("s3://CHANGE-ME ", "s3://mine/results "))
    path.write_text(path.read_text().replace("KeyName: CHANGE-ME", "KeyName: my-own"))
    bootstrap(path, "--cidr", HOME, "--yes", "--write", "--region", REGION)
    values = yaml.safe_load(path.read_text())
    assert values["metadata"]["results"] == "s3://mine/results"
    assert values["available_node_types"]["head"]["node_config"]["KeyName"] == "my-own"
    assert session.ec2.describe_key_pairs()["KeyPairs"] == []


def test_the_region_is_the_profiles_until_the_file_is_prepared(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    bootstrap(path, "--cidr", HOME, "--yes", "--write")
    assert yaml.safe_load(path.read_text())["provider"]["region"] == "eu-west-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    assert "eu-west-1" in bootstrap(path, "--cidr", HOME, "--yes").output


def test_a_group_that_ray_left_open_is_taken_over_and_narrowed(session: Session, path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    values["provider"] = {"type": "aws", "region": REGION, "security_group": {"GroupName": "ndcl"}}
    del values["auth"]["ssh_private_key"]
    for node_type in values["available_node_types"].values():
        del node_type["node_config"]["SecurityGroupIds"], node_type["node_config"]["KeyName"]
    bootstrap_aws(prepare_config(values))  # what `ray up` did with the earlier file

    def ssh() -> list[str]:
        groups = session.ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["ndcl"]}])
        [group] = groups["SecurityGroups"]
        return [entry["CidrIp"] for p in group["IpPermissions"] for entry in p["IpRanges"]]

    assert ssh() == ["0.0.0.0/0"]
    done = bootstrap(path, "--cidr", HOME, "--yes", "--write")
    assert "which Ray has made" in done.output
    assert ssh() == [HOME]
    assert "nothing to do" in bootstrap(path, "--cidr", HOME, "--yes").output


@pytest.mark.parametrize(
    ("lost", "words"), [("file", "copy that file from the machine"), ("pair", "move the file away")]
)
def test_half_a_key_pair_is_told(session: Session, path: Path, home: Path, lost: str, words: str) -> None:
    bootstrap(path, "--cidr", HOME, "--yes", "--write")
    if lost == "file":
        key_of(home).unlink()
    else:
        session.ec2.delete_key_pair(KeyName="ndcl")
    assert words in bootstrap(path, "--cidr", HOME, "--yes", code=2).stderr


def test_a_key_pair_of_somebody_elses_is_left_alone(session: Session, path: Path) -> None:
    session.ec2.create_key_pair(KeyName="ndcl")
    said = bootstrap(path, "--cidr", HOME, "--yes", code=2).stderr
    assert "key pair ndcl is there but was not made for cluster ndcl" in said


def test_all_but_the_bucket_is_taken_away(session: Session, path: Path, home: Path) -> None:
    bootstrap(path, "--cidr", HOME, "--yes", "--write")
    session.s3.put_object(Bucket=BUCKET, Key="results/report.html", Body=b"long work")
    assert f"kept: s3://{BUCKET}" in bootstrap(path, "--destroy", "--yes").output
    assert session.ec2.describe_key_pairs()["KeyPairs"] == []
    assert not key_of(home).exists()
    assert [g["GroupName"] for g in session.ec2.describe_security_groups()["SecurityGroups"]] == ["default"]
    assert session.iam.list_instance_profiles()["InstanceProfiles"] == []
    assert [bucket["Name"] for bucket in session.s3.list_buckets()["Buckets"]] == [BUCKET]


def test_boundary_and_key_reach_roles_and_bucket(session: Session, path: Path) -> None:
    document = json.dumps(trust_nobody())
    boundary = session.iam.create_policy(PolicyName="limit", PolicyDocument=document)["Policy"]["Arn"]
    key = f"arn:aws:kms:{REGION}:123456789012:key/1a2b"
    options = ("--cidr", HOME, "--yes", "--permissions-boundary", boundary, "--kms-key", key)
    bootstrap(path, *options)
    for role in ("ndcl-head", "ndcl-worker"):
        found_role = session.iam.get_role(RoleName=role)["Role"]
        assert found_role["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
        statements = session.iam.get_role_policy(RoleName=role, PolicyName=role)["PolicyDocument"]["Statement"]
        assert any("kms:Decrypt" in each["Action"] and each["Resource"] == [key] for each in statements)
    of_head = session.iam.get_role_policy(RoleName="ndcl-head", PolicyName="ndcl-head")["PolicyDocument"]
    assert "kms:CreateGrant" in json.dumps(of_head)
    rules = session.s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key
    assert "nothing to do" in bootstrap(path, *options).output
    said = bootstrap(path, "--cidr", HOME, "--kms-key", "1a2b", code=2).stderr
    assert "--kms-key 1a2b: it is no ARN of kms; give one, such as arn:aws:kms:us-west-2" in said


@pytest.mark.parametrize(("region", "partition"), [("us-west-2", "aws"), ("cn-north-1", "aws-cn")])
def test_the_policy_is_printed_without_credentials(
    path: Path, monkeypatch: pytest.MonkeyPatch, region: str, partition: str
) -> None:
    """Whoever asks an administrator for rights may have none yet."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    done = bootstrap(path, "--policy", "--region", region)
    resources = [name for statement in json.loads(done.stdout)["Statement"] for name in statement["Resource"]]
    assert f"arn:{partition}:iam::ACCOUNT:role/ndcl-head" in resources
    assert f"arn:{partition}:s3:::ndcl-ACCOUNT-{region}" in resources
    assert done.stderr == (
        "AWS: no credentials found; run aws configure, or set AWS_PROFILE; or put the account's number in place of "
        "ACCOUNT above\n"
    )


def test_the_policy_names_every_right_that_bootstrap_uses(session: Session, path: Path) -> None:
    policy = json.loads(bootstrap(path, "--policy").output)
    assert session.s3.list_buckets()["Buckets"] == [], "to look changes nothing"
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    used = set()

    def note(model: Any, **_: Any) -> None:
        service = model.service_model.signing_name
        used.add(f"{service}:{ACTIONS.get(model.name, model.name)}")

    import boto3

    boto3.setup_default_session()
    boto3.DEFAULT_SESSION.events.register("before-call", note)
    try:
        bootstrap(path, "--cidr", HOME, "--yes", "--write", "--kms-key", f"arn:aws:kms:{REGION}:1:key/1")
        bootstrap(path, "--destroy", "--yes")
    finally:
        boto3.DEFAULT_SESSION = None
    assert len(used) > 20
    lacking = {action for action in used if action not in allowed and not action.startswith("ec2:Describe")}
    assert lacking == set()
