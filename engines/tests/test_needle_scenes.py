"""Needle scenes: right answers, disjoint splits and photos, the same bytes for the same arguments."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from p2r_engines.needle_scenes import FRAMES, KINDS, MOST_TARGETS, SPLITS, ask, draw_scene, scene_seed, split_of
from p2r_engines.needle_scenes.background import PHOTOS, photos_of
from p2r_engines.needle_scenes.dataset import write_dataset
from p2r_engines.needle_scenes.splits import SEED_STRIDE

LAST = SEED_STRIDE - 1


def test_splits_are_ranges_of_numbers_that_never_meet() -> None:
    ranges = sorted((scene_seed(split, 0, 0), scene_seed(split, LAST, LAST)) for split in SPLITS)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    for split in SPLITS:
        for seed, index in itertools.product((0, 7, LAST), (0, 1, LAST)):
            assert split_of(scene_seed(split, seed, index)) == split
    for seed, index in ((0, SEED_STRIDE), (SEED_STRIDE, 0), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="must be in"):
            scene_seed("train", seed, index)


def test_no_photo_is_in_two_splits_and_each_has_a_licence() -> None:
    listed = json.loads((PHOTOS / "photos.json").read_text())
    assert len({entry["file"] for entry in listed}) == len(listed)
    assert {entry["file"] for entry in listed} == {path.name for path in PHOTOS.glob("*.jpg")}
    assert all(entry["licence"] and entry["author"] and entry["source"] for entry in listed)
    notes = (PHOTOS / "README.md").read_text()
    assert all(entry["file"] in notes for entry in listed)
    pixels = {split: {photo.tobytes() for photo in photos_of(split)} for split in SPLITS}
    assert all(pixels.values())
    for one, other in itertools.combinations(SPLITS, 2):
        assert pixels[one].isdisjoint(pixels[other])


def test_answers_follow_from_the_scene() -> None:
    for seed in range(40):
        _, needles, rng = draw_scene(seed)
        for kind in KINDS:
            question = ask(kind, needles, rng)
            chosen = question.options["ABCD".index(question.answer)]
            first = question.targets[0]
            if kind == "letter":
                assert chosen == first.letter
            elif kind == "same":
                assert (chosen == "yes") == (first.letter == question.targets[1].letter)
            elif kind == "count":
                group, letter = question.text.split("\n")[0].removeprefix("How many ").rstrip("?").split(" show the letter ")
                word = group.split()[0]
                meant = [o for o in needles if o.colour == word or f"{o.shape}s" == word or (word, o.shape) == ("crosses", "cross")]
                assert {o.name for o in question.targets} == {o.name for o in meant}
                assert 1 <= len(meant) <= MOST_TARGETS
                assert int(chosen) == sum(o.letter == letter for o in meant)
            else:
                second = question.targets[1]
                expected = {"left": first.x < second.x, "right": first.x > second.x}
                expected |= {"above": first.y < second.y, "below": first.y > second.y}
                assert expected[chosen]


def test_no_answer_can_be_guessed_from_its_place_or_its_word() -> None:
    places: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    words: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for index in range(60):
        _, needles, rng = draw_scene(scene_seed("train", 3, index))
        for _ in range(16):
            for kind in KINDS:
                question = ask(kind, needles, rng)
                places[kind][question.answer] += 1
                words[kind][question.options["ABCD".index(question.answer)]] += 1
    for kind in KINDS:
        options = 4 if kind in ("letter", "count") else 2
        assert max(places[kind].values()) / 960 < 1 / options + 0.08
    assert max(words["same"].values()) / 960 < 0.62
    assert max(words["count"].values()) / 960 < 0.5
    assert set(words["count"]) == {"0", "1", "2", "3"}


def test_objects_lie_inside_and_apart_and_are_as_small_as_their_split_says() -> None:
    for split, rule in SPLITS.items():
        for index in range(12):
            image, needles, _ = draw_scene(scene_seed(split, 5, index))
            height, width = image.shape[:2]
            scale = math.sqrt(width * height) / 960
            assert (width, height) in FRAMES and len({o.name for o in needles}) == len(needles)
            assert len(needles) <= rule.objects[1]
            for o in needles:
                assert o.box[0] >= 0 and o.box[1] >= 0 and o.box[2] < width and o.box[3] < height
                assert rule.radius[0] * scale - 1 <= o.radius <= rule.radius[1] * scale + 1
            for a, b in itertools.combinations(needles, 2):
                assert max(abs(a.x - b.x), abs(a.y - b.y)) > a.radius + b.radius


def test_all_frames_and_both_backgrounds_are_drawn() -> None:
    seen = {draw_scene(scene_seed("held-out", 1, index))[0].shape[:2] for index in range(60)}
    assert seen == {(height, width) for width, height in FRAMES}
    spread = [float(draw_scene(scene_seed("hard", 1, index))[0].std()) for index in range(20)]
    assert max(spread) > 1.3 * min(spread)


def test_hard_scenes_hold_more_lookalikes() -> None:
    def relatives(split: str) -> float:
        shares = []
        for index in range(20):
            _, needles, _ = draw_scene(scene_seed(split, 2, index))
            target = needles[0]
            shares.append(sum(target.colour == o.colour or target.shape == o.shape for o in needles[1:]))
        return float(np.mean(shares))

    assert relatives("hard") > 1.5 * relatives("held-out")


def test_a_dataset_is_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dataset(tmp_path / name, "held-out", count=3, seed=5, questions=4)
    digests = [[hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / name).rglob("*.*"))] for name in ("a", "b")]
    assert digests[0] == digests[1]
    rows = [json.loads(line) for line in (tmp_path / "a" / "rows.jsonl").read_text().splitlines()]
    assert sorted(row["kind"] for row in rows) == sorted(KINDS * 3)
    for row in rows:
        assert (row["width"], row["height"]) in FRAMES
        assert all(0 <= x1 < x2 < row["width"] and 0 <= y1 < y2 < row["height"] for x1, y1, x2, y2 in row["boxes"])
    assert (tmp_path / "a" / rows[0]["image"]).stat().st_size > 10_000


def test_letters_are_drawn() -> None:
    image, needles, _ = draw_scene(3)
    needle = needles[0]
    x1, y1, x2, y2 = needle.box
    patch = image[y1:y2, x1:x2].reshape(-1, 3)
    assert len({tuple(pixel) for pixel in patch}) > 20


def test_only_the_wanted_kinds_are_asked(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", "train", count=2, seed=5, questions=2, kinds=["letter"])
    rows = [json.loads(line) for line in (tmp_path / "a" / "rows.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["letter"] * 4
