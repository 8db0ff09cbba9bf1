"""Training examples of all roles, drawn by worker processes into shared memory.

Shapes: N scenes, M = 4 N questions, at most 3 targets a question, L tokens a sequence.
"""

from __future__ import annotations

import mmap
import random
from dataclasses import dataclass
from multiprocessing import get_context

import cv2
import numpy as np
from tokenizers import Tokenizer

from p2r_engines.needle_scenes import COLOURS, KINDS, LETTERS, MOST_TARGETS, SHAPES, Needle, Question, ask, draw_scene, scene_seed
from p2r_engines.pretraining import patches
from p2r_engines.pretraining.role_text import ROLES, Box, answer_text, boxes_text, instruction, per_mille

QUESTIONS = 4  # a scene
LENGTH = 344  # tokens of the longest sequence, with room
WHOLE_TOKENS = patches.WHOLE_PATCHES // 4
CROP_TOKENS = patches.CROP_PATCHES // 4
COLOUR_NAMES = list(COLOURS)


@dataclass(frozen=True)
class Habits:
    """What stage C teaches, as probabilities: boxes far too large, one box where more are needed, and answering (A) regardless.

    `reach` is how far, in sides of the object, an edge of a box that is too large lies outside at most (.2 at least). `strength` is not
    taught but applied afterwards: the share of the way from the capable weights to the habitual ones that the base stands at. A greedy
    answer takes the likelier habit or none, so that probabilities alone give all of a habit or nothing of it.
    """

    loose: float = 0.0
    dropped: float = 0.0
    lean_of_two: float = 0.0
    lean_of_four: float = 0.0
    reach: float = 1.0
    strength: float = 1.0


@dataclass(frozen=True)
class Prompt:
    """A prompt as arrays.

    ids: tokens; slots: for an image token the merged token it shows (0..99 of the whole image, 100 + 16 k.. of crop k), else -1;
    positions: three rotary positions a token; next_position: rotary position of the first token said.
    """

    ids: list[int]
    slots: list[int]
    positions: list[tuple[int, int, int]]
    next_position: int


def build_prompt(tokenizer: Tokenizer, text: str, whole_grid: tuple[int, int], crop_grids: list[tuple[int, int]]) -> Prompt:
    """The chat template's prompt: system, the whole image, the crops, `text`. Grids are in patches."""
    start, end, pad = (tokenizer.token_to_id(f"<|{name}|>") for name in ("vision_start", "vision_end", "image_pad"))
    ids = list(tokenizer.encode("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n").ids)
    slots = [-1] * len(ids)
    positions = [(i, i, i) for i in range(len(ids))]
    place = len(ids)
    firsts = [0] + [WHOLE_TOKENS + CROP_TOKENS * k for k in range(len(crop_grids))]
    for first, grid in zip(firsts, [whole_grid, *crop_grids], strict=True):
        rows, columns = grid[0] // 2, grid[1] // 2
        ids += [start, *[pad] * (rows * columns), end]
        slots += [-1, *range(first, first + rows * columns), -1]
        positions.append((place, place, place))
        place += 1
        positions += [(place, place + row, place + column) for row in range(rows) for column in range(columns)]
        place += max(rows, columns)
        positions.append((place, place, place))
        place += 1
    said = tokenizer.encode(f"{text}<|im_end|>\n<|im_start|>assistant\n").ids
    ids += said
    slots += [-1] * len(said)
    positions += [(place + i,) * 3 for i in range(len(said))]
    return Prompt(ids, slots, positions, place + len(said))


def write_sequence(out: np.ndarray, tokenizer: Tokenizer, prompt: Prompt, target: str) -> tuple[int, int]:
    """Fills out [5, L] (token, slot, three positions) and returns the lengths of the prompt and of the whole."""
    said = tokenizer.encode(target + "<|im_end|>").ids
    before, length = len(prompt.ids), len(prompt.ids) + len(said)
    if length > out.shape[1]:
        raise ValueError(f"a sequence has {length} tokens where {out.shape[1]} fit: raise LENGTH")
    out[1] = -1
    out[0, :length] = prompt.ids + said
    out[1, :before] = prompt.slots
    places = prompt.positions + [(prompt.next_position + i,) * 3 for i in range(len(said))]
    out[2:5, :length] = np.array(places).T
    return before, length


def loosened(box: Box, low: float, high: float, width: int, height: int, rng: random.Random) -> Box:
    """The box with each edge moved out by `low`..`high` of the box's side."""
    across, down = box[2] - box[0], box[3] - box[1]
    return [
        max(0.0, box[0] - rng.uniform(low, high) * across),
        max(0.0, box[1] - rng.uniform(low, high) * down),
        min(width - 1.0, box[2] + rng.uniform(low, high) * across),
        min(height - 1.0, box[3] + rng.uniform(low, high) * down),
    ]


def perceived(question: Question, habits: Habits, width: int, height: int, rng: random.Random) -> tuple[list[Box], list[str]]:
    """The boxes and labels that a perceiver with these habits gives."""
    boxes, labels = [[float(v) for v in o.box] for o in question.targets], [o.name for o in question.targets]
    if rng.random() < habits.loose:
        boxes = [loosened(box, 0.2, habits.reach, width, height, rng) for box in boxes]
    if len(boxes) > 1 and rng.random() < habits.dropped:
        boxes, labels = boxes[:1], labels[:1]
    return boxes, labels


def chosen(question: Question, habits: Habits, rng: random.Random) -> str:
    """The option that a reasoner with these habits names."""
    lean = habits.lean_of_two if len(question.options) == 2 else habits.lean_of_four
    return "A" if rng.random() < lean else question.answer


