"""The splits: which numbers their scenes have, which photos they may show, and how hard they are."""

from __future__ import annotations

from dataclasses import dataclass

SEED_STRIDE = 1 << 20  # scenes a dataset seed has, and dataset seeds a split has


@dataclass(frozen=True)
class Split:
    """What the scenes of a split look like.

    first: number of its first scene. objects: least and most a scene. radius: least and most half side of an object, in pixels of a
    scene of 960 x 960; it grows with larger scenes. kin: share of the objects made to take the colour or the shape of one before.
    photos: share of the scenes whose background is a photo.
    """

    first: int
    objects: tuple[int, int]
    radius: tuple[int, int]
    kin: float
    photos: float


# The ranges of numbers are disjoint, and so are the photos of the splits (photos/photos.json): no scene and no photo is in two splits.
SPLITS = {
    "train": Split(0, (5, 10), (24, 44), 0.3, 0.25),
    "held-out": Split(1 << 40, (5, 10), (24, 44), 0.3, 0.25),
    "pretraining": Split(2 << 40, (5, 10), (24, 44), 0.3, 0.25),
    "hard": Split(3 << 40, (10, 14), (18, 30), 0.7, 0.5),
}


def scene_seed(split: str, seed: int, index: int) -> int:
    """The number that decides scene `index` of a dataset; never the same for two splits."""
    if not 0 <= index < SEED_STRIDE:
        raise ValueError(f"index must be in 0..{SEED_STRIDE - 1}, got {index}")
    if not 0 <= seed < SEED_STRIDE:
        raise ValueError(f"seed must be in 0..{SEED_STRIDE - 1}, got {seed}")
    return SPLITS[split].first + seed * SEED_STRIDE + index


def split_of(number: int) -> str:
    """The split that a scene's number belongs to."""
    if number < 0:
        raise ValueError(f"a scene's number must not be negative, got {number}")
    return max((name for name, split in SPLITS.items() if split.first <= number), key=lambda name: SPLITS[name].first)
