"""Checkpoints in an object store: whole or not there, the one before kept until then, checked when they are read.

The store is this machine's own server of the tests; what is sent to it is sent by pyarrow's client of S3.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ndcl.checkpoint_files import MANIFEST, STATE, is_checkpoint
from ndcl.checkpoints import content
from ndcl.checkpoints.content import folder_name
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.filesystems import files_below, filesystem_of, join
from ndcl.training import train
from tests.servers.object_server import ObjectServer, serving
from tests.servers.object_stores import served_gs

torch.set_num_threads(1)

BASE: dict[str, Any] = {
    "data": {"name": "digits", "target": "sign"},
    "algorithm": {"name": "ndcl"},
    "imbalance": {"counts": [20, 12, 8, 5, 3, 2, 2, 1, 1, 1], "validation": 4},
    "model": {"backbone": "mlp", "mlp_width": 16, "mlp_depth": 2},
    "batch_size": 6,
    "num_steps": 6,
    "evaluate_every": 3,
    "device": "cpu",
}
FIRST, LAST = (f"far/{folder_name(step)}" for step in (3, 6))


def config_of(**values: Any) -> TrainConfig:
    return TrainConfig.from_dict(BASE | values)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ObjectServer]:
    with serving(tmp_path / "bucket") as server:
        yield server


def same(first: Any, second: Any) -> bool:
    """Whether nested dictionaries and lists hold the same, but for the seconds that passed and digests of files."""
    if isinstance(first, dict):
        compared = set(first) - {"seconds", "sha256"}
        return set(first) == set(second) and all(same(first[key], second[key]) for key in compared)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(torch.equal(first, second)) if isinstance(first, torch.Tensor) else bool(first == second)


@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize(
    ("values", "parts"),
    [({}, [""]), ({"select_by": ["leave_one_domain_out_accuracy"]}, ["fold-0", "fold-1", "fold-2"])],
)
def test_a_training_goes_on_from_the_store_as_from_a_disk(
    server: ObjectServer, tmp_path: Path, values: dict[str, Any], parts: list[str], in_background: bool
) -> None:
    uri = server.uri("far/")
    for num_steps in (3, 6):
        config = config_of(num_steps=num_steps, **values)
        [evaluation] = train(config, uri, write_in_background=in_background)
        assert evaluation.step == num_steps
    list(train(config_of(**values), tmp_path / "near"))
    near, far = tmp_path / "near" / folder_name(6), tmp_path / "bucket" / LAST
    assert server.keys() == sorted(f"{LAST}/{path.relative_to(near)}" for path in near.rglob("*") if path.is_file())
    assert is_checkpoint(far)
    for part in parts:
        for here, there in zip(content.read(near / part), content.read(far / part), strict=True):
            assert same(here, there)
    assert not server.uploads


def test_the_one_before_is_kept_until_the_new_one_is_whole(server: ObjectServer) -> None:
    seen = {}

    def look(key: str) -> bool:
        seen[key] = server.keys()
        return True

    server.before_write = look
    list(train(config_of(), server.uri("far")))
    whole = [f"{FIRST}/{MANIFEST}", f"{FIRST}/{STATE}"]
    assert seen[f"{LAST}/{STATE}"] == whole
    assert seen[f"{LAST}/{MANIFEST}"] == [*whole, f"{LAST}/{STATE}"]
    assert server.keys() == [f"{LAST}/{MANIFEST}", f"{LAST}/{STATE}"]


@pytest.mark.parametrize("name", [STATE, MANIFEST])
def test_a_write_that_fails_is_one_line_and_leaves_the_one_before(server: ObjectServer, name: str) -> None:
    server.before_write = lambda key: key != f"{LAST}/{name}"
    with pytest.raises(UserError, match=r"checkpoint 's3://bucket/far/step-00000006' cannot be written") as error:
        list(train(config_of(), server.uri("far")))
    assert "\n" not in str(error.value)
    assert "password" not in str(error.value)
    server.before_write = lambda key: True
    assert [evaluation.step for evaluation in train(config_of(), server.uri("far"))] == [6]


TRAIN = """
import json, sys
from ndcl.config import TrainConfig
from ndcl.training import train
list(train(TrainConfig.from_dict(json.loads(sys.argv[1])), sys.argv[2]))
"""


def test_a_process_that_is_killed_while_it_writes_leaves_the_one_before(server: ObjectServer) -> None:
    values = json.dumps(config_of().to_dict())
    process = subprocess.Popen([sys.executable, "-c", TRAIN, values, server.uri("far")])

    def kill(key: str) -> bool:
        if key == f"{LAST}/{MANIFEST}":
            process.kill()
            return False
        return True

    server.before_write = kill
    assert process.wait() == -signal.SIGKILL
    server.before_write = lambda key: True
    assert server.keys() == [f"{FIRST}/{MANIFEST}", f"{FIRST}/{STATE}", f"{LAST}/{STATE}"]
    # another interval, so that what was half written is not written again
    config = config_of(num_steps=7, evaluate_every=4)
    assert [evaluation.step for evaluation in train(config, server.uri("far"))] == [4, 7]
    newest = f"far/{folder_name(7)}"
    assert server.keys() == [f"{newest}/{MANIFEST}", f"{newest}/{STATE}"]


def test_a_flipped_byte_and_another_config_are_told_by_the_address(server: ObjectServer, tmp_path: Path) -> None:
    list(train(config_of(num_steps=3), server.uri("far")))
    with pytest.raises(UserError, match=r"checkpoint 's3://bucket/far/step-00000003': made with seed = 0, but"):
        list(train(config_of(seed=1), server.uri("far")))
    path = tmp_path / "bucket" / FIRST / STATE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"'s3://bucket/far/step-00000003': missing or damaged; start again"):
        list(train(config_of(), server.uri("far")))


def test_credentials_that_are_refused_are_one_line(server: ObjectServer) -> None:
    server.forbids = True
    with pytest.raises(UserError, match=r"cannot be read .* check the address, the network and your cred") as error:
        list(train(config_of(), server.uri("far")))
    assert "\n" not in str(error.value)
    assert "password" not in str(error.value)


@pytest.mark.parametrize("num_steps", [6, 9])
def test_googles_storage_where_no_folder_is_an_object(tmp_path: Path, num_steps: int) -> None:
    with served_gs() as bucket:
        uri = join(bucket, "far")
        list(train(config_of(num_steps=3), uri))
        assert [e.step for e in train(config_of(num_steps=num_steps), uri)] == list(range(6, num_steps + 1, 3))
        filesystem, folder = filesystem_of(uri)
        assert {name.partition("/")[0] for name in files_below(filesystem, folder)} == {folder_name(num_steps)}
