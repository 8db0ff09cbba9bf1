"""A phase's training set as the rows veRL's own dataset class reads: final prompts, images already at their budget."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .contract import EngineError

# Beyond every size our images have, so that qwen_vl_utils resizes none of them again.
PIXELS = {"min_pixels": 1024, "max_pixels": 16384 * 1024}


def verl_row(row: dict[str, Any], index: int) -> dict[str, Any]:
    """
    One row. The ground truth is the sample's id: the answer stays with the reward service, and veRL's dumps then name their samples.
    """
    images = [str(path) for path in row["images"]]
    return {
        "data_source": "p2r",
        "prompt": [{"role": "system", "content": row["system"]}, {"role": "user", "content": "<image>\n" * len(images) + row["user"]}],
        "images": [{"image": f"file://{path}", **PIXELS} for path in images],
        "ability": "visual-reasoning",
        "reward_model": {"style": "rule", "ground_truth": row["sample_id"]},
        "extra_info": {"split": "train", "index": index, "sample_id": row["sample_id"]},
    }


def write_verl_rows(dataset: Path, train: Path, validation: Path, gpus: int) -> int:
    """Writes both files by rename and returns the number of training rows. veRL wants validation rows even where none are used."""
    try:
        rows = pq.read_table(dataset, columns=["sample_id", "system", "user", "images"]).to_pylist()
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise EngineError("DatasetInvalid", f"{dataset} is not a readable training set: {error}.") from error
    for row in rows:
        if "<image>" in row["user"] or "<image>" in row["system"]:
            raise EngineError("DatasetInvalid", f'the prompt of {row["sample_id"]} holds "<image>", which veRL takes for a placeholder.')
    made = [verl_row(row, index) for index, row in enumerate(rows)]
    for path, part in ((train, made), (validation, made[:gpus])):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        pq.write_table(pa.Table.from_pylist(part), temporary)
        temporary.replace(path)
    return len(made)
