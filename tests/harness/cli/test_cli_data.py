"""`ndcl data import | list | show | verify | download`, from the command line to what is printed and stored."""

import hashlib
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.terminal.numbers import size
from ndcl.data import Store, open_dataset
from ndcl.data.catalogue import CATALOGUE, Entry, OpenFile
from tests.made.made_images import CLASSES, DOMAINS, encoded, make_folder, noise
from tests.made.made_store import make_store
from tests.servers.flaky_server import Faults, flaky_server

VERBS = ("import", "list", "show", "verify", "download")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def ok(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def error_of(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ndcl: error: ")
    return str(result.stderr)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NDCL_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images", 2)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    assert f"Example: ndcl data {verb}" in ok(verb, "--help")


def test_the_guide_tells_every_verb_option_set_and_licence() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
    assert all(f"ndcl data {verb}" in guide for verb in VERBS)
    assert all(f"`{option}" in guide for option in ("--size", "--fit", "--format", "--jobs", "--skip-corrupt"))
    for entry in CATALOGUE.values():
        assert f"| {entry.name} | {entry.counts.sum():,} | {', '.join(entry.domains)} | {len(entry.classes)} |" in guide


def test_the_verbs_are_listed_and_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from harness.cli import app; from typer.testing import CliRunner\n"
        "print(CliRunner().invoke(app, ['data', '--help']).output)\n"
        "print('heavy:', [m for m in ('ray', 'torch', 'mlflow', 'numpy', 'PIL', 'pyarrow') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"\n  {verb} " in output for verb in VERBS)
    assert "heavy: []" in output


def test_a_folder_and_a_name_are_enough(images: Path, data: Path) -> None:
    output = ok("import", images, "--name", "mine")
    assert "12 images of 2 domains and 3 classes: raw 256 x 256, 2.4 MB in" in output
    assert "next: ndcl data show mine" in output
    assert open_dataset("mine").available().tolist() == [[2] * 3] * 2


def test_options_reach_the_import(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    ok("import", images, "--name", "a", "--size", 32, "--format", "jpeg", "--fit", "crop", "--folder", folder)
    store = Store(folder / "a")
    assert (store.kind, store.input_shape) == ("encoded", (32, 32, 3))
    assert store.notes["conversion"] == {"size": 32, "fit": "crop", "format": "jpeg"}
    assert store.notes["source"] == str(images)


def test_numbers_get_their_names(tmp_path: Path, data: Path) -> None:
    np.savez(tmp_path / "f.npz", x=np.zeros((4, 3), np.float32), y=[0, 1, 0, 1], d=[0, 0, 1, 1])
    ok("import", tmp_path / "f.npz", "--name", "f", "--domains", "art, photo", "--classes", "cat,dog")
    assert (open_dataset("f").domains, open_dataset("f").classes) == (("art", "photo"), ("cat", "dog"))
    assert "'a,,b' is no list of names" in error_of("import", tmp_path / "f.npz", "--name", "g", "--domains", "a,,b")


def test_bad_images_are_listed_above_the_error(images: Path, data: Path) -> None:
    (images / "art" / "cat" / "empty.jpg").write_bytes(b"")
    (images / "photo" / "owl" / "page.jpg").write_bytes(b"<html>")
    lines = error_of("import", images, "--name", "mine").splitlines()
    assert lines[0] == "  art/cat/empty.jpg is empty (0 bytes); fetch it again"
    assert lines[1] == "  photo/owl/page.jpg is no image that can be read; move it elsewhere"
    assert lines[2].startswith("ndcl: error: 2 of 14 images can't be imported")
    assert "--skip-corrupt" in lines[2]
    output = ok("import", images, "--name", "mine", "--skip-corrupt")
    assert "left out 2 (the list is kept with the data set):" in output
    assert "art/cat/empty.jpg is empty" in output
    assert "left out when imported: 2" in ok("show", "mine", "--out", data / "sheet.png")


def test_equal_images_are_a_warning(images: Path, data: Path) -> None:
    (images / "photo" / "dog" / "same.png").write_bytes((images / "art" / "cat" / "0.png").read_bytes())
    output = ok("import", images, "--name", "mine")
    assert "warning: 1 groups of equal images (1 in different domains, 1 in different classes)" in output
    assert "art/cat/0.png = photo/dog/same.png" in output
    assert "groups of equal images: 1 (1 in different domains" in ok("show", "mine", "--out", data / "sheet.png")


def test_show_prints_counts_and_draws_a_sheet(images: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ok("import", images, "--name", "mine", "--size", 16)
    monkeypatch.chdir(data)
    output = ok("show", "mine")
    rows = [line.split() for line in output.splitlines()]
    assert ["domain", *CLASSES, "all"] in rows
    assert all([domain, "2", "2", "2", "6"] in rows for domain in DOMAINS)
    assert ["all", "4", "4", "4", "12"] in rows
    assert "contact sheet of 3 classes: mine.png" in output
    assert (data / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_show_and_verify_of_a_path_and_a_uri(images: Path, data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("NDCL_CACHE", str(tmp_path / "cache"))
    ok("import", images, "--name", "mine", "--size", 16)
    for place in (data / "mine", (data / "mine").as_uri()):
        assert "12 " in ok("show", place, "--out", tmp_path / "sheet.png").replace("\n", " ")
        assert "files: whole" in ok("verify", place)
    assert "files: whole" in ok("verify", "mine", "--folder", data.as_uri())


def test_show_of_many_classes_has_a_row_for_each(data: Path) -> None:
    classes = tuple(f"c{k:02}" for k in range(20))
    make_store(data / "wide", np.arange(40).reshape(2, 20) % 3, classes, ("a", "b"), shape=(3,))
    output = ok("show", "wide")
    assert ["class", "a", "b", "all"] in [line.split() for line in output.splitlines()]
    assert ["c19", "1", "0", "1"] in [line.split() for line in output.splitlines()]
    assert "contact sheet" not in output, "features have none"


@pytest.mark.parametrize("name", CATALOGUE)
def test_show_of_the_catalogue_without_the_images(name: str, data: Path) -> None:
    output = ok("show", name.lower())
    entry = CATALOGUE[name]
    assert f"{entry.counts.sum():,}" in output
    assert f"licence: {entry.licence}" in output
    assert entry.source in output
    assert all(f"variant {variant.name}" in output for variant in entry.variants)
    assert ("ndcl data download" if entry.files else "ndcl data import") in output


def test_an_unknown_name_is_one_line(data: Path) -> None:
    assert "unknown data set" in error_of("show", "nothing")
    assert "unknown data set" in error_of("verify", "nothing")
    assert "unknown data set of the catalogue: 'digits'" in error_of("download", "digits")


def test_list_shows_what_is_here_and_what_can_be_had(images: Path, data: Path) -> None:
    ok("import", images, "--name", "mine", "--size", 16)
    make_store(data / "pacs", np.ones((2, 2), int), ("a", "b"), ("c", "d"), shape=(3,))
    (data / "broken").mkdir()
    (data / "broken" / "data.arrow").write_bytes(b"nonsense")
    rows = {line.split()[0]: " ".join(line.split()) for line in ok("list").splitlines() if line.strip()}
    assert rows["mine"].startswith("mine 12 2 3 raw 16 x 16")
    assert rows["pacs"].startswith("pacs 4 2 2 3 features of float32")
    assert "PACS" not in rows, "it is here under another spelling"
    assert rows["OfficeHome"] == "OfficeHome 15,588 4 65 not here: ndcl data download OfficeHome 1.2 GB"
    assert rows["VLCS"] == "VLCS 10,729 4 5 not here: ndcl data show VLCS"
    assert "made on first use" in rows["digits"]
    assert "damaged" in rows["broken"]


def test_verify_says_what_is_missing_or_extra(data: Path) -> None:
    entry = CATALOGUE["VLCS"]
    make_store(data / "VLCS", entry.counts, entry.classes, entry.domains, shape=(1,))
    output = ok("verify", "vlcs")
    assert "files: whole, digest " in output
    assert "as the catalogue lists it: VLCS" in output
    counts = entry.counts.copy()
    counts[1, 3] -= 2
    counts[2, 0] += 1
    make_store(data / "mine", counts, entry.classes, entry.domains, shape=(1,))
    assert "not in the catalogue" in ok("verify", "mine", "--counts-only")
    result = run("verify", "mine", "--as", "VLCS", "--counts-only")
    assert result.exit_code == 1
    assert "  LabelMe, dog: 2 missing (40 of 42)" in result.stdout
    assert "  SUN09, bird: 1 too many (21 of 20)" in result.stdout


def test_verify_finds_damage(images: Path, data: Path) -> None:
    ok("import", images, "--name", "mine", "--size", 16)
    shard = next((data / "mine").glob("inputs-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    assert "does not have the digest it was written with" in error_of("verify", "mine")
    assert "is not in the catalogue" in ok("verify", "mine", "--counts-only")


def test_verify_of_what_is_not_here_says_how_to_get_it(data: Path) -> None:
    assert "get it by: ndcl data download PACS" in error_of("verify", "PACS")
    assert "ndcl data import eccv_18_all_images_sm --list caltech" in error_of("verify", "TerraIncognita")


@pytest.fixture
def tiny_pacs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """PACS in the catalogue as 12 images in two files of the hub; the files by path."""
    served: dict[str, bytes] = {}
    files = []
    for number, domain in enumerate(DOMAINS):
        rows = [(encoded(noise(6 * number + k, 90, 90)), CLASSES[k % 3]) for k in range(6)]
        table = pa.table(
            {
                "image": [{"bytes": content, "path": f"pic_{k}.png"} for k, (content, _) in enumerate(rows)],
                "domain": [domain] * 6,
                "label": [label for _, label in rows],
            }
        )
        path = tmp_path / f"train-0000{number}-of-00002.parquet"
        pq.write_table(table, path)
        content = path.read_bytes()
        url = f"/datasets/flwrlabs/pacs/resolve/abc/data/{path.name}"
        served[url] = content
        digest = hashlib.sha256(content).hexdigest()
        files.append(OpenFile(url=f"https://huggingface.co{url}", bytes=len(content), sha256=digest))
    entry = {**vars(CATALOGUE["PACS"]), "files": tuple(files), "domains": DOMAINS, "classes": CLASSES}
    monkeypatch.setitem(CATALOGUE, "PACS", Entry(**{**entry, "counts": np.full((2, 3), 2)}))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("ndcl.data.catalogue.download.FIRST_PAUSE_SECONDS", 0.01)
    return served


def test_download_fetches_checks_and_imports(
    tiny_pacs: dict[str, bytes], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with flaky_server(tiny_pacs, Faults(cut_after=[100, 20_000])) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        output = ok("download", "pacs", "--size", 16)
        assert len(server.ranges) == 4, "two connections broke"
        assert "bytes=100-" in server.ranges
        assert "2 files with the right checksum in" in output
        assert "as the catalogue lists it: PACS" in output
        assert open_dataset("PACS").available().tolist() == [[2, 2, 2]] * 2
        assert "PACS is in" in error_of("download", "PACS")
        ok("download", "PACS", "--only-files")
        assert len(server.ranges) == 4, "the files are there"
    ok("verify", "PACS")


def test_download_of_files_alone(tiny_pacs: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with flaky_server(tiny_pacs) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        result = run("download", "PACS", "--only-files", "--to", tmp_path / "to", "--folder", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert "licence of PACS: no licence is stated" in result.stderr
    assert len(list((tmp_path / "to").glob("*.parquet"))) == 2
    assert not (tmp_path / "data" / "PACS").exists()


@pytest.mark.parametrize("name", ["VLCS", "TerraIncognita", "DomainNet"])
def test_download_without_an_open_file_says_where_to_get_it(name: str, data: Path) -> None:
    error = error_of("download", name)
    assert error.count("\n") == 1
    assert f"{name} has no open file of all its images; get it from https://" in error
    assert CATALOGUE[name].command() in error


def test_a_bar_is_shown_on_a_terminal_and_nothing_elsewhere(images: Path, data: Path) -> None:
    assert run("import", images, "--name", "plain").stderr == ""
    command = [sys.executable, "-m", "harness.cli", "data", "import", str(images), "--name", "seen", "--jobs", "1"]
    seen, terminal = pty.openpty()
    process = subprocess.Popen(command, stderr=terminal, stdout=subprocess.PIPE, env={**os.environ, "TERM": "xterm"})
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(seen, 4096):
            shown += chunk
    except OSError:  # how a terminal ends when its writer is gone
        pass
    assert process.wait() == 0
    assert b"12/12" in shown


def test_an_interrupted_import_says_that_it_begins_anew(
    images: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ndcl.data.importing.import_dataset", interrupted)
    result = run("import", images, "--name", "mine")
    assert result.exit_code == 130
    assert result.stderr == "ndcl: stopped; nothing was imported\n"


def test_sizes_read_well() -> None:
    assert [size(n) for n in (7, 1500, 2_360_000, 191_395_900, 117e9)] == [
        "7 bytes",
        "1.5 kB",
        "2.4 MB",
        "191.4 MB",
        "117.0 GB",
    ]


def test_a_data_set_is_replaced_on_demand_and_what_that_means_is_said(data: Path, images: Path) -> None:
    command = ("import", images, "--name", "made", "--size", 16, "--jobs", 1, "--quiet")
    ok(*command)
    earlier = Store(data / "made")
    assert "made exists already; use --replace to replace it" in error_of(*command)
    assert "the earlier data set made had the same content" in ok(*command, "--replace")
    (images / DOMAINS[0] / CLASSES[0] / "damaged.png").write_bytes(b"")
    error_of(*command, "--replace")
    assert Store(data / "made").digest == earlier.digest
    (images / DOMAINS[0] / CLASSES[0] / "damaged.png").write_bytes(encoded(noise(99)))
    assert "replaced: the earlier data set made; sweeps that were started on it" in ok(*command, "--replace")
    assert len(Store(data / "made")) == len(earlier) + 1
    assert [path.name for path in data.iterdir()] == ["made"]
