"""A module as a file that runs without samcache: a torch.export program, or ONNX."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from samcache.cache.errors import ConfigError

Arguments = tuple[Any, ...]  # of the module: tensors, and dictionaries of tensors
Program = Callable[..., Tensor]

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}
OUTPUT = "probabilities"

_LARGEST_ONNX = 2**31 - 2**20  # bytes of weights; a protobuf file ends at 2 GiB


@dataclass(frozen=True)
class Exportable:
    """A module, and how it is traced.

    example: arguments to trace with. dynamic: torch.export's ``dynamic_shapes`` of them. names: of
    the tensors among the arguments, in order.
    """

    module: nn.Module
    example: Arguments
    dynamic: Any
    names: Sequence[str]


def write_program(exportable: Exportable, path: Path, style: str) -> Program:
    """Write a module in a style, a key of SUFFIXES, and open the file again.

    The result takes the module's arguments. Raises ConfigError where ONNX needs packages, or the
    weights do not fit into one ONNX file.
    """
    if style == "onnx":
        _refuse_onnx(exportable.module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, which is checked by its outcome
        traced = torch.export.export(
            exportable.module, exportable.example, dynamic_shapes=exportable.dynamic
        )
    return (_write_onnx if style == "onnx" else _write_torch)(traced, path, exportable.names)


def _refuse_onnx(module: nn.Module) -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError:
        raise ConfigError(
            "ONNX needs the packages onnx, onnxruntime and onnxscript: "
            "pip install 'samcache[onnx]'",
            hint="format",
        ) from None
    weights = [*module.parameters(), *module.buffers()]
    size = sum(values.numel() * values.element_size() for values in weights)
    if size > _LARGEST_ONNX:
        raise ConfigError(
            f"an ONNX file holds 2 GiB, the program has {size / 2**30:.1f} GiB of weights: use "
            "the format torch",
            hint="format",
        )


def _write_torch(traced: ExportedProgram, path: Path, _names: Sequence[str]) -> Program:
    """Through memory, since torch's own writer ends a full disk with lines of its C++."""
    content = BytesIO()
    with warnings.catch_warnings():
        # That tensors share memory: those of the encoder do, and are written whole.
        warnings.simplefilter("ignore")
        torch.export.save(traced, content)
        path.write_bytes(content.getbuffer())
        read: Program = torch.export.load(path).module()
    return read


def _write_onnx(traced: ExportedProgram, path: Path, names: Sequence[str]) -> Program:
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            traced,
            (),
            path,
            dynamo=True,
            input_names=list(names),
            output_names=[OUTPUT],
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run_session(*arguments: Any) -> Tensor:
        tensors = torch.utils._pytree.tree_leaves(arguments)
        values = {name: given.numpy() for name, given in zip(names, tensors, strict=True)}
        (found,) = session.run([OUTPUT], values)
        return torch.from_numpy(np.asarray(found))

    return run_session
