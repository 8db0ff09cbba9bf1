"""Questions about a scene, in the kinds that the benchmarks ask: an attribute, a comparison, a relative position, a count."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

from p2r_engines.needle_scenes.scene import LETTERS, Needle

KINDS = ["letter", "same", "spatial", "count"]
DETAIL_KINDS = ["letter", "same", "count"]  # letters must be read, which the whole image at the tiny model's budget does not allow
MOST_TARGETS = 3
PLURAL = {"cross": "crosses"}


@dataclass(frozen=True)
class Question:
    """A question with lettered options; `targets` are the objects that hold the evidence."""

    kind: str
    text: str
    options: list[str]
    answer: str
    targets: list[Needle]


def _letter(needles: list[Needle], rng: random.Random) -> tuple[str, list[str], str, list[Needle]]:
    target = rng.choice(needles)
    options = [*rng.sample([x for x in LETTERS if x != target.letter], 3), target.letter]
    rng.shuffle(options)
    return f"What letter is on the {target.name}?", options, target.letter, [target]


def _same(needles: list[Needle], rng: random.Random) -> tuple[str, list[str], str, list[Needle]]:
    pairs = [(a, b) for a in needles for b in needles if a is not b]
    wanted = rng.random() < 0.5
    a, b = rng.choice([pair for pair in pairs if (pair[0].letter == pair[1].letter) == wanted] or pairs)
    options = ["yes", "no"]
    rng.shuffle(options)
    return f"Do the {a.name} and the {b.name} show the same letter?", options, "yes" if a.letter == b.letter else "no", [a, b]


def _spatial(needles: list[Needle], rng: random.Random) -> tuple[str, list[str], str, list[Needle]]:
    a, b = rng.sample(needles, 2)
    # Objects never overlap, so that on one of the axes at least they lie clearly apart.
    apart = a.radius + b.radius
    axes = [axis for axis, distance in (("x", abs(a.x - b.x)), ("y", abs(a.y - b.y))) if distance > apart]
    if rng.choice(axes) == "x":
        options, right, of = ["left", "right"], "left" if a.x < b.x else "right", " of"
    else:
        options, right, of = ["above", "below"], "above" if a.y < b.y else "below", ""
    rng.shuffle(options)
    return f"Is the {a.name} {options[0]} or {options[1]}{of} the {b.name}?", options, right, [a, b]


def _count(needles: list[Needle], rng: random.Random) -> tuple[str, list[str], str, list[Needle]]:
    groups: dict[str, list[Needle]] = defaultdict(list)
    for needle in needles:
        groups[PLURAL.get(needle.shape, f"{needle.shape}s")].append(needle)
        groups[f"{needle.colour} objects"].append(needle)
    # One always has at most three: without, four colours or more would each have four objects or more.
    small = {name: group for name, group in groups.items() if len(group) <= MOST_TARGETS}
    cases: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name, group in small.items():
        for letter in LETTERS:
            cases[sum(o.letter == letter for o in group)].append((name, letter))
    number = rng.choice(sorted(cases))
    name, letter = rng.choice(cases[number])
    options = [str(n) for n in range(MOST_TARGETS + 1)]
    rng.shuffle(options)
    return f"How many {name} show the letter {letter}?", options, str(number), sorted(small[name], key=lambda o: o.x)


_ASKED = {"letter": _letter, "same": _same, "spatial": _spatial, "count": _count}


def ask(kind: str, needles: list[Needle], rng: random.Random) -> Question:
    """Draws one question of a kind about a scene's objects (2 to 14, no two of one colour and shape)."""
    if kind not in _ASKED:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    text, options, right, targets = _ASKED[kind](needles, rng)
    lettered = "".join(f"\n({'ABCD'[i]}) {option}" for i, option in enumerate(options))
    return Question(kind, text + lettered, options, "ABCD"[options.index(right)], targets)
