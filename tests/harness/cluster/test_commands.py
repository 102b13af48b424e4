"""The commands by which sweeps live on clusters: what is run, and what is read from what they print."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster import commands
from harness.cluster.files import ClusterFile, read_cluster
from ndcl.errors import UserError

ROOT = Path(__file__).parents[3]
AWS, LOCAL = ROOT / "clusters" / "aws.yaml", ROOT / "clusters" / "local.yaml"
VERBS = ("up", "submit", "status", "logs", "stop", "ui", "results", "down")


@pytest.fixture(autouse=True)
def _in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def aws() -> ClusterFile:
    return read_cluster(AWS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    result = CliRunner().invoke(app, ["cluster", verb, "--help"])
    assert result.exit_code == 0
    assert f"Example: ndcl cluster {verb}" in result.output


def test_what_is_shown_can_be_typed(aws: ClusterFile) -> None:
    assert str(commands.down(aws)) == f"ray down --yes {AWS}"
    assert str(commands.logs(aws, "pacs-20261124-190000", follow=True)) == (
        f"ray exec --no-config-cache {AWS} 'ray job logs --address http://127.0.0.1:8265 --follow pacs-20261124-190000'"
    )
    assert str(commands.down(read_cluster(LOCAL))) == f"RAY_UP_enable_autoscaler_v2=0 ray down --yes {LOCAL}"


def test_the_ray_that_runs_is_the_one_beside_python(aws: ClusterFile) -> None:
    program = Path(commands.up(aws).argv[0])
    assert program.name == "ray"
    assert program.is_file()


def test_a_job_is_sent_with_the_code_and_what_outlives_the_head(aws: ClusterFile) -> None:
    sent = str(commands.send_code(aws))
    assert sent.startswith(f"ray rsync-up {AWS} ")
    assert sent.endswith(" /home/ubuntu/ndcl/")
    assert str(commands.send_sweep(aws, Path("a/pacs.yaml"))).endswith("a/pacs.yaml /home/ubuntu/ndcl/submitted/")
    script = commands.submit(
        aws, "pacs-20261124-190000", Path("a/pacs.yaml"), ["--set", "search.num_trials=2 # two"]
    ).words[-1]
    assert script.startswith("cd /home/ubuntu/ndcl && ray job submit --address http://127.0.0.1:8265 --no-wait ")
    assert (
        "--submission-id pacs-20261124-190000 --working-dir . --runtime-env-json "
        '\'{"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}\' '
        "-- env MLFLOW_TRACKING_URI=http://127.0.0.1:5000 "
        f"NDCL_DATA={aws.metadata['data']} python -m harness.cli sweep submitted/pacs.yaml" in script
    )
    assert f"--storage {aws.metadata['results']}" in script
    assert "--set 'search.num_trials=2 # two'" in script
    assert script.endswith("--results ~/results")


def test_an_own_algorithm_is_sent_beside_the_code(aws: ClusterFile, tmp_path: Path) -> None:
    (tmp_path / "my_losses").mkdir()
    file = str(commands.send_module(aws, tmp_path / "my_loss.py"))
    assert file == f"ray rsync-up {AWS} {tmp_path}/my_loss.py /home/ubuntu/ndcl/"
    package = str(commands.send_module(aws, tmp_path / "my_losses"))
    assert package == f"ray rsync-up {AWS} {tmp_path}/my_losses/ /home/ubuntu/ndcl/my_losses/"


def test_a_budget_is_watched_on_the_head(aws: ClusterFile) -> None:
    script = str(commands.submit(aws, "a-20261124-190000", Path("a.yaml"), [], ["--dollars", "20.0"]).words[-1])
    assert "python -m harness.cluster.budget --dollars 20.0 python -m harness.cli sweep submitted/a.yaml" in script


def test_where_data_sets_lie_is_told_to_the_job_and_is_no_part_of_the_sweep(aws: ClusterFile) -> None:
    place = "s3://bucket/data?endpoint_override=e&scheme=http"
    values = {**aws.values, "metadata": {**aws.metadata, "data": place}}
    file = ClusterFile(path=AWS, kind="aws", text="", values=values)
    script = commands.submit(file, "a-20261124-190000", Path("a.yaml"), []).words[-1]
    assert f"-- env MLFLOW_TRACKING_URI=http://127.0.0.1:5000 'NDCL_DATA={place}' python -m harness.cli" in script
    assert "folder" not in script
    without = ClusterFile(path=AWS, kind="aws", text="", values={**aws.values, "metadata": {}})
    assert "NDCL_DATA" not in str(commands.submit(without, "a-20261124-190000", Path("a.yaml"), []))


def test_without_a_place_for_results_none_is_given(aws: ClusterFile) -> None:
    values = {key: value for key, value in aws.values.items() if key != "metadata"}
    file = ClusterFile(path=AWS, kind="aws", text="", values=values)
    assert "--storage" not in str(commands.submit(file, "a-20261124-190000", Path("a.yaml"), []))
    assert "--storage" not in str(commands.check_head(file))


def test_code_that_is_not_copied_is_missed(aws: ClusterFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="file_mounts copies no folder with this code; start in the root"):
        commands.send_code(aws)


@pytest.mark.parametrize(
    ("name", "command"),
    [("kuberay.yaml", "kubectl apply"), ("sky.yaml", "sky jobs launch"), ("slurm.sbatch", "sbatch")],
)
def test_what_others_start_is_told_with_their_command(name: str, command: str) -> None:
    result = CliRunner().invoke(app, ["cluster", "up", str(ROOT / "clusters" / name)])
    assert result.exit_code == 2
    assert f"use {command}, as its first lines say" in result.stderr


@pytest.mark.parametrize("verb", ["up", "submit", "status", "logs", "stop", "ui", "results", "down"])
def test_before_bootstrap_every_verb_names_it_in_one_line(verb: str) -> None:
    more = {"submit": ["search_spaces/digits.yaml"], "results": ["digits"]}.get(verb, [])
    result = CliRunner().invoke(app, ["cluster", verb, "clusters/aws.yaml", *more])
    assert result.exit_code == 2
    assert result.output == (
        "ndcl: error: clusters/aws.yaml: provider.type: the account and this file are not prepared yet; ndcl cluster "
        "bootstrap aws --write\n"
    )
