"""Downloads from a real server that drops connections, stalls, refuses and lies."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ndcl.data.catalogue import OpenFile
from ndcl.data.catalogue import download as module
from ndcl.data.catalogue.download import download, download_all
from ndcl.errors import UserError
from tests.servers.flaky_server import Served, flaky_server

CONTENT = bytes(range(256)) * 4000
"""About a megabyte."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 4096)
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "HF_ENDPOINT":
            monkeypatch.delenv(name)
    with flaky_server({"/data/a.parquet": CONTENT, "/data/b.parquet": CONTENT[::-1]}) as served:
        yield served


def listed(server: Served, path: str = "/data/a.parquet", **changes: Any) -> OpenFile:
    content = server.files[path]
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return OpenFile(url=server.url + path, **{**facts, **changes})


def error_of(file: OpenFile, path: Path) -> str:
    with pytest.raises(UserError) as error:
        download(file, path)
    assert "\n" not in str(error.value)
    assert not path.exists()
    return str(error.value)


def test_a_file_is_fetched_whole(server: Served, tmp_path: Path) -> None:
    seen: list[int] = []
    path = download(listed(server), tmp_path / "deep" / "a.parquet", seen.append)
    assert path.read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, len(CONTENT))
    assert [p.name for p in path.parent.iterdir() if not p.name.startswith(".")] == ["a.parquet"]


def test_a_dropped_connection_is_resumed_where_it_broke(server: Served, tmp_path: Path) -> None:
    server.faults.cut_after = [300_000, 100_000, 0, 50_000]
    assert download(listed(server), tmp_path / "a").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=400000-", "bytes=400000-", "bytes=450000-"]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(server: Served, tmp_path: Path) -> None:
    server.faults.cut_after = [300_000] + [0] * module.MAX_FRUITLESS_ATTEMPTS
    error = error_of(listed(server), tmp_path / "a")
    assert "the connection ends early; 0 of 1 MB are kept, and the same command resumes from there" in error
    server.ranges.clear()
    assert download(listed(server), tmp_path / "a").read_bytes() == CONTENT
    assert server.ranges == ["bytes=300000-"]


def test_a_killed_download_goes_on(server: Served, tmp_path: Path) -> None:
    server.faults.stall_once = threading.Event()
    file = listed(server)
    code = (
        "import sys; from pathlib import Path; from ndcl.data.catalogue import OpenFile\n"
        "from ndcl.data.catalogue import download as d; d._BLOCK_BYTES = 4096\n"
        f"d.download(OpenFile(url={file.url!r}, bytes={file.bytes}, sha256={file.sha256!r}), Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")])
    part = tmp_path / "a.part"
    try:
        for _ in range(3000):
            if part.exists() and part.stat().st_size:
                break
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    kept = part.stat().st_size
    assert 0 < kept < len(CONTENT)
    assert not (tmp_path / "a").exists()
    assert download(file, tmp_path / "a").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={kept}-"]


def test_a_server_that_knows_no_ranges_is_asked_for_all_again(server: Served, tmp_path: Path) -> None:
    server.faults.ignore_ranges = True
    server.faults.cut_after = [300_000]
    assert download(listed(server), tmp_path / "a").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_a_part_that_was_not_asked_for_is_not_taken(server: Served, tmp_path: Path) -> None:
    server.faults.cut_after, server.faults.shift_ranges = [300_000], True
    assert "the server sends another part than was asked for" in error_of(listed(server), tmp_path / "a")


def test_a_stalled_connection_is_opened_again(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.3)
    event = server.faults.stall_once = threading.Event()
    assert download(listed(server), tmp_path / "a").read_bytes() == CONTENT
    event.set()
    assert len(server.ranges) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Served, tmp_path: Path, status: int) -> None:
    server.faults.statuses = [status] * (module.MAX_FRUITLESS_ATTEMPTS - 1)
    assert download(listed(server), tmp_path / "a").read_bytes() == CONTENT
    server.faults.statuses = [status] * module.MAX_FRUITLESS_ATTEMPTS
    assert f"the server answers {status}" in error_of(listed(server), tmp_path / "b")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_not_repeated(server: Served, tmp_path: Path, status: int) -> None:
    server.faults.statuses = [status]
    assert f"the server refuses it ({status} " in error_of(listed(server), tmp_path / "a")
    assert len(server.ranges) == 1


def test_no_server_is_one_line(server: Served, tmp_path: Path) -> None:
    nobody = OpenFile(url="http://127.0.0.1:9/x", bytes=5, sha256="")
    assert "the connection fails" in error_of(nobody, tmp_path / "a")


def test_damage_on_the_way_is_mended_by_a_second_fetch(server: Served, tmp_path: Path) -> None:
    server.faults.damage_once = True
    assert download(listed(server), tmp_path / "a").read_bytes() == CONTENT
    assert server.ranges == [None, None]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": "0" * 64}, "its checksum is not the listed one, twice"),
        ({"bytes": len(CONTENT) + 1}, "it is shorter than listed"),
        ({"bytes": len(CONTENT) - 5000}, "it is longer than listed"),
    ],
)
def test_a_file_that_has_changed_is_never_taken(
    server: Served, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in error_of(listed(server, **changes), tmp_path / "a")
    assert not (tmp_path / "a.part").exists() or not (tmp_path / "a.part").stat().st_size


def test_a_leftover_that_is_too_long_is_begun_anew(server: Served, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT * 2)
    assert download(listed(server), tmp_path / "a").read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_fetched_again_unless_damaged(server: Served, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    download(listed(server), path)
    assert server.ranges == []
    path.write_bytes(CONTENT[:-1] + b"x")
    download(listed(server), path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None]


def test_two_at_once_fetch_once(server: Served, tmp_path: Path) -> None:
    threads = [threading.Thread(target=download, args=(listed(server), tmp_path / "a")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.ranges == [None]


def test_several_files_and_their_common_progress(server: Served, tmp_path: Path) -> None:
    files = [listed(server), listed(server, "/data/b.parquet")]
    seen: list[tuple[int, int]] = []
    paths = download_all(files, tmp_path, lambda done, total: seen.append((done, total)))
    assert [path.name for path in paths] == ["a.parquet", "b.parquet"]
    assert paths[1].read_bytes() == CONTENT[::-1]
    assert seen[-1] == (2 * len(CONTENT), 2 * len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_mirror_of_the_hub(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    file = OpenFile(**{**vars(listed(server)), "url": "https://huggingface.co/data/a.parquet"})
    assert download(file, tmp_path / "a").read_bytes() == CONTENT


def test_a_full_disk_is_one_line(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_copy", full)
    assert "can't be written (No space left on device); make room" in error_of(listed(server), tmp_path / "a")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(UserError, match="GB are free; give another folder with --to"):
        download_all([listed(server)], tmp_path)


def test_a_folder_that_cannot_be_made_is_one_line(server: Served, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't be written \("):
        download_all([listed(server)], tmp_path / "file" / "below")
