"""The commands by which sweeps live on clusters: what is run, and what is read from what they print."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster import commands
from harness.cluster.files import ClusterFile, read_cluster
from ndcl.errors import UserError

ROOT = Path(__file__).parents[2]
AWS, LOCAL = ROOT / "clusters" / "aws.yaml", ROOT / "clusters" / "local.yaml"
VERBS = ("up", "submit", "status", "logs", "stop", "results", "down")
LISTED = """
[JobDetails(type=<JobType.SUBMISSION: 'SUBMISSION'>, job_id='02000000', submission_id='pacs-20261124-190000',
            status=<JobStatus.RUNNING: 'RUNNING'>, entrypoint='python -m harness.cli sweep submitted/pacs.yaml'),
 JobDetails(type=<JobType.SUBMISSION: 'SUBMISSION'>, job_id=None, submission_id='raysubmit_x', status=...),
 JobDetails(type=<JobType.SUBMISSION: 'SUBMISSION'>, job_id=None, submission_id='vlcs-20261125-070000', status=...),
 JobDetails(type=<JobType.SUBMISSION: 'SUBMISSION'>, job_id=None, submission_id='pacs-20261123-235959', status=...),
 JobDetails(type=<JobType.SUBMISSION: 'SUBMISSION'>, job_id=None, submission_id='pacs-2-20261126-000000', status=...)]
"""


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
        "--submission-id pacs-20261124-190000 --working-dir . -- env MLFLOW_TRACKING_URI=http://127.0.0.1:5000 "
        "python -m harness.cli sweep submitted/pacs.yaml" in script
    )
    assert f"--storage {aws.metadata['results']}" in script
    assert "--set 'search.num_trials=2 # two'" in script
    assert script.endswith("--results ~/results")


def test_without_a_place_for_results_none_is_given(aws: ClusterFile) -> None:
    values = {key: value for key, value in aws.values.items() if key != "metadata"}
    file = ClusterFile(path=AWS, kind="aws", text="", values=values)
    assert "--storage" not in str(commands.submit(file, "a-20261124-190000", Path("a.yaml"), []))
    assert "--storage" not in str(commands.check_head(file))


def test_the_newest_job_is_found_in_the_list() -> None:
    assert commands.newest_job(LISTED) == "pacs-2-20261126-000000"
    assert commands.newest_job(LISTED, "pacs") == "pacs-20261124-190000"
    assert commands.newest_job(LISTED, "vlcs") == "vlcs-20261125-070000"
    assert commands.newest_job(LISTED, "digits") is None
    assert commands.newest_job("[]") is None


def test_names_of_jobs_tell_when_they_were_submitted() -> None:
    name = commands.job_name("a-1", 0)
    assert name == "a-1-19700101-000000"
    assert commands.newest_job(f"submission_id='{name}'", "a-1") == name


def test_code_that_is_not_copied_is_missed(aws: ClusterFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="file_mounts copies no folder with this code; start in the root"):
        commands.send_code(aws)


def test_kubernetes_has_its_own_command() -> None:
    result = CliRunner().invoke(app, ["cluster", "up", str(ROOT / "clusters" / "kuberay.yaml")])
    assert result.exit_code == 2
    assert "use kubectl apply" in result.stderr
