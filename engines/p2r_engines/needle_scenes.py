"""Needle scenes: 960x960 images with 5 to 10 small coloured shapes, each showing one letter, and questions about them.

The distribution is the one the tiny model was trained on, but for the split `hard`: 10 to 14 smaller shapes.
`python -m p2r_engines.needle_scenes --help` writes a dataset.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SIDE = 960
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 220, 50),
    "purple": (140, 60, 190),
    "orange": (240, 140, 30),
}
SHAPES = ["circle", "square", "triangle", "diamond", "star", "cross"]
LETTERS = list("ACEFHKLMPTUX")
DARK_INK_ON = {"yellow", "orange", "green"}
KINDS = ["letter", "same", "spatial"]
FONT = cv2.FONT_HERSHEY_SIMPLEX

# Scene seeds of the splits come from disjoint ranges, so that no scene is in two of them. Backgrounds follow the seed modulo 1 << 31:
# the odd 1 << 30 keeps those of pre-training apart from the ones of the other splits for dataset seeds below 1024, and the odd 1 << 29
# those of hard scenes for dataset seeds below 512.
SPLIT_OFFSET = {"train": 0, "held-out": 1 << 40, "pretraining": (1 << 41) + (1 << 30), "hard": (1 << 42) + (1 << 29)}
SEED_STRIDE = 1 << 20


@dataclass(frozen=True)
class Needle:
    """One object: centre and half side in pixels."""

    colour: str
    shape: str
    x: int
    y: int
    radius: int
    letter: str

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def box(self) -> list[int]:
        return [self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius]


@dataclass(frozen=True)
class Question:
    """A question with lettered options; `targets` are the objects that hold the evidence."""

    kind: str
    text: str
    options: list[str]
    answer: str
    targets: list[Needle]


def scene_seed(split: str, seed: int, index: int) -> int:
    """The number that decides scene `index` of a dataset; never the same for two splits."""
    if not 0 <= index < SEED_STRIDE:
        raise ValueError(f"index must be in 0..{SEED_STRIDE - 1}, got {index}")
    if not 0 <= seed < SEED_STRIDE:
        raise ValueError(f"seed must be in 0..{SEED_STRIDE - 1}, got {seed}")
    return SPLIT_OFFSET[split] + seed * SEED_STRIDE + index


def _draw_shape(image: np.ndarray, needle: Needle, colour: tuple[int, int, int]) -> None:
    x, y, r = needle.x, needle.y, needle.radius
    if needle.shape == "circle":
        cv2.circle(image, (x, y), r, colour, -1, cv2.LINE_AA)
        return
    if needle.shape == "square":
        cv2.rectangle(image, (x - r, y - r), (x + r, y + r), colour, -1, cv2.LINE_AA)
        return
    if needle.shape == "cross":
        arm = r // 2
        cv2.rectangle(image, (x - r, y - arm), (x + r, y + arm), colour, -1)
        cv2.rectangle(image, (x - arm, y - r), (x + arm, y + r), colour, -1)
        return
    corners: dict[str, list[tuple[float, float]]] = {
        "triangle": [(-1, 1), (1, 1), (0, -1)],
        "diamond": [(0, -1), (1, 0), (0, 1), (-1, 0)],
        "star": [
            (math.cos(angle) * reach, math.sin(angle) * reach)
            for k in range(10)
            for angle, reach in [(math.radians(36 * k - 90), 1.0 if k % 2 == 0 else 0.5)]
        ],
    }
    points = np.array([[x + r * dx, y + r * dy] for dx, dy in corners[needle.shape]], np.int32)
    cv2.fillPoly(image, [points], colour, cv2.LINE_AA)


def _background(noise: np.random.RandomState) -> np.ndarray:
    cells, quarter = SIDE // 80 + 1, SIDE // 4
    blobs = noise.randint(105, 175, size=(cells, cells, 3)).astype(np.uint8)
    blobs = cv2.resize(blobs, (quarter, quarter), interpolation=cv2.INTER_CUBIC)
    grain = noise.randint(-12, 13, size=(quarter, quarter, 1))
    grained = np.clip(blobs.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    return cv2.resize(grained, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def draw_scene(seed: int) -> tuple[np.ndarray, list[Needle], random.Random]:
    """RGB image [960, 960, 3] uint8, its objects, and the random stream to draw questions from."""
    rng = random.Random(seed)
    image = _background(np.random.RandomState(seed % (1 << 31)))
    hard = seed >= SPLIT_OFFSET["hard"]
    wanted = rng.randint(10, 14) if hard else rng.randint(5, 10)
    needles: list[Needle] = []
    for colour, shape in rng.sample([(c, s) for c in COLOURS for s in SHAPES], wanted):
        for _ in range(60):
            r = rng.randint(18, 30) if hard else rng.randint(26, 44)
            x, y = rng.randint(r + 6, SIDE - r - 6), rng.randint(r + 6, SIDE - r - 6)
            if all(max(abs(x - o.x), abs(y - o.y)) > r + o.radius + 14 for o in needles):
                break
        else:
            continue
        needle = Needle(colour, shape, x, y, r, rng.choice(LETTERS))
        paint = tuple(int(np.clip(v + rng.randint(-15, 15), 0, 255)) for v in COLOURS[colour])
        _draw_shape(image, needle, (paint[0], paint[1], paint[2]))
        scale, thickness = r / 42, 2 if r < 36 else 3
        (width, height), _baseline = cv2.getTextSize(needle.letter, FONT, scale, thickness)
        ink = (10, 10, 10) if colour in DARK_INK_ON else (250, 250, 250)
        origin = (x - width // 2, y + height // 2 + (r // 5 if shape == "triangle" else 0))
        cv2.putText(image, needle.letter, origin, FONT, scale, ink, thickness, cv2.LINE_AA)
        needles.append(needle)
    return image, needles, rng


def ask(kind: str, needles: list[Needle], rng: random.Random) -> Question:
    """Draws one question of a kind about a scene."""
    if kind == "letter":
        target = rng.choice(needles)
        options = [*rng.sample([x for x in LETTERS if x != target.letter], 3), target.letter]
        rng.shuffle(options)
        targets, right, text = [target], target.letter, f"What letter is on the {target.name}?"
    elif kind == "same":
        twins = [(a, b) for a in needles for b in needles if a is not b and a.letter == b.letter]
        a, b = rng.choice(twins) if twins and rng.random() < 0.55 else rng.sample(needles, 2)
        options = ["yes", "no"]
        rng.shuffle(options)
        targets, right = [a, b], "yes" if a.letter == b.letter else "no"
        text = f"Do the {a.name} and the {b.name} show the same letter?"
    elif kind == "spatial":
        a, b = rng.sample(needles, 2)
        if rng.random() < 0.5:
            options, right, of = ["left", "right"], "left" if a.x < b.x else "right", " of"
        else:
            options, right, of = ["above", "below"], "above" if a.y < b.y else "below", ""
        rng.shuffle(options)
        targets = [a, b]
        text = f"Is the {a.name} {options[0]} or {options[1]}{of} the {b.name}?"
    else:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    lettered = "".join(f"\n({'ABCD'[i]}) {option}" for i, option in enumerate(options))
    return Question(kind, text + lettered, options, "ABCD"[options.index(right)], targets)


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
                        "width": SIDE,
                        "height": SIDE,
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a needle-scene dataset.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=sorted(SPLIT_OFFSET), required=True)
    parser.add_argument("--count", type=int, required=True, help="scenes")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--questions", type=int, default=1, help="questions a scene, kinds in turn (1 to 3)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of questions, with commas between")
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"--kinds: {unknown[0]!r} is none of {', '.join(KINDS)}")
    cv2.setNumThreads(1)
    write_dataset(arguments.out, arguments.split, arguments.count, arguments.seed, arguments.questions, kinds)


if __name__ == "__main__":
    main()
