"""An import as a whole: what it makes, what it lists, and what it leaves when it is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ndcl.data import Store, dataset_names, open_dataset
from ndcl.data.importing import BadImagesError, Imported, ImportOptions, import_dataset, open_source
from ndcl.data.importing.duplicates import Duplicate
from ndcl.data.importing.images import Conversion, convert
from ndcl.data.importing.source import Item
from ndcl.errors import UserError
from tests.integration.processes import children, command
from tests.made.made_images import CLASSES, DOMAINS, encoded, make_folder, noise

ROOT = Path(__file__).parents[3]


def imported(source: Path, into: Path, name: str = "made", **options: Any) -> Imported:
    return import_dataset(open_source([source]), into, name, ImportOptions(**{"size": 16, "jobs": 1, **options}))


def error_of(source: Path, into: Path, name: str = "made", **options: Any) -> str:
    with pytest.raises(UserError) as error:
        imported(source, into, name, **options)
    assert "\n" not in str(error.value)
    assert not [path for path in into.glob("*") if path.is_dir()], "nothing is left"
    return str(error.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images", 2)


def test_raw_images_of_folders(folder: Path, tmp_path: Path) -> None:
    result = imported(folder, tmp_path / "data")
    store = open_dataset("made", str(tmp_path / "data"))
    assert (store.kind, store.input_shape, store.domains, store.classes) == ("raw", (16, 16, 3), DOMAINS, CLASSES)
    assert result == Imported(folder=store.folder, num_inputs=12, skipped=(), duplicates=())
    assert store.available().tolist() == [[2, 2, 2], [2, 2, 2]]
    paths = store.paths()
    assert paths is not None
    for index, path in enumerate(paths):
        expected, _ = convert(folder / path, Conversion(size=16))
        np.testing.assert_array_equal(store.inputs(np.array([index]))[0].numpy(), expected)
        domain, name, _ = path.split("/")
        assert (DOMAINS[store.domain_ids[index]], CLASSES[store.labels[index]]) == (domain, name)
    store.verify()


def test_jpegs_take_less_room_and_look_alike(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        root = tmp_path / "images" / "art" / name
        root.mkdir(parents=True)
        (root / "a.png").write_bytes(encoded(noise(number, 8, 8).resize((300, 200), Image.Resampling.BICUBIC)))
    for form in ("raw", "jpeg"):
        imported(tmp_path / "images", tmp_path / "data", form, format=form, size=128)
    raw, jpeg = (Store(tmp_path / "data" / form) for form in ("raw", "jpeg"))
    assert jpeg.kind == "encoded"
    assert len(jpeg.encoded(0)) < raw.inputs(np.array([0])).numel() / 5
    difference = jpeg.inputs(np.array([0])).float() - raw.inputs(np.array([0])).float()
    assert difference.abs().mean() < 3


def test_the_number_of_processes_changes_nothing(folder: Path, tmp_path: Path) -> None:
    digests = set()
    for jobs in (1, 2):
        imported(folder, tmp_path / "data", f"by{jobs}", jobs=jobs)
        digests.add(Store(tmp_path / "data" / f"by{jobs}").digest)
    assert len(digests) == 1


def test_progress_counts_every_image(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ndcl.data.importing.pool._MAX_CHUNK_ITEMS", 5)
    seen: list[tuple[int, int]] = []
    import_dataset(
        open_source([folder]),
        tmp_path / "data",
        "made",
        ImportOptions(jobs=1),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(5, 12), (10, 12), (12, 12)]


@pytest.mark.parametrize(("num_bytes", "most"), [(10, 1 + 6 * 4), (3_000_000, 1 + 6 * 2)])
def test_few_items_are_held_at_a_time(num_bytes: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six tasks wait at most, of four items or of four megabytes, and the one that is being filled."""
    from ndcl.data.importing import pool

    monkeypatch.setattr(pool, "_MAX_CHUNK_ITEMS", 4)
    given = 0

    def items() -> Iterator[Item]:
        nonlocal given
        for number in range(200):
            given += 1
            yield Item(bytes(num_bytes), 0, 0, str(number))

    parts = pool.converted(items(), Conversion(size=8), jobs=2)
    first = next(parts)
    assert given <= most
    paths = [item.path for part in (first, *parts) for item in part.items]
    assert paths == [str(number) for number in range(200)]


BAD = {
    "art/cat/broken.png": encoded(noise(70))[:200],
    "art/dog/empty.jpg": b"",
    "photo/cat/page.jpg": b"<html>",
    "photo/owl/float.tiff": encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
}


