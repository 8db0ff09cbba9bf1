"""The photographs behind scenes: each documented, small, and in one split only."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

import p2r_engines

FOLDER = Path(p2r_engines.__file__).parent / "photos"
PHOTOS: list[dict[str, str]] = json.loads((FOLDER / "photos.json").read_text(encoding="utf-8"))
FREE = {"CC0-1.0", "CC-BY-4.0", "CC-BY-2.0", "public domain"}


def thumbnail(name: str) -> np.ndarray:
    """24x24 grey values, without mean and of length 1, so that a product of two is their correlation."""
    image = cv2.imread(str(FOLDER / name), cv2.IMREAD_GRAYSCALE)
    grey = cv2.resize(image, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    grey -= grey.mean()
    return grey / np.linalg.norm(grey)


def test_every_file_is_documented_with_a_free_licence() -> None:
    assert sorted(photo["file"] for photo in PHOTOS) == sorted(path.name for path in FOLDER.glob("*.jpg"))
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    for photo in PHOTOS:
        assert photo["licence"] in FREE
        row = f"| {photo['file']} | {photo['title']} | {photo['author']} | {photo['source']} | {photo['licence']} |"
        assert row in table
        assert max(cv2.imread(str(FOLDER / photo["file"])).shape) <= 800


def test_no_split_sees_a_photo_of_another() -> None:
    assert {photo["split"] for photo in PHOTOS} == {"pretraining", "train", "held-out", "hard"}
    for one, other in combinations(PHOTOS, 2):
        if one["split"] != other["split"]:
            assert thumbnail(one["file"]) @ thumbnail(other["file"]) < 0.9
