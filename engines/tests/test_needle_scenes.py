"""Needle scenes: right answers, disjoint splits, the same bytes for the same arguments."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from p2r_engines.needle_scenes import KINDS, ask, draw_scene, scene_seed, write_dataset


def test_splits_never_share_a_scene() -> None:
    train = {scene_seed("train", seed, index) for seed in (0, 7, 1_000_000) for index in (0, 1, 100_000)}
    held_out = {scene_seed("held-out", seed, index) for seed in (0, 7, 1_000_000) for index in (0, 1, 100_000)}
    assert len(train) == 9
    assert train.isdisjoint(held_out)


def test_answers_follow_from_the_scene() -> None:
    for seed in range(30):
        _, needles, rng = draw_scene(seed)
        for kind in KINDS:
            question = ask(kind, needles, rng)
            chosen = question.options["ABCD".index(question.answer)]
            first = question.targets[0]
            if kind == "letter":
                assert chosen == first.letter
            elif kind == "same":
                assert (chosen == "yes") == (first.letter == question.targets[1].letter)
            else:
                second = question.targets[1]
                expected = {"left": first.x < second.x, "right": first.x >= second.x}
                expected |= {"above": first.y < second.y, "below": first.y >= second.y}
                assert expected[chosen]


def test_a_dataset_is_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dataset(tmp_path / name, "held-out", count=3, seed=5, questions=3)
    digests = [[hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / name).rglob("*.*"))] for name in ("a", "b")]
    assert digests[0] == digests[1]
    rows = [json.loads(line) for line in (tmp_path / "a" / "rows.jsonl").read_text().splitlines()]
    assert sorted(row["kind"] for row in rows) == sorted(KINDS * 3)
    assert (tmp_path / "a" / rows[0]["image"]).stat().st_size > 10_000


def test_hard_scenes_hold_more_and_smaller_objects() -> None:
    for index in range(5):
        _, usual, _ = draw_scene(scene_seed("held-out", 1, index))
        _, hard, _ = draw_scene(scene_seed("hard", 1, index))
        assert len(usual) <= 10 and all(o.radius >= 26 for o in usual)
        assert len(hard) >= 10 and all(18 <= o.radius <= 30 for o in hard)


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
