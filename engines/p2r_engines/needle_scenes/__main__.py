"""The command that writes a dataset of needle scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2

from p2r_engines.needle_scenes.dataset import write_dataset
from p2r_engines.needle_scenes.question import KINDS
from p2r_engines.needle_scenes.splits import SPLITS


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a needle-scene dataset.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=sorted(SPLITS), required=True)
    parser.add_argument("--count", type=int, required=True, help="scenes")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--questions", type=int, default=1, help="questions a scene, kinds in turn (1 to 4)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of questions, with commas between")
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"--kinds: {unknown[0]!r} is none of {', '.join(KINDS)}")
    cv2.setNumThreads(1)
    write_dataset(arguments.out, arguments.split, arguments.count, arguments.seed, arguments.questions, kinds)


if __name__ == "__main__":
    main()
