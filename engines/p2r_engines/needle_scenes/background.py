"""Backgrounds of needle scenes: soft noise, or a photo with its contrast taken back so that small objects stay visible."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import cv2
import numpy as np

PHOTOS = Path(__file__).parent.parent / "photos"
GREY = 140.0


def noise_background(width: int, height: int, noise: np.random.RandomState) -> np.ndarray:
    """[height, width, 3] uint8: blobs of about 80 pixels with grain."""
    cells, quarter = (height // 80 + 1, width // 80 + 1), (height // 4, width // 4)
    blobs = noise.randint(105, 175, size=(*cells, 3)).astype(np.uint8)
    blobs = cv2.resize(blobs, quarter[::-1], interpolation=cv2.INTER_CUBIC)
    grain = noise.randint(-12, 13, size=(*quarter, 1))
    grained = np.clip(blobs.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    return cv2.resize(grained, (width, height), interpolation=cv2.INTER_LINEAR)


@functools.cache
def photos_of(split: str) -> tuple[np.ndarray, ...]:
    """The photos of a split, RGB, in the order of their names."""
    listed = json.loads((PHOTOS / "photos.json").read_text())
    files = sorted(entry["file"] for entry in listed if entry["split"] == split)
    if not files:
        raise ValueError(f"{PHOTOS / 'photos.json'} lists no photo for the split {split}")
    return tuple(_read(PHOTOS / name) for name in files)


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f"{path} is missing or is no picture")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def photo_background(width: int, height: int, split: str, noise: np.random.RandomState) -> np.ndarray:
    """[height, width, 3] uint8: a random part of one of the split's photos, mirrored half of the time, with 35 to 60 % of its contrast."""
    choices = photos_of(split)
    photo = choices[noise.randint(len(choices))]
    rows, columns = photo.shape[:2]
    share = noise.uniform(0.5, 1.0) * min(columns / width, rows / height)
    part_width, part_height = int(width * share), int(height * share)
    left, top = noise.randint(columns - part_width + 1), noise.randint(rows - part_height + 1)
    part = photo[top : top + part_height, left : left + part_width]
    if noise.randint(2):
        part = part[:, ::-1]
    part = cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=cv2.INTER_LINEAR)
    softened = GREY + (part.astype(np.float32) - part.mean()) * noise.uniform(0.35, 0.6)
    return np.clip(softened, 0, 255).astype(np.uint8)
