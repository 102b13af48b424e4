"""clusters/aws.pkr.hcl: the image is what clusters/aws.yaml starts from, holds what nodes look for, and is closed."""

import re
from typing import Any

import hcl2
import pytest
import yaml

from tests.harness.cluster.made_clusters import ROOT

CLUSTER = yaml.safe_load((ROOT / "clusters" / "aws.yaml").read_text())


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    """The recipe's blocks, its names and texts without quotes."""
    text = (ROOT / "clusters" / "aws.pkr.hcl").read_text()
    found: dict[str, Any] = _unquoted(hcl2.loads(text))
    return found


def _unquoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.strip('"'): _unquoted(each) for key, each in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [_unquoted(each) for each in value]
    return value.strip('"') if isinstance(value, str) else value


def builder(recipe: dict[str, Any]) -> dict[str, Any]:
    [source] = recipe["source"]
    found: dict[str, Any] = source["amazon-ebs"]["node"]
    return found


def test_it_starts_from_the_image_of_the_cluster(recipe: dict[str, Any]) -> None:
    [data] = recipe["data"]
    head = CLUSTER["available_node_types"]["head"]["node_config"]
    assert head["ImageId"] == f"resolve:ssm:{data['amazon-parameterstore']['base']['name']}"
    assert builder(recipe)["source_ami"] == "${data.amazon-parameterstore.base.value}"
    assert builder(recipe)["ssh_username"] == CLUSTER["auth"]["ssh_user"]
    [disk], [own] = builder(recipe)["launch_block_device_mappings"], head["BlockDeviceMappings"]
    assert disk["device_name"] == own["DeviceName"]
    assert disk["volume_size"] <= own["Ebs"]["VolumeSize"], "a node's disk can't be smaller than its image"


def test_what_it_copies_lies_where_nodes_look_for_it(recipe: dict[str, Any]) -> None:
    [build] = recipe["build"]
    copies = [each["file"] for each in build["provisioner"] if "file" in each]
    mounts = CLUSTER["file_mounts"]
    for copy in copies:
        assert (ROOT / copy["source"]).is_file()
        below = [f"{remote}{copy['source'].removeprefix(local)}" for remote, local in mounts.items()]
        assert copy["destination"] in below
    commands = [line for each in build["provisioner"] for line in each.get("shell", {}).get("inline", [])]
    assert set(CLUSTER["setup_commands"]) <= set(commands), "the image is made by what nodes run"


def test_nobody_else_reaches_the_machine_or_gets_the_image(recipe: dict[str, Any]) -> None:
    made = builder(recipe)
    assert made["temporary_security_group_source_public_ip"]
    assert made["ssh_clear_authorized_keys"]
    assert made["encrypt_boot"]
    assert made["imds_support"] == "v2.0"
    assert made["metadata_options"][0]["http_tokens"] == "required"
    assert not {"ami_users", "ami_groups", "ami_org_arns", "access_key", "secret_key"} & made.keys()


def test_the_guide_gives_its_commands() -> None:
    guide = (ROOT / "docs" / "clusters.md").read_text()
    header = (ROOT / "clusters" / "aws.pkr.hcl").read_text().split("\n\n")[0]
    for command in re.findall(r"^# \w+: +(packer .*?)(?:  |$)", header, re.MULTILINE):
        assert command in guide
