"""What every verb says to a broken cluster's file: what check says, before anything is sent, and no traceback."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from harness.cli import app
from harness.cli.cluster.app import cluster as verbs
from harness.cluster.checks.check import structure_of
from tests.harness.cluster.made_accounts import made_account
from tests.harness.cluster.made_clusters import changed, filled_in
from tests.harness.cluster.test_broken_files import SLIPS
from tests.harness.cluster.wrong_clusters import Change, config, types
from tests.made.made_ray import MadeRay

SWEEP = "search_spaces/digits.yaml"
VERBS = [str(command.name) for command in verbs.registered_commands]
WORDS = {
    "bootstrap": ["bootstrap", "aws", "--policy", "--cluster", "FILE"],
    "cost": ["cost", SWEEP, "FILE"],
    "submit": ["submit", "FILE", SWEEP],
    "results": ["results", "FILE", "digits", "--from-storage"],
    "up": ["up", "FILE", "--no-check"],
}
"""What is typed; of the other verbs, the file alone."""
BROKEN: dict[str, tuple[Change, str]] = {
    "no types": (lambda v: v.update(available_node_types=None), "available_node_types: None is not a mapping"),
    "types as a list": (lambda v: v.update(available_node_types=[]), "available_node_types: [] is not a mapping"),
    "empty types": (lambda v: v.update(available_node_types={}), "head_node_type: 'head' is not among"),
    "types missing": (lambda v: v.pop("available_node_types"), "head_node_type: 'head' is not among"),
    "unknown head": (lambda v: v.update(head_node_type="nope"), "head_node_type: 'nope' is not among"),
    "head missing": (lambda v: v.pop("head_node_type"), "head_node_type: '' is not among"),
    "empty type": (lambda v: types(v).update(gpu_spot=None), "available_node_types.gpu_spot: None is not"),
    "type as text": (lambda v: types(v).update(gpu_spot="x"), "available_node_types.gpu_spot: 'x' is not"),
    "empty config": (lambda v: types(v)["head"].update(node_config=None), "head.node_config: None is not a mapping"),
    "config missing": (lambda v: types(v)["head"].pop("node_config"), "head: 'node_config' is missing"),
    "resources as a list": (lambda v: types(v)["head"].update(resources=["CPU"]), "head.resources: ['CPU'] is not"),
    "resources missing": (lambda v: types(v)["head"].pop("resources"), "head: 'resources' is missing"),
    "empty ceiling": (lambda v: v.update(max_workers=None), "max_workers: None is not a whole number"),
    "negative ceiling": (lambda v: v.update(max_workers=-1), "max_workers: -1 is less than the minimum of 0"),
    "quoted ceiling": (lambda v: v.update(max_workers="8"), "max_workers: '8' is not a whole number; 8 without quotes"),
    "metadata as text": (lambda v: v.update(metadata="x"), "metadata: 'x' is not a mapping"),
    "minutes in words": (
        lambda v: v.update(idle_timeout_minutes="five"),
        "idle_timeout_minutes: 'five' is not a number",
    ),
    "disks as a number": (lambda v: config(v).update(BlockDeviceMappings=5), "BlockDeviceMappings: 5 is not a list"),
    "empty disk": (lambda v: config(v)["BlockDeviceMappings"][0].update(Ebs=None), "0.Ebs: None is not a mapping"),
    "quoted disk": (
        lambda v: config(v)["BlockDeviceMappings"][0]["Ebs"].update(VolumeSize="150"),
        "VolumeSize: '150' is not a whole number; 150 without quotes",
    ),
    "market as text": (
        lambda v: config(v, "gpu_spot").update(InstanceMarketOptions="spot"),
        "gpu_spot.node_config.InstanceMarketOptions: 'spot' is not a mapping",
    ),
    "no region": (lambda v: v["provider"].pop("region"), "provider: it has no region"),
    "no name": (lambda v: v.pop("cluster_name"), "'cluster_name' is missing"),
}


def ndcl(verb: str, path: Path) -> Any:
    words = WORDS.get(verb, [verb, "FILE"])
    return CliRunner().invoke(app, ["cluster", *(str(path) if word == "FILE" else word for word in words)])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", BROKEN)
def test_every_verb_says_what_is_broken_before_it_does_anything(
    made_ray: MadeRay, tmp_path: Path, name: str, verb: str
) -> None:
    change, said = BROKEN[name]
    file = changed("aws", tmp_path, change)
    assert structure_of(file)
    result = ndcl(verb, file.path)
    assert result.exit_code == 2, result.output
    first, *_, last = result.stdout.splitlines()
    assert first.startswith(f"{file.path}: ")
    assert said in first
    assert last.endswith((" finding", " findings"))
    assert made_ray.calls() == []


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip["slip"])
def test_no_slip_lets_cost_end_in_a_traceback(slip: dict[str, Any], tmp_path: Path) -> None:
    path = filled_in(slip["file"], tmp_path)
    text = path.read_text()
    for old, new in slip["edits"].items():
        text = text.replace(old, new)
    path.write_text(text)
    result = ndcl("cost", path)
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    assert result.exit_code in (0, 2)


def test_a_shipped_file_has_a_price_before_bootstrap() -> None:
    result = ndcl("cost", Path("clusters/aws.yaml"))
    assert result.exit_code == 0, result.output
    assert "at the worst: " in result.stdout
    assert "CHANGE-ME" not in result.stdout


@pytest.mark.parametrize("verb", ["up", "status", "down"])
def test_a_machine_that_only_a_newer_list_has_stops_no_verb_but_cost_and_check(
    made_ray: MadeRay, tmp_path: Path, verb: str
) -> None:
    """Else a cluster that was started by `up --no-check` could not be ended."""
    file = changed("aws", tmp_path, lambda v: config(v, "gpu_spot").update(InstanceType="g5.50xlarge"))
    assert structure_of(file) == []
    made_ray.answers("")
    assert "EC2 has no type g5.50xlarge" in ndcl("cost", file.path).stdout
    with made_account():
        assert "g5.50xlarge" not in ndcl(verb, file.path).output


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "cost"])
def test_without_credentials_every_verb_that_goes_to_the_account_says_so_in_one_line(
    made_ray: MadeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    result, path = _typed(verb, tmp_path)
    assert result.exit_code == 2, result.output
    said = "AWS: no credentials found; run aws configure, or set AWS_PROFILE"
    if verb == "check":
        assert result.stdout.splitlines()[0] == f"{path}: account: {said}"
    else:
        assert result.output == f"ndcl: error: {said}\n"
    assert made_ray.calls() == []


class _Expired(BaseHTTPRequestHandler):
    """Answers as AWS does where a temporary key has expired."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = "<Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>it has expired</Message></Error>"
        answer = f"<ErrorResponse>{said}<RequestId>1</RequestId></ErrorResponse>".encode()
        self.send_response(403)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def expired() -> Iterator[str]:
    """The address of a server for which every key has expired."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Expired) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "cost"])
def test_with_a_key_that_has_expired_every_verb_says_so_in_one_line(
    made_ray: MadeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expired: str, verb: str
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of yesterday")
    monkeypatch.setenv("AWS_ENDPOINT_URL", expired)
    result, path = _typed(verb, tmp_path)
    assert result.exit_code == 2, result.output
    said = "AWS does not accept the credentials (ExpiredToken); log in again"
    if verb == "check":
        assert result.stdout.splitlines()[0] == f"{path}: account: {said}"
    else:
        assert result.output == f"ndcl: error: {said}\n"
    assert made_ray.calls() == []


def _typed(verb: str, tmp_path: Path) -> tuple[Result, str]:
    """A verb on a file that bootstrap has filled in, and that file's path."""
    words = [word for word in WORDS.get(verb, [verb, "FILE"]) if word not in ("--policy", "--from-storage")]
    path = str(filled_in("aws", tmp_path))
    return CliRunner().invoke(app, ["cluster", *(path if word == "FILE" else word for word in words)]), path


def test_credentials_of_the_file_itself_are_enough(
    made_ray: MadeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    keys = {"aws_access_key_id": "made", "aws_secret_access_key": "made"}
    file = changed("aws", tmp_path, lambda v: v["provider"].update(aws_credentials=keys))
    made_ray.answers("")
    assert ndcl("status", file.path).exit_code == 0
    assert len(made_ray.calls()) == 1
