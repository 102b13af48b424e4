"""MLflow's artifacts after the results folder was moved."""

from pathlib import Path

from harness.config.tracking_uri import artifact_folder
from harness.tracking.client import open_client
from ndcl.filesystems import local_path


def test_artifacts_are_found_and_written_where_the_results_lie_now(tmp_path: Path) -> None:
    before, after = tmp_path / "Ergebnisse é", tmp_path / "moved"
    before.mkdir()
    client = open_client(before)
    own = client.create_experiment("sweep", (artifact_folder(before) / "sweep").as_uri())
    other = client.create_experiment("of a server's", "s3://bucket/elsewhere")
    run = client.create_run(own).info.run_id
    client.log_text(run, "first", "report/a.txt")
    before.rename(after)

    for _ in range(2):
        client = open_client(after)
        uri = client.get_run(run).info.artifact_uri
        assert uri.startswith(f"{artifact_folder(after).as_uri()}/sweep/")
        folder = local_path(uri)
        assert folder is not None
        assert (folder / "report" / "a.txt").read_text() == "first"
        client.log_text(client.create_run(own).info.run_id, "second", "b.txt")
    assert client.get_experiment(other).artifact_location == "s3://bucket/elsewhere"
    assert len(list((artifact_folder(after) / "sweep").glob("*/artifacts/b.txt"))) == 2
    assert not before.exists()
