"""Needle scenes: pictures with small coloured shapes that each show one letter, and questions whose evidence is some of them.

`python -m p2r_engines.needle_scenes --help` writes a dataset.
"""

from p2r_engines.needle_scenes.question import DETAIL_KINDS, KINDS, MOST_TARGETS, Question, ask
from p2r_engines.needle_scenes.scene import COLOURS, FRAMES, LETTERS, SHAPES, Needle, draw_scene
from p2r_engines.needle_scenes.splits import SPLITS, Split, scene_seed, split_of

__all__ = [
    "COLOURS",
    "DETAIL_KINDS",
    "FRAMES",
    "KINDS",
    "LETTERS",
    "MOST_TARGETS",
    "SHAPES",
    "SPLITS",
    "Needle",
    "Question",
    "Split",
    "ask",
    "draw_scene",
    "scene_seed",
    "split_of",
]
