"""A training run in one file, so that being killed loses nothing that was saved.

The file is in safetensors' format: weights under "model.", the optimizer's state under
"optimizer.", random states under "random.", the rest as JSON in the header. It is written beside
its final place, flushed to the disk, and renamed: at any moment the name means a whole file.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FORMAT = "roofline training run 2"


@dataclass
class Saved:
    """What a file holds: tensors by name, and the rest."""

    tensors: dict[str, torch.Tensor]
    record: dict[str, Any]

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors whose names start with "``name``.", under the rest of the name."""
        start = f"{name}."
        return {
            key.removeprefix(start): value
            for key, value in self.tensors.items()
            if key.startswith(start)
        }


def write(path: Path, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> None:
    """Write a file that is either all there or, if anything stops it, the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # Parameters are views of one flat buffer; the format wants each tensor to be its own.
    own = {name: value.detach().cpu().clone() for name, value in tensors.items()}
    text = json.dumps(record)
    try:
        save_file(own, beside, {"format": FORMAT, "record": text, "checksum": checksum(own, text)})
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except SafetensorError as error:
        raise OSError(
            f"{path} can't be written ({error}): make room on the disk, or save to another path"
        ) from None
    finally:
        beside.unlink(missing_ok=True)
    if os.name == "posix":  # the new name itself must reach the disk too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(path: Path) -> Saved:
    """What :func:`write` wrote.

    Raises:
        ValueError: the file is something else, or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            if metadata["checksum"] != checksum(tensors, metadata["record"]):
                raise ValueError("its bytes are not those that were saved")
            return Saved(tensors, json.loads(metadata["record"]))
    except (SafetensorError, ValueError, LookupError) as error:
        raise ValueError(
            f"{path} is not a saved training run ({error}): delete it, or save to another path"
        ) from None


def checksum(tensors: Mapping[str, torch.Tensor], record: str) -> str:
    """A number that nearly any damage to the file changes: safetensors' format has none."""
    total = zlib.crc32(record.encode())
    for name, value in sorted(tensors.items()):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def sweep(path: Path) -> None:
    """Delete what killed runs left half written beside ``path``."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def flatten(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """An optimizer's state as tensors by name, and everything else."""
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, entry in state["state"].items():
        numbers[str(index)] = {}
        for slot, value in entry.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{slot}"] = value
            else:
                numbers[str(index)][slot] = value
    return tensors, {"state": numbers, "param_groups": state["param_groups"]}


def unflatten(tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The state that :func:`flatten` took apart."""
    state: dict[int, dict[str, Any]] = {int(i): dict(e) for i, e in rest["state"].items()}
    for name, value in tensors.items():
        index, slot = name.split(".", 1)
        state[int(index)][slot] = value
    groups = [
        {key: tuple(v) if key == "betas" else v for key, v in group.items()}
        for group in rest["param_groups"]
    ]
    return {"state": state, "param_groups": groups}
