"""Opening by name: built-in sets are made once, whatever else starts or dies at the same time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ndcl.data import data_folder, dataset_names, domains_of, open_dataset
from ndcl.data.datasets import DATASETS
from ndcl.errors import UserError
from tests.made.made_store import DOMAINS, make_store
from tests.ndcl.data.test_store import COUNTS

REPORT = """
import sys, ndcl.data
from ndcl.data import open_dataset
build = ndcl.data.datasets.DATASETS["digits"]
def counted(folder):
    print("building", flush=True)
    build(folder)
ndcl.data.datasets.DATASETS["digits"] = counted
print(open_dataset("digits", sys.argv[1]).digest)
"""

HANG = """
import sys, time, ndcl.data, ndcl.data.store.writer as writer
def hang(path, batch):
    path.write_bytes(b"half a file")
    print("writing", flush=True)
    time.sleep(600)
writer.write_file = hang
ndcl.data.open_dataset("digits", sys.argv[1])
"""


def start(code: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)


def test_processes_that_start_together_make_the_set_once(tmp_path: Path) -> None:
    processes = [start(REPORT, tmp_path) for _ in range(3)]
    outputs = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(output.count("building") for output in outputs) == 1
    assert len({output[-1] for output in outputs}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".digits.lock", "digits"]


def test_a_killed_build_is_not_taken_for_a_data_set(tmp_path: Path) -> None:
    process = start(HANG, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    leftover = next(tmp_path.glob(".partial-digits-*"))
    assert (leftover / "data.arrow").read_bytes() == b"half a file"
    assert not (tmp_path / "digits").exists()
    assert dataset_names(str(tmp_path)) == ("digits",)
    assert len(open_dataset("digits", str(tmp_path))) == 3480
    assert not leftover.exists()


def test_a_set_that_exists_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path / "digits", COUNTS)

    def fail(_: Path) -> None:
        raise AssertionError("built again")

    monkeypatch.setitem(DATASETS, "digits", fail)
    assert len(open_dataset("digits", str(tmp_path))) == COUNTS.sum()


def test_a_store_may_be_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_store(tmp_path / "sets" / "office", COUNTS)
    assert open_dataset(str(made.folder)).digest == made.digest
    monkeypatch.chdir(tmp_path)
    assert open_dataset("./sets/office").digest == open_dataset("sets/office").digest == made.digest
    assert domains_of("sets/office") == DOMAINS
    with pytest.raises(UserError, match=r"sets/ofice holds no data set .*; import one, or give another folder"):
        open_dataset("sets/ofice")


def test_an_unknown_name_lists_the_valid_ones(tmp_path: Path) -> None:
    make_store(tmp_path / "office", COUNTS)
    (tmp_path / "notes").mkdir()
    with pytest.raises(
        UserError, match=r"unknown data set in .*'ofice'; did you mean 'office'\? Valid: digits, office$"
    ):
        open_dataset("ofice", str(tmp_path))
    with pytest.raises(UserError, match="unknown data set"):
        domains_of("ofice", str(tmp_path))


def test_domains_are_known_without_making_the_set(tmp_path: Path) -> None:
    make_store(tmp_path / "office", COUNTS)
    assert domains_of("office", str(tmp_path)) == DOMAINS
    assert domains_of("digits", str(tmp_path)) == ("scan", "texture", "print", "sign")
    assert not (tmp_path / "digits").exists()


def test_the_folder_comes_from_the_argument_the_environment_or_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDCL_DATA", "/data/sets")
    assert data_folder("/elsewhere") == Path("/elsewhere")
    assert data_folder() == Path("/data/sets")
    monkeypatch.delenv("NDCL_DATA")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert data_folder() == Path("/home/somebody/.cache/ndcl")


def test_a_name_matches_whatever_its_case_hyphens_and_blanks(tmp_path: Path) -> None:
    make_store(tmp_path / "Office-Home", COUNTS)
    assert open_dataset("office_home", str(tmp_path)).folder == tmp_path / "Office-Home"
    assert domains_of("OFFICE HOME", str(tmp_path)) == DOMAINS
    make_store(tmp_path / "office_home", COUNTS)
    assert open_dataset("office_home", str(tmp_path)).folder == tmp_path / "office_home", "the exact one wins"
    with pytest.raises(UserError, match="unknown data set"):  # two that match equally well
        open_dataset("OfficeHome", str(tmp_path))
