"""The files that hold an exported network, by format: how each is written, and how it is read to be used.

Whatever the format, it takes a batch of any size: uint8 images [n, H, W, 3] or float32 vectors [n, F], and gives logits
[n, K]. Nothing that is read is executed as Python.
"""

import contextlib
import hashlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ndcl.data.optional import optional_import
from ndcl.errors import UserError
from ndcl.serving.classifier import Classifier
from ndcl.serving.description import Description, Format

Logits = Callable[[Tensor], Tensor]
INPUT, OUTPUT = "inputs", "logits"
"""Names in an ONNX file."""
_EXAMPLE_ROWS = 2
"""A batch of one would be taken for a constant."""


def _write_safetensors(classifier: Classifier, example: Tensor, path: Path) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in classifier.state().items()}, path)


def _write_onnx(classifier: Classifier, example: Tensor, path: Path) -> None:
    optional_import("onnx")
    optional_import("onnxscript")
    batch = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # it tells each of its steps
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            classifier,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=batch,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(path))


def _write_program(classifier: Classifier, example: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about weights that are channels last in memory
        torch.export.save(exported_program(classifier, example), path)


def exported_program(classifier: Classifier, example: Tensor) -> torch.export.ExportedProgram:
    """The graph of `classifier` for batches of any size, traced on `example` of at least two rows."""
    return torch.export.export(classifier, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)


def _read_safetensors(path: Path, description: Description) -> Logits:
    num_classes = len(description.classes)
    return Classifier(
        description.model, description.inputs, num_classes, load_file(path), description.standardized
    ).requires_grad_(False)


def _read_onnx(path: Path, description: Description) -> Logits:
    runtime = optional_import("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run([OUTPUT], {INPUT: inputs.numpy()})[0])


def _read_program(path: Path, description: Description) -> Logits:
    program: Logits = torch.export.load(path).module()
    return program


_WRITERS: dict[Format, Callable[[Classifier, Tensor, Path], None]] = {
    "safetensors": _write_safetensors,
    "onnx": _write_onnx,
    "torch-export": _write_program,
}
_READERS: dict[Format, Callable[[Path, Description], Logits]] = {
    "safetensors": _read_safetensors,
    "onnx": _read_onnx,
    "torch-export": _read_program,
}


def write_weights(classifier: Classifier, example: Tensor, form: Format, path: Path) -> str:
    """Write the file of a format, and return its SHA-256. Raises UserError if a package that it needs is missing.

    `example` are inputs of at least two rows, which the graph formats are traced on.
    """
    _WRITERS[form](classifier, example, path)
    return digest_of(path)


def read_weights(path: Path, description: Description) -> Logits:
    """What the file of an exported model computes. Raises UserError if it is missing, damaged, or cannot be used."""
    if not path.is_file():
        raise UserError(f"{path.parent} is not whole: {path.name} is missing; export the model again")
    if digest_of(path) != description.sha256:
        raise UserError(f"{path} is damaged: it is not the file that its description names; export the model again")
    return _READERS[description.format](path, description)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
