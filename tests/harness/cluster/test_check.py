"""Every finding has a cluster that shows it and nothing else; what is shipped shows none."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster.checks import own_machines
from harness.cluster.files import read_cluster
from ndcl.errors import UserError
from tests.harness.cluster.made_clusters import ROOT, SHIPPED, changed, filled_in, found
from tests.harness.cluster.wrong_clusters import CASES, Change


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_right_once_it_is_filled_in(name: str, tmp_path: Path) -> None:
    assert found(read_cluster(filled_in(name, tmp_path))) == []


@pytest.mark.parametrize("name", ["aws", "aws-efa", "gcp", "azure", "local"])
def test_ray_itself_accepts_what_is_shipped(name: str, tmp_path: Path) -> None:
    validate_config(prepare_config(yaml.safe_load(filled_in(name, tmp_path).read_text())))


@pytest.mark.parametrize("path", sorted((ROOT / "clusters").glob("**/*.s[hb]*")), ids=lambda path: path.name)
def test_scripts_are_valid(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize(("name", "change", "text"), CASES)
def test_what_is_wrong_is_found_and_nothing_else(name: str, change: Change, text: str, tmp_path: Path) -> None:
    findings = found(changed(name, tmp_path, change))
    assert findings
    assert all(text in finding for finding in findings), findings


def test_what_was_not_filled_in_is_found_line_by_line(tmp_path: Path) -> None:
    shipped, path = ROOT / "clusters" / "aws.yaml", tmp_path / "aws.yaml"
    [finding] = found(read_cluster(shipped))
    assert finding.startswith("provider.type: the account and this file are not prepared yet")
    assert finding.endswith(f"ndcl cluster bootstrap aws --cluster {shipped} --write")
    path.write_text(re.sub('type: "aws, .*"', "type: aws", shipped.read_text()))
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
    for mounted in read_cluster(path).values["file_mounts"].values():
        if not Path(mounted).is_absolute() and not mounted.startswith("~"):
            (tmp_path / mounted).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / mounted).touch()
    (tmp_path / "requirements-node.lock").write_text("ray==2.40.0\n")
    monkeypatch.chdir(tmp_path)
    findings = found(read_cluster(path))
    assert ["requirements-node.lock pins Ray 2.40.0" in finding for finding in findings] == [True], findings


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
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 2)
    assert wrong.output.endswith("not prepared yet; ndcl cluster bootstrap aws --write\n1 finding\n")
