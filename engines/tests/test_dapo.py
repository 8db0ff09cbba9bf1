"""DAPO's rules by hand-computed cases."""

from __future__ import annotations

import pytest

from p2r_engines.contract import Dapo
from p2r_engines.dapo import informative_groups, overlong_penalty, reserve_rows


def settings(**changes: float) -> Dapo:
    values = {"clip_ratio_high": 0.28, "max_generation_batches": 3, "overlong_buffer": 4, "overlong_penalty": 1.0}
    return Dapo.model_validate({"name": "dapo", **values, **changes})


def test_the_penalty_grows_over_the_last_tokens() -> None:
    assert [overlong_penalty(settings(), length, 10) for length in (1, 6, 7, 8, 9, 10)] == [0, 0, 0.25, 0.5, 0.75, 1]
    assert overlong_penalty(settings(overlong_penalty=0.5), 10, 10) == 0.5
    assert overlong_penalty(settings(overlong_buffer=0), 10, 10) == 0
    assert overlong_penalty(settings(overlong_buffer=99), 5, 10) == 0.5


def test_a_group_informs_when_its_answers_differ() -> None:
    assert informative_groups([True, True, False, True, False, False, False, True], 2) == [1, 3]
    assert informative_groups([True] * 6, 3) == []


def test_extra_batches_of_all_steps_are_disjoint_and_follow_from_the_step() -> None:
    batch, steps = 4, 5
    rows = batch * steps * 3

    def drawn(step: int, refill: int) -> list[int]:
        return reserve_rows(settings(), rows=rows, batch=batch, total_steps=steps, step=step, refill=refill)

    everything = [row for step in range(steps) for refill in (1, 2) for row in drawn(step, refill)]
    assert sorted(everything) == list(range(batch * steps, rows))
    assert drawn(3, 1) == drawn(3, 1)
    assert all(row < 7 for row in reserve_rows(settings(), rows=7, batch=batch, total_steps=steps, step=4, refill=2))


def test_a_wrong_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="clip_ratio_high"):
        settings(clip_ratio_high=0)
