"""Drawing a scene: its frame, its background and its objects all follow from its number."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import cv2
import numpy as np

from p2r_engines.needle_scenes.background import noise_background, photo_background
from p2r_engines.needle_scenes.splits import SPLITS, split_of

# Widths and heights, with how often each is drawn.
FRAMES = {(960, 960): 7, (1280, 960): 4, (960, 1280): 3, (1440, 960): 3, (1920, 1080): 3}
UNIT = 960  # side of the square scene that the sizes of objects are given for
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
FONT = cv2.FONT_HERSHEY_SIMPLEX


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


def _draw_letter(image: np.ndarray, needle: Needle) -> None:
    r = needle.radius
    scale, thickness = r / 42, max(1, round(r / 14.5))
    (width, height), _baseline = cv2.getTextSize(needle.letter, FONT, scale, thickness)
    ink = (10, 10, 10) if needle.colour in DARK_INK_ON else (250, 250, 250)
    origin = (needle.x - width // 2, needle.y + height // 2 + (r // 5 if needle.shape == "triangle" else 0))
    cv2.putText(image, needle.letter, origin, FONT, scale, ink, thickness, cv2.LINE_AA)


def _looks(count: int, kin: float, rng: random.Random) -> list[tuple[str, str]]:
    """Colour and shape of each object, no two alike; a share `kin` of them takes one of the two from an object before."""
    free = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    looks: list[tuple[str, str]] = []
    for _ in range(count):
        colours, shapes = {c for c, _ in looks}, {s for _, s in looks}
        related = [(c, s) for c, s in free if c in colours or s in shapes] if rng.random() < kin else []
        look = rng.choice(related or free)
        free.remove(look)
        looks.append(look)
    return looks


def draw_scene(number: int) -> tuple[np.ndarray, list[Needle], random.Random]:
    """RGB image [height, width, 3] uint8 of one of FRAMES, its objects, and the random stream to draw questions from."""
    rng, name = random.Random(number), split_of(number)
    split, noise = SPLITS[name], np.random.RandomState([number & 0xFFFFFFFF, number >> 32])
    width, height = rng.choices(list(FRAMES), list(FRAMES.values()))[0]
    image = photo_background(width, height, name, noise) if rng.random() < split.photos else noise_background(width, height, noise)
    scale = math.sqrt(width * height) / UNIT
    # Few letters in half of the scenes, so that letters meet again.
    letters = rng.sample(LETTERS, 3) if rng.random() < 0.5 else LETTERS
    needles: list[Needle] = []
    for colour, shape in _looks(rng.randint(*split.objects), split.kin, rng):
        for _ in range(60):
            r = round(rng.randint(*split.radius) * scale)
            x, y = rng.randint(r + 6, width - r - 6), rng.randint(r + 6, height - r - 6)
            if all(max(abs(x - o.x), abs(y - o.y)) > r + o.radius + 14 * scale for o in needles):
                break
        else:
            continue
        needle = Needle(colour, shape, x, y, r, rng.choice(letters))
        paint = tuple(int(np.clip(v + rng.randint(-15, 15), 0, 255)) for v in COLOURS[colour])
        _draw_shape(image, needle, (paint[0], paint[1], paint[2]))
        _draw_letter(image, needle)
        needles.append(needle)
    return image, needles, rng