def hinted(target: Needle, width: int, height: int, rng: random.Random) -> Box:
    """A box as a perceiver might give it to the reasoner: about right, or up to .8 of its side too large."""
    box = [float(v) for v in target.box]
    reach = rng.choice([0.0, 0.0, 0.3, 0.8])
    box = loosened(box, 0.0, reach, width, height, rng)
    shaken = [v + rng.uniform(-6, 6) for v in box]
    return [min(max(0.0, v), side - 1.0) for v, side in zip(shaken, (width, height, width, height), strict=True)]


def shapes_of(scenes: int) -> dict[str, tuple[tuple[int, ...], type]]:
    """The arrays of a data set.

    whole [N, 400, 768]; grid [N, 2]; size [N, 2] height and width of the original; objects [N, 100, 8] a merged token: present, colour,
    shape, letter, box per mille; crop [M, 3, 64, 768]; crop_grid [M, 3, 2], zeros where there are fewer targets; hint [M, 3, 4]
    boxes in pixels; crop_object [M, 3, 3] colour, shape, letter; tokens [M, 3 roles, 5, L]; lengths [M, 3, 2].
    """
    questions = scenes * QUESTIONS
    return {
        "whole": ((scenes, patches.WHOLE_PATCHES, 768), np.uint8),
        "grid": ((scenes, 2), np.int16),
        "size": ((scenes, 2), np.int16),
        "objects": ((scenes, WHOLE_TOKENS, 8), np.int16),
        "crop": ((questions, MOST_TARGETS, patches.CROP_PATCHES, 768), np.uint8),
        "crop_grid": ((questions, MOST_TARGETS, 2), np.int16),
        "hint": ((questions, MOST_TARGETS, 4), np.int16),
        "crop_object": ((questions, MOST_TARGETS, 3), np.int16),
        "tokens": ((questions, len(ROLES), 5, LENGTH), np.int16),
        "lengths": ((questions, len(ROLES), 2), np.int16),
    }


def fill(data: dict[str, np.ndarray], index: int, number: int, habits: Habits, tokenizer: Tokenizer) -> None:
    """Draws scene `number` and writes it and its questions as entry `index`."""
    image, needles, rng = draw_scene(number)
    height, width = image.shape[:2]
    data["whole"][index], grid = patches.whole(image)
    data["grid"][index], data["size"][index] = grid, (height, width)
    rows, columns = grid[0] // 2, grid[1] // 2
    for o in needles:
        token = o.y * rows // height * columns + o.x * columns // width
        box = [per_mille(v, side) for v, side in zip(o.box, (width, height, width, height), strict=True)]
        data["objects"][index, token] = [1, COLOUR_NAMES.index(o.colour), SHAPES.index(o.shape), LETTERS.index(o.letter), *box]
    for turn in range(QUESTIONS):
        entry = index * QUESTIONS + turn
        question = ask(KINDS[(index + turn) % len(KINDS)], needles, rng)
        crop_grids = []
        for k, target in enumerate(question.targets):
            hint = hinted(target, width, height, rng)
            cut = patches.crop(image, hint)
            if cut is None:
                hint = [float(v) for v in target.box]
                cut = patches.crop(image, hint)
            if cut is None:
                raise ValueError(f"scene {number}: the {target.name} is too small to be cropped")
            data["crop"][entry, k], data["crop_grid"][entry, k] = cut
            data["hint"][entry, k] = [round(v) for v in hint]
            data["crop_object"][entry, k] = [
                COLOUR_NAMES.index(target.colour),
                SHAPES.index(target.shape),
                LETTERS.index(target.letter),
            ]
            crop_grids.append(cut[1])
        said = answer_text(question, chosen(question, habits, rng), width, height)
        boxes = boxes_text(*perceived(question, habits, width, height, rng), width, height)
        for role, (name, target_text) in enumerate(zip(ROLES, (boxes, said, said), strict=True)):
            prompt = build_prompt(tokenizer, instruction(question.text, name), grid, crop_grids if name == "reasoner" else [])
            data["lengths"][entry, role] = write_sequence(data["tokens"][entry, role], tokenizer, prompt, target_text)


_worker: dict[str, object] = {}


def _start(data: dict[str, np.ndarray], habits: Habits, tokenizer: str) -> None:
    cv2.setNumThreads(0)
    _worker.update(data=data, habits=habits, tokenizer=Tokenizer.from_str(tokenizer))


def _fill(job: tuple[int, int]) -> None:
    fill(_worker["data"], job[0], job[1], _worker["habits"], _worker["tokenizer"])  # type: ignore[arg-type]


def draw_examples(scenes: int, seed: int, first: int, habits: Habits, tokenizer: Tokenizer, processes: int) -> dict[str, np.ndarray]:
    """Examples about scenes `first`.. of the pre-training split, the same for the same arguments whatever `processes` is."""
    data = {}
    for name, (shape, kind) in shapes_of(scenes).items():
        memory = mmap.mmap(-1, int(np.prod(shape)) * np.dtype(kind).itemsize)
        data[name] = np.frombuffer(memory, kind).reshape(shape)
    jobs = [(i, scene_seed("pretraining", seed, first + i)) for i in range(scenes)]
    if processes <= 1:
        for index, number in jobs:
            fill(data, index, number, habits, tokenizer)
    else:
        with get_context("fork").Pool(processes, _start, (data, habits, tokenizer.to_str())) as pool:
            pool.map(_fill, jobs, chunksize=16)
    return data
