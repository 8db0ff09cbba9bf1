"""What each role is told and what it should say about a needle-scene question."""

from __future__ import annotations

import random
import re

from p2r_engines.needle_scenes import COLOURS, KINDS, LETTERS, SHAPES, Needle, Question, ask

ROLES = ("perceiver", "reasoner", "direct")

# The same sentences as the platform's Qwen3-VL prompts, each after the question and a space.
INSTRUCTION = {
    "perceiver": (
        "Please carefully observe the image first to identify the object(s) referred to in the question. Note that each object type "
        "appears only once in the image. Then provide the 2D bounding box coordinates and labels of the related objects in JSON format."
    ),
    "reasoner": "The key visual regions have been highlighted and cropped for you. Think step by step.",
    "direct": "Think step by step.",
}

Box = list[float]


def instruction(question: str, role: str) -> str:
    """The user's text of a role."""
    return f"{question} {INSTRUCTION[role]}"


def per_mille(value: float, side: int) -> int:
    """A coordinate on the 0..999 scale that the model speaks."""
    return min(999, max(0, round(value * 1000 / side)))


def boxes_text(boxes: list[Box], labels: list[str], width: int, height: int) -> str:
    """The perceiver's answer: boxes in pixels of the image become a fenced JSON list of `bbox_2d` and `label`."""
    sides = (width, height, width, height)
    lines = [
        '\t{"bbox_2d": [' + ", ".join(str(per_mille(v, side)) for v, side in zip(box, sides, strict=True)) + f'], "label": "{label}"}}'
        for box, label in zip(boxes, labels, strict=True)
    ]
    return "```json\n[\n" + ",\n".join(lines) + "\n]\n```"


def read_boxes(text: str, width: int, height: int) -> list[Box]:
    """The boxes of a perceiver's answer in pixels of the image; those without an area are left out."""
    boxes = []
    for found in re.finditer(r"\[\s*(\d+),\s*(\d+),\s*(\d+),\s*(\d+)\s*\]", text):
        x1, y1, x2, y2 = (int(digits) for digits in found.groups())
        if x2 > x1 and y2 > y1:
            boxes.append([x1 * width / 1000, y1 * height / 1000, x2 * width / 1000, y2 * height / 1000])
    return boxes


def read_choice(text: str) -> str | None:
    """The last option letter in brackets, or None."""
    found = re.findall(r"\(([A-D])\)", text)
    return found[-1] if found else None


def thought(question: Question, width: int, height: int) -> str:
    """What a reasoner should note before it answers: letters, places in percent of the image, or letters and their count."""
    conclusion = f"So it is {question.options['ABCD'.index(question.answer)]}."
    if question.kind == "spatial":
        places = [f"The {o.name} is at {o.x * 100 // width}, {o.y * 100 // height}." for o in question.targets]
        return " ".join([*places, conclusion])
    letters = [f"The {o.name} shows the letter {o.letter}." for o in question.targets]
    return " ".join([*letters, conclusion] if question.kind == "count" else letters)


def answer_text(question: Question, choice: str, width: int, height: int) -> str:
    """The reasoner's or direct answer that ends in `choice`."""
    return f"{thought(question, width, height)} The answer is ({choice})."


def sample_texts(count: int, seed: int) -> list[str]:
    """Texts in the distribution of all roles, for the tokenizer; no image is drawn."""
    rng = random.Random(seed)
    texts = ["system\nYou are a helpful assistant.", "user\n", "assistant\n"] * (count // 20 + 1)
    pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    side = 960
    for turn in range(count):
        letters = rng.sample(LETTERS, 3)
        needles = [
            Needle(colour, shape, 160 * place + 80, rng.randrange(side), rng.randint(26, 44), rng.choice(letters))
            for place, (colour, shape) in enumerate(rng.sample(pairs, 6))
        ]
        question = ask(KINDS[turn % len(KINDS)], needles, rng)
        role = ROLES[rng.randrange(len(ROLES))]
        if role == "perceiver":
            said = boxes_text([[float(v) for v in o.box] for o in question.targets], [o.name for o in question.targets], side, side)
        else:
            said = answer_text(question, question.answer, side, side)
        texts.append(instruction(question.text, role) + "assistant\n" + said)
    return texts
