"""Rows of a parquet file as JSON lines, one at a time, so that gigabytes of images need little memory.

    python -m p2r_engines.parquet_rows FILE --images FOLDER [--base64 COLUMN,COLUMN]

Cells of bytes, at any depth, are written to FOLDER/<first two digits>/<sha256> and stand as {"$sha256": ...} in the JSON. Columns named
with --base64 hold text that is decoded first. Exits 2 with one sentence when the file cannot be read.
"""

import argparse
import base64
import binascii
import hashlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def _store(data: bytes, folder: Path) -> dict[str, str]:
    name = hashlib.sha256(data).hexdigest()
    path = folder / name[:2] / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{name}.{os.getpid()}")
        temporary.write_bytes(data)
        temporary.replace(path)
    return {"$sha256": name}


def plain(value: Any, folder: Path) -> Any:
    """A cell as JSON can hold it: bytes are stored, dates become text, what is not finite becomes null."""
    if isinstance(value, bytes):
        return _store(value, folder)
    if isinstance(value, dict):
        return {str(key): plain(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, folder) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def write_rows(file: Path, folder: Path, encoded: list[str], out: Any) -> None:
    """Write every row of `file` to `out`."""
    with pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) as source:
        for batch in source.iter_batches(batch_size=1):
            for row in batch.to_pylist():
                for name in encoded:
                    if isinstance(row.get(name), str):
                        row[name] = base64.b64decode(row[name], validate=True)
                out.write(json.dumps({name: plain(value, folder) for name, value in row.items()}) + "\n")


def main() -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the rows of a parquet file as JSON lines.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder for the bytes found in the rows")
    parser.add_argument("--base64", default="", help="text columns that hold encoded bytes, with commas between")
    options = parser.parse_args()
    try:
        write_rows(options.file, options.images, [name for name in options.base64.split(",") if name], sys.stdout)
    except BrokenPipeError:
        return 0
    except (OSError, pa.ArrowInvalid, binascii.Error) as error:
        print(f"it cannot be read as parquet: {error}".splitlines()[0], file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