@pytest.fixture
def with_bad(folder: Path) -> Path:
    for path, content in BAD.items():
        (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize("jobs", [1, 2])
def test_bad_images_are_named_together_and_nothing_is_made(with_bad: Path, tmp_path: Path, jobs: int) -> None:
    with pytest.raises(
        BadImagesError,
        match=r"^4 of 16 images can't be imported: art/cat/broken.png is .* and 3 more;"
        r" .*--skip-corrupt$",
    ) as error:
        imported(with_bad, tmp_path / "data", jobs=jobs)
    assert [path for path, _ in error.value.bad] == list(BAD)
    assert dataset_names(str(tmp_path / "data")) == ("digits",)
    assert not list((tmp_path / "data").iterdir())


def test_bad_images_are_left_out_if_asked_and_the_list_is_kept(with_bad: Path, tmp_path: Path) -> None:
    result = imported(with_bad, tmp_path / "data", skip_corrupt=True)
    store = Store(result.folder)
    assert len(store) == result.num_inputs == 12
    assert store.notes["skipped"] == [{"path": path, "reason": reason} for path, reason in result.skipped]
    assert [path for path, _ in result.skipped] == list(BAD)
    assert result.skipped[1][1] == "is empty (0 bytes); fetch it again"
    assert not set(BAD) & set(store.paths() or ())


def test_nothing_but_bad_images_is_an_error_all_the_same(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        folder = tmp_path / "images" / "art" / name
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"")
    assert "2 of 2 images can't be imported" in error_of(tmp_path / "images", tmp_path / "data", skip_corrupt=True)


def test_the_same_image_elsewhere_is_found_whatever_its_file(folder: Path, tmp_path: Path) -> None:
    image = noise(500)
    (folder / "art" / "cat" / "x.png").write_bytes(encoded(image))
    (folder / "photo" / "cat" / "y.bmp").write_bytes(encoded(image, "BMP"))
    (folder / "photo" / "dog" / "z.png").write_bytes(encoded(image, compress_level=0))
    (folder / "photo" / "dog" / "00.png").write_bytes((folder / "photo" / "dog" / "0.png").read_bytes())
    result = imported(folder, tmp_path / "data")
    three, two = result.duplicates
    assert three.paths == ("art/cat/x.png", "photo/cat/y.bmp", "photo/dog/z.png")
    assert three.kinds == ("domains", "classes")
    assert (two.paths, two.kinds) == (("photo/dog/0.png", "photo/dog/00.png"), ("same domain and class",))
    noted = Store(result.folder).notes["duplicates"]
    assert noted["groups"] == 2
    assert noted["by_kind"] == {"domains": 1, "classes": 1, "same domain and class": 1}
    assert noted["listed"][0] == {"paths": list(three.paths), "differ_in": ["domains", "classes"]}
    assert len(Store(result.folder)) == 16, "they are listed, not left out"


def test_an_image_in_train_and_test_is_found(tmp_path: Path) -> None:
    for number, place in enumerate(("train/art/cat", "test/art/cat", "train/art/dog")):
        folder = tmp_path / "images" / place
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(encoded(noise(number // 2)))
    assert imported(tmp_path / "images", tmp_path / "data").duplicates == (
        Duplicate(
            paths=("test/art/cat/a.png", "train/art/cat/a.png"),
            domains=(0, 0),
            labels=(0, 0),
            splits=("test", "train"),
        ),
    )


def test_vectors_are_stored_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(130, 7)).astype(np.float16)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(130) % 3, d=np.arange(130) % 2)
    imported(tmp_path / "a.npz", tmp_path / "data", size=None)
    store = Store(tmp_path / "data" / "made")
    assert (store.kind, store.dtype, store.input_shape) == ("vectors", "float16", (7,))
    np.testing.assert_array_equal(store.inputs(np.arange(130)).numpy(), x.astype(np.float32))
    assert store.labels.tolist() == [n % 3 for n in range(130)]


@pytest.mark.parametrize(("size", "shape"), [(None, (6, 4, 3)), (8, (8, 8, 3))])
def test_arrays_of_images_keep_their_size(tmp_path: Path, size: int | None, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=[0, 1, 0, 1, 0], d=[0, 0, 1, 1, 1])
    imported(tmp_path / "a.npz", tmp_path / "data", size=size)
    store = Store(tmp_path / "data" / "made")
    assert store.input_shape == shape
    if size is None:
        np.testing.assert_array_equal(store.inputs(np.arange(5)).numpy(), x)


def test_parquet_and_folders_give_the_same_images(folder: Path, tmp_path: Path) -> None:
    files = sorted(path for path in folder.rglob("*.png"))
    table = pa.table(
        {
            "image": [{"bytes": file.read_bytes(), "path": file.name} for file in files],
            "label": [file.parent.name for file in files],
            "domain": [file.parent.parent.name for file in files],
        }
    )
    pq.write_table(table, tmp_path / "all.parquet")
    for source, name in ((folder, "a"), (tmp_path / "all.parquet", "b")):
        imported(source, tmp_path / "data", name, jobs=2)
    assert Store(tmp_path / "data" / "a").digest == Store(tmp_path / "data" / "b").digest


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "digits", "a b", "../x"])
def test_names_that_cannot_be_used(folder: Path, tmp_path: Path, name: str) -> None:
    assert error_of(folder, tmp_path / "data", name).startswith("name: ")


