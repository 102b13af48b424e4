"""The files that hold an exported network, by format: how each is written, and how it is read to be used.

Whatever the format, it takes a batch of any size: uint8 images [n, H, W, 3] or float32 vectors [n, F], and gives logits
[n, K], and for an ensemble also the disagreement [n] of its members. Nothing that is read is executed as Python.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ndcl.checkpoint_files import digest_of
from ndcl.data.optional import optional_import
from ndcl.errors import UserError
from ndcl.evaluation.ensembles import Combination
from ndcl.serving.classifier import Classifier
from ndcl.serving.description import Description, Format
from ndcl.serving.ensemble import Ensemble, member_states

Servable = Classifier | Ensemble
Answers = Callable[[Tensor], Tensor | tuple[Tensor, Tensor]]
"""Inputs to logits, and of an ensemble to its disagreement, too."""
INPUT, OUTPUT, DISAGREEMENT = "inputs", "logits", "disagreement"
"""Names in an ONNX file."""
_EXAMPLE_ROWS = 2
"""A batch of one would be taken for a constant."""


def _write_safetensors(classifier: Servable, example: Tensor, path: Path) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in classifier.state().items()}, path)


def _write_onnx(classifier: Servable, example: Tensor, path: Path) -> None:
    optional_import("onnx")
    optional_import("onnxscript")
    batch = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # it tells each of its steps
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            classifier,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT, DISAGREEMENT] if isinstance(classifier, Ensemble) else [OUTPUT],
            dynamic_shapes=batch,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(path))


def _write_program(classifier: Servable, example: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about weights that are channels last in memory
        torch.export.save(exported_program(classifier, example), path)


def exported_program(classifier: Servable, example: Tensor) -> torch.export.ExportedProgram:
    """The graph of `classifier` for batches of any size, traced on `example` of at least two rows."""
    return torch.export.export(classifier, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)


def _read_safetensors(path: Path, description: Description) -> Answers:
    members, state = description.members, load_file(path)
    configs = members.models if members else (description.model,)
    states = member_states(state, len(configs)) if members else [state]
    num_classes, standardized = len(description.classes), description.standardized
    networks = [
        Classifier(config, description.inputs, num_classes, own, standardized, transform).requires_grad_(False)
        for config, own, transform in zip(configs, states, description.transforms, strict=True)
    ]
    return Ensemble(networks, Combination(of=members.of, scales=members.scales)) if members else networks[0]


def _read_onnx(path: Path, description: Description) -> Answers:
    runtime = optional_import("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [OUTPUT] if description.members is None else [OUTPUT, DISAGREEMENT]

    def answers(inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        found = tuple(map(torch.from_numpy, session.run(names, {INPUT: inputs.numpy()})))
        return found[0] if len(found) == 1 else (found[0], found[1])

    return answers


def _read_program(path: Path, description: Description) -> Answers:
    program: Answers = torch.export.load(path).module()
    return program


_WRITERS: dict[Format, Callable[[Servable, Tensor, Path], None]] = {
    "safetensors": _write_safetensors,
    "onnx": _write_onnx,
    "torch-export": _write_program,
}
_READERS: dict[Format, Callable[[Path, Description], Answers]] = {
    "safetensors": _read_safetensors,
    "onnx": _read_onnx,
    "torch-export": _read_program,
}


def write_weights(classifier: Servable, example: Tensor, form: Format, path: Path) -> str:
    """Write the file of a format, and return its SHA-256. Raises UserError if a package that it needs is missing.

    `example` are inputs of at least two rows, which the graph formats are traced on.
    """
    _WRITERS[form](classifier, example, path)
    return digest_of(path)


def read_weights(path: Path, description: Description) -> Answers:
    """What the file of an exported model computes. Raises UserError if it is missing, damaged, or cannot be used."""
    if not path.is_file():
        raise UserError(f"{path.parent} is not whole: {path.name} is missing; export the model again")
    if digest_of(path) != description.sha256:
        raise UserError(f"{path} is damaged: it is not the file that its description names; export the model again")
    return _READERS[description.format](path, description)
