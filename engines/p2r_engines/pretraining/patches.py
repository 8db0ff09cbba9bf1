"""Images as the vision tower takes them: resized into a pixel budget and cut into 16x16 patches, four patches to a merged token.

Patches stand in the order of the merged tokens (rows of 2x2 blocks), as transformers' processor leaves them.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

PATCH = 16
MERGED = 32  # side of a merged token in pixels
WHOLE_PIXELS = 102_400
CROP_PIXELS = 16_384
CROP_SIDE = 128
LEAST_PIXELS = 4096
WHOLE_PATCHES = WHOLE_PIXELS // PATCH**2
CROP_PATCHES = CROP_PIXELS // PATCH**2
CROP_PADDING = 0.02  # of the image's side, on each side of a box
LEAST_CROP = 8  # pixels of the original, below which a crop is left out


def fitted(height: int, width: int, budget: int) -> tuple[int, int]:
    """Height and width that Qwen3-VL's `smart_resize` gives within `budget` pixels."""
    rows, columns = max(MERGED, round(height / MERGED) * MERGED), max(MERGED, round(width / MERGED) * MERGED)
    if rows * columns > budget:
        shrink = math.sqrt(height * width / budget)
        rows = max(MERGED, math.floor(height / shrink / MERGED) * MERGED)
        columns = max(MERGED, math.floor(width / shrink / MERGED) * MERGED)
    elif rows * columns < LEAST_PIXELS:
        grow = math.sqrt(LEAST_PIXELS / (height * width))
        rows, columns = math.ceil(height * grow / MERGED) * MERGED, math.ceil(width * grow / MERGED) * MERGED
    return rows, columns


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel-area averages down, cubic up."""
    kernel = cv2.INTER_AREA if image.shape[1] > width else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=kernel)


def to_patches(image: np.ndarray, places: int) -> tuple[np.ndarray, tuple[int, int]]:
    """[height, width, 3] uint8 -> [places, 3 * 16 * 16] uint8, zeros behind the last patch, and the grid (rows, columns) of patches."""
    rows, columns = image.shape[0] // PATCH, image.shape[1] // PATCH
    blocks = image.reshape(rows // 2, 2, PATCH, columns // 2, 2, PATCH, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    out = np.zeros((places, 3 * PATCH * PATCH), np.uint8)
    out[: rows * columns] = blocks.reshape(rows * columns, -1)
    return out, (rows, columns)


def whole(image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The whole image within its budget: [400, 768] patches and their grid."""
    height, width = fitted(image.shape[0], image.shape[1], WHOLE_PIXELS)
    return to_patches(resized(image, height, width), WHOLE_PATCHES)


def crop(image: np.ndarray, box: list[float]) -> tuple[np.ndarray, tuple[int, int]] | None:
    """The region of a box with its padding: [64, 768] patches and their grid, or None where nothing usable is left."""
    height, width = image.shape[:2]
    left, top = max(0, int(box[0]) - int(CROP_PADDING * width)), max(0, int(box[1]) - int(CROP_PADDING * height))
    right, bottom = min(width, int(box[2]) + int(CROP_PADDING * width)), min(height, int(box[3]) + int(CROP_PADDING * height))
    if right - left < LEAST_CROP or bottom - top < LEAST_CROP:
        return None
    rows, columns = fitted(bottom - top, right - left, CROP_PIXELS)
    if max(rows, columns) > CROP_SIDE:
        scale = CROP_SIDE / max(rows, columns)
        rows, columns = (max(MERGED, int(side * scale) // MERGED * MERGED) for side in (rows, columns))
    return to_patches(resized(image[top:bottom, left:right], rows, columns), CROP_PATCHES)
