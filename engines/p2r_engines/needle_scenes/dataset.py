"""Datasets of needle scenes on disk."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import cv2

from p2r_engines.needle_scenes.question import KINDS, ask
from p2r_engines.needle_scenes.scene import draw_scene
from p2r_engines.needle_scenes.splits import scene_seed


def write_dataset(out: Path, split: str, count: int, seed: int, questions: int, kinds: list[str] = KINDS) -> None:
    """Writes `count` scenes as out/images/*.jpg and out/rows.jsonl; the directory appears whole or not at all."""
    if out.exists():
        raise FileExistsError(f"{out} exists already")
    staging = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "images").mkdir(parents=True)
    try:
        rows = []
        for index in range(count):
            number = scene_seed(split, seed, index)
            image, needles, rng = draw_scene(number)
            name = f"images/{index:06d}.jpg"
            quality = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
            ok, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
            if not ok:
                raise RuntimeError(f"scene {number} could not be encoded as JPEG")
            with (staging / name).open("wb") as file:
                file.write(encoded.tobytes())
                file.flush()
                os.fsync(file.fileno())
            for turn in range(questions):
                question = ask(kinds[(index + turn) % len(kinds)], needles, rng)
                rows.append(
                    {
                        "sample_id": f"needle-{split}-{seed}-{index}-{turn}",
                        "image": name,
                        "width": image.shape[1],
                        "height": image.shape[0],
                        "question": question.text,
                        "options": question.options,
                        "answer": question.answer,
                        "kind": question.kind,
                        "boxes": [target.box for target in question.targets],
                        "labels": [target.name for target in question.targets],
                        "split": split,
                        "source": "needle",
                        "seed": number,
                    }
                )
            if (index + 1) % 50 == 0 or index + 1 == count:
                print(f"scenes {index + 1}/{count}", file=sys.stderr, flush=True)
        with (staging / "rows.jsonl").open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        try:
            staging.rename(out)
        except OSError:
            if not (out / "rows.jsonl").exists():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