def test_a_name_that_is_taken(folder: Path, tmp_path: Path) -> None:
    imported(folder, tmp_path / "data")
    with pytest.raises(UserError, match="exists already; use --replace to replace it, or choose another --name"):
        imported(folder, tmp_path / "data")


@pytest.mark.parametrize("options", [{"size": 7}, {"size": 5000}, {"jobs": 0}])
def test_options_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match="is out of range"):
        ImportOptions(**options)


def test_options_that_vectors_have_no_use_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3)), y=[0, 1], d=[0, 1])
    assert "size: feature vectors are stored as they are" in error_of(tmp_path / "a.npz", tmp_path / "data")
    assert "format: feature" in error_of(tmp_path / "a.npz", tmp_path / "data", size=None, format="jpeg")


def test_a_disk_that_is_too_small_is_seen_at_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    error = error_of(folder, tmp_path / "data")
    assert "needs 0.0 GB and 0.0 GB are free; give another --folder, a smaller --size, or --format jpeg" in error


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """Enough images that an import does not end while the test looks for its workers."""
    root = tmp_path / "endless" / "art" / "cat"
    root.mkdir(parents=True)
    content = encoded(noise(0, 1500, 1500), compress_level=1)
    (root / "0.png").write_bytes(content)
    for number in range(1, 400):
        (root / f"{number}.png").hardlink_to(root / "0.png")
    (root.parent / "dog").mkdir()
    (root.parent / "dog" / "0.png").hardlink_to(root / "0.png")
    return root.parent.parent


SCRIPT = """
import sys
from pathlib import Path
from ndcl.data.importing import ImportOptions, import_dataset, open_source
if __name__ == "__main__":
    import_dataset(open_source([Path(sys.argv[1])]), Path(sys.argv[2]), "made", ImportOptions(jobs=2),
                   progress=lambda done, total: print(done, flush=True))
"""


@contextmanager
def started(source: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """An import in its own session, which is ended whatever happens."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(source), str(tmp_path / "data")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip().isdigit(), "it has begun to write"
            yield process
        finally:
            process.kill()


def descendants(session: int) -> set[int]:
    """Processes of a session, as the system lists them."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def test_a_killed_import_leaves_no_data_set_and_no_processes(endless: Path, tmp_path: Path) -> None:
    with started(endless, tmp_path) as process:
        assert len(descendants(process.pid) - {process.pid}) >= 2, "there are workers"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert _within(20, lambda: not descendants(process.pid))
    left = [path.name for path in (tmp_path / "data").iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".partial-made-")
    assert dataset_names(str(tmp_path / "data")) == ("digits",)
    imported(make_folder(tmp_path / "small", 1), tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["made"], "the next import clears it away"


def test_an_interrupted_import_clears_up_after_itself(endless: Path, tmp_path: Path) -> None:
    with started(endless, tmp_path) as process:
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C reaches the workers too
        process.communicate(timeout=60)
        assert process.returncode != 0
        assert _within(20, lambda: not descendants(process.pid))
    assert not list((tmp_path / "data").iterdir())


def test_a_worker_that_the_system_kills_is_one_line(endless: Path, tmp_path: Path) -> None:
    source = open_source([endless])

    def kill_a_worker(done: int, total: int) -> None:
        servers = [pid for pid in children(os.getpid()) if "forkserver" in command(pid)]
        for worker in {worker for server in servers for worker in children(server)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    with pytest.raises(
        UserError, match=r"the system killed a process that converted images.*use fewer processes with --jobs"
    ):
        import_dataset(source, tmp_path / "data", "made", ImportOptions(jobs=2), progress=kill_a_worker)
    assert not list((tmp_path / "data").iterdir())


def _within(seconds: float, condition: Any) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())


PACS_SAMPLE = Path(os.environ.get("NDCL_PACS_SAMPLE") or ROOT.parent / "shared" / "datasets" / "pacs_sample")


@pytest.mark.skipif(not PACS_SAMPLE.is_dir(), reason="needs original PACS files; NDCL_PACS_SAMPLE names their folder")
def test_original_pacs_files(tmp_path: Path) -> None:
    result = imported(PACS_SAMPLE, tmp_path, "PACS", size=64, jobs=2)
    store = Store(result.folder)
    assert (result.num_inputs, result.skipped, result.duplicates) == (168, (), ())
    assert store.available().tolist() == [[6] * 7] * 4
