"""DAPO's rules as plain functions: which groups a step learns from, and what an overlong response costs (arXiv 2503.14476)."""

from __future__ import annotations

from collections.abc import Sequence

from .contract import Dapo


def overlong_penalty(settings: Dapo, length: int, longest: int) -> float:
    """Soft overlong punishment (Equation 13): 0 up to `longest - buffer` tokens, then linearly up to `overlong_penalty` at `longest`."""
    buffer = min(settings.overlong_buffer, longest)
    if buffer == 0:
        return 0.0
    return settings.overlong_penalty * min(1.0, max(0.0, (length - (longest - buffer)) / buffer))


def informative_groups(correct: Sequence[bool], size: int) -> list[int]:
    """Numbers of the groups (of `size` rollouts in a row) with both right and wrong answers: the others have no advantage to learn from."""
    groups = [correct[start : start + size] for start in range(0, len(correct), size)]
    return [number for number, group in enumerate(groups) if any(group) and not all(group)]


def reserve_rows(settings: Dapo, *, rows: int, batch: int, total_steps: int, step: int, refill: int) -> list[int]:
    """
    Dataset rows of the `refill`-th (1, 2, ...) extra batch of a step (0, 1, ...). They lie behind the rows every step takes by itself, and
    follow from the step alone, so that a resumed run draws the same; a dataset without so many rows is gone through again.
    """
    start = batch * (total_steps + step * (settings.max_generation_batches - 1) + refill - 1)
    return [(start + place) % rows for place in range(batch)]
