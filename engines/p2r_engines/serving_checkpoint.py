"""What must hold of a model directory before it is served, checked without loading a tensor.

Only the standard library is used, so that a wrong directory is refused in milliseconds.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LARGEST_HEADER = 100_000_000  # bytes; the safetensors format's own limit


class ModelDirectoryError(Exception):
    """The model directory cannot be served; the message is one sentence that names the file and the
    remedy."""


@dataclass(frozen=True)
class Checkpoint:
    """A model directory whose files are complete.

    config: the parsed config.json (model_type qwen3_vl).
    weight_files: the safetensors files that hold all tensors, sorted by name.
    """

    directory: Path
    config: dict[str, Any]
    weight_files: tuple[Path, ...]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from `path`; raises ModelDirectoryError when it is missing or is not an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelDirectoryError(f"{path} cannot be read ({error.strerror}): give a Qwen3-VL model directory.") from error
    except ValueError as error:
        raise ModelDirectoryError(f"{path} is not valid JSON: restore the file from the checkpoint.") from error
    if not isinstance(value, dict):
        raise ModelDirectoryError(f"{path} is not a JSON object: restore the file from the checkpoint.")
    return value


def check_weight_file(path: Path) -> None:
    """Compare a safetensors file's size with the one its header promises; raises ModelDirectoryError if
    they differ."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            header_size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else None
            if header_size is None or header_size > min(_LARGEST_HEADER, size - 8):
                raise ModelDirectoryError(f"{path} is truncated ({size} bytes hold no complete header): restore the file.")
            header = json.loads(file.read(header_size))
        data_size = max(
            (int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"),
            default=0,
        )
    except OSError as error:
        raise ModelDirectoryError(f"{path} cannot be read ({error.strerror}): restore the weights file.") from error
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelDirectoryError(f"{path} has a damaged safetensors header: restore the weights file.") from error
    expected = 8 + header_size + data_size
    if size != expected:
        raise ModelDirectoryError(f"{path} is truncated or damaged ({size} bytes instead of {expected}): restore the weights file.")


def open_checkpoint(directory: Path) -> Checkpoint:
    """Check that `directory` is a complete Qwen3-VL model directory; raises ModelDirectoryError otherwise."""
    if not directory.is_dir():
        raise ModelDirectoryError(f"Model directory {directory} does not exist: give --model a Qwen3-VL directory.")
    config = read_json(directory / "config.json")
    model_type = config.get("model_type")
    if model_type != "qwen3_vl":
        raise ModelDirectoryError(
            f"{directory} holds a model of type {model_type!r}, not a Qwen3-VL: "
            "give --model a directory whose config.json says model_type qwen3_vl."
        )
    index = directory / "model.safetensors.index.json"
    if index.exists():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelDirectoryError(f"{index} has no weight_map: restore the file from the checkpoint.")
        names = sorted({str(name) for name in weight_map.values()})
    else:
        names = ["model.safetensors"]
    files = tuple(directory / name for name in names)
    for file in files:
        check_weight_file(file)
    return Checkpoint(directory=directory, config=config, weight_files=files)
