"""A data set on disk: one Arrow IPC file, memory-mapped, so that all trials of a machine share its pages.

Legend: n images, H x W pixels, F features. Columns: `input` (raw uint8 pixels, channels last, or float32 features),
`label`, `domain` and, if known, `path`. The schema metadata describe the whole (see `Header`).
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ndcl.errors import UserError

if TYPE_CHECKING:
    import torch

FILE_NAME = "data.arrow"
PARTIAL_PREFIX = ".partial-"
_FORMAT = 1
_METADATA_KEY = b"ndcl"

Kind = Literal["images", "vectors"]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the schema metadata say of a store."""

    name: str
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    kind: Kind
    shape: tuple[int, ...]
    """Of one input: (H, W, 3) for images, (F,) for vectors."""
    digest: str
    """SHA-256 of the content, see `content_digest`."""
    format: int = _FORMAT


class Store:
    """A data set opened for reading. Nothing is copied to memory but labels and domains."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError if `folder` holds no whole data set."""
        table = _mapped_table(folder)
        header = _read_header(table.schema, folder)
        self.folder = folder
        self.name = header.name
        self.classes = header.classes
        self.domains = header.domains
        self.kind = header.kind
        self.input_shape = header.shape
        self.digest = header.digest
        self.labels: NDArray[np.int64] = table["label"].to_numpy().astype(np.int64)
        self.domain_ids: NDArray[np.int64] = table["domain"].to_numpy().astype(np.int64)
        self._inputs = _input_view(table, header)

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[type["Store"], tuple[Path]]:
        """Pickled by its folder: another process maps the same file."""
        return Store, (self.folder,)

    def inputs(self, indices: NDArray[np.int64]) -> "torch.Tensor":
        """The inputs at `indices` [m]: uint8 [m, H, W, 3] for images, float32 [m, F] for vectors."""
        import torch  # slow to import, and not needed to plan or to count

        return torch.from_numpy(self._inputs[indices])

    def available(self) -> NDArray[np.int64]:
        """Number of images of each domain and class, [D, K]."""
        num_domains, num_classes = len(self.domains), len(self.classes)
        cells = np.bincount(self.domain_ids * num_classes + self.labels, minlength=num_domains * num_classes)
        return cells.reshape(num_domains, num_classes)


def write_store(
    folder: Path,
    *,
    name: str,
    classes: Sequence[str],
    domains: Sequence[str],
    inputs: NDArray[np.uint8] | NDArray[np.float32],
    labels: NDArray[np.int64],
    domain_ids: NDArray[np.int64],
    paths: Sequence[str] | None = None,
) -> None:
    """Write `inputs` (uint8 [n, H, W, 3] or float32 [n, F]) as a store that appears whole or not at all.

    A killed writer leaves a folder whose name starts with `.partial-`, which nothing takes for a data set. Raises
    UserError if `folder` exists.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; delete it first, or choose another name")
    digest = content_digest(inputs, labels, domain_ids, classes, domains)
    kind: Kind = "images" if inputs.dtype == np.uint8 else "vectors"
    header = Header(
        name=name,
        classes=tuple(classes),
        domains=tuple(domains),
        kind=kind,
        shape=inputs.shape[1:],
        digest=digest,
    )
    batch = _record_batch(header, inputs, labels, domain_ids, paths)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{PARTIAL_PREFIX}{folder.name}-", dir=folder.parent))
    try:
        _write_file(partial / FILE_NAME, batch)
        partial.chmod(0o755)  # mkdtemp makes it private, but data sets are shared
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def content_digest(
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    domain_ids: NDArray[np.int64],
    classes: Sequence[str],
    domains: Sequence[str],
) -> str:
    """SHA-256 over names, labels, domains and inputs; equal content gives an equal digest, whatever the file's form."""
    digest = hashlib.sha256(json.dumps([list(classes), list(domains), list(inputs.shape[1:])]).encode())
    for array in (labels.astype("<i8"), domain_ids.astype("<i8"), inputs):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def is_store(folder: Path) -> bool:
    """Whether `folder` holds a data set (a whole one: it is never visible before it is complete)."""
    return (folder / FILE_NAME).is_file()


def _record_batch(
    header: Header,
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    domain_ids: NDArray[np.int64],
    paths: Sequence[str] | None,
) -> pa.RecordBatch:
    columns = {
        "input": _input_column(np.ascontiguousarray(inputs)),
        "label": pa.array(labels, pa.int32()),
        "domain": pa.array(domain_ids, pa.int32()),
    }
    if paths is not None:
        columns["path"] = pa.array(paths, pa.string())
    batch = pa.RecordBatch.from_pydict(columns)
    return batch.replace_schema_metadata({_METADATA_KEY: json.dumps(asdict(header)).encode()})


def _input_column(inputs: NDArray[Any]) -> pa.Array:
    """Fixed-size items over the array's own memory: uint8 images as binary, float32 vectors as lists."""
    size = int(np.prod(inputs.shape[1:]))
    if inputs.dtype == np.uint8:
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), len(inputs), [None, pa.py_buffer(inputs)])
    assert inputs.dtype == np.float32, inputs.dtype
    return pa.FixedSizeListArray.from_arrays(pa.array(inputs.reshape(-1)), size)


def _write_file(path: Path, batch: pa.RecordBatch) -> None:
    with path.open("wb") as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())


def _mapped_table(folder: Path) -> pa.Table:
    path = folder / FILE_NAME
    if not path.is_file():
        raise UserError(f"{folder} holds no data set ({FILE_NAME} is missing); import one, or give another folder")
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(folder, str(error).splitlines()[0]) from None


def _read_header(schema: pa.Schema, folder: Path) -> Header:
    values: dict[str, Any] = json.loads((schema.metadata or {}).get(_METADATA_KEY, b"{}"))
    if values.get("format") != _FORMAT:
        raise _damaged(folder, f"its format is {values.get('format')}, this version reads {_FORMAT}")
    for key in ("classes", "domains", "shape"):
        values[key] = tuple(values[key])
    return Header(**values)


def _damaged(folder: Path, reason: str) -> UserError:
    return UserError(f"the data set in {folder} cannot be read ({reason}); delete that folder and make it again")


def _input_view(table: pa.Table, header: Header) -> NDArray[Any]:
    """The inputs as a read-only array [n, *shape] over the memory-map."""
    column = table["input"].chunk(0)  # `write_store` makes a single one
    is_image = header.kind == "images"
    buffer = (column if is_image else column.flatten()).buffers()[1]
    count = len(table) * int(np.prod(header.shape))
    return np.frombuffer(buffer, np.uint8 if is_image else np.float32, count).reshape(-1, *header.shape)
