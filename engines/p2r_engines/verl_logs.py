"""veRL's metrics, a line a step, under the platform's names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .records import mean_metrics
from .rewards import Completion, Judgement

# Ours -> veRL's; units are those of docs/metrics.md.
NAMES = {
    "reward_mean": "critic/score/mean",
    "kl": "actor/kl_loss",
    "entropy": "actor/entropy",
    "clip_fraction": "actor/pg_clipfrac",
    "grad_norm": "actor/grad_norm",
    "lr": "actor/lr",
    "loss": "actor/pg_loss",
    "completion_length": "response_length/mean",
    "clipped_completions": "response_length/clip_ratio",
    "step_seconds": "timing_s/step",
    "generate_seconds": "timing_s/gen",
    "reward_seconds": "timing_s/reward",
    "update_seconds": "timing_s/update_actor",
    "tokens_per_second": "perf/throughput",
    "model_flops_utilisation": "perf/mfu/actor",
}


@dataclass(frozen=True)
class Dump:
    """The rollouts of a step in veRL's order (the groups of a prompt together), and the score each one had."""

    completions: list[Completion]
    scores: list[float]


def read_dump(path: Path, rows: int) -> Dump | None:
    """`rollout_data_dir/<step>.jsonl`, or None while fewer than `rows` whole lines are there: veRL writes it in the background."""
    try:
        lines = path.read_text().split("\n")[:-1]
    except OSError:
        return None
    if len(lines) < rows:
        return None
    parsed = [json.loads(line) for line in lines]
    seen: dict[str, int] = {}
    completions = []
    for row in parsed:
        sample = row["gts"]
        completions.append(Completion(sample, seen.get(sample, 0), row["output"]))
        seen[sample] = seen.get(sample, 0) + 1
    return Dump(completions, [float(row["score"]) for row in parsed])


class StepLog:
    """The steps of veRL's file logger, each handed out once and in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = 0

    def take(self, ready: Callable[[int], bool]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Whole lines not taken yet, up to the first that is not `ready`. Lines without a finished step are passed over."""
        try:
            lines = self._path.read_text().split("\n")[:-1]
        except OSError:
            return
        for line in lines[self._taken :]:
            try:
                row = json.loads(line)
                step, values = int(row["step"]), dict(row["data"])
            except (ValueError, KeyError, TypeError):
                self._taken += 1
                continue
            if "timing_s/step" in values and step > 0:
                if not ready(step):
                    return
                yield step, values
            self._taken += 1


def metrics_row(values: dict[str, Any], judgements: list[Judgement] | None, group: int) -> dict[str, float | None]:
    """Our metrics of one step; what only judgements tell is null without them."""
    row: dict[str, float | None] = {ours: _number(values.get(theirs)) for ours, theirs in NAMES.items()}
    if judgements is None:
        return row
    rewards = [judgement.reward for judgement in judgements]
    groups = [rewards[start : start + group] for start in range(0, len(rewards), group)]
    mean = sum(rewards) / len(rewards)
    return {
        **row,
        **mean_metrics(judgements),
        "reward_std": (sum((reward - mean) ** 2 for reward in rewards) / max(1, len(rewards) - 1)) ** 0.5,
        "accuracy": sum(judgement.correct for judgement in judgements) / len(judgements),
        "zero_variance_groups": sum(len(set(rewards)) == 1 for rewards in groups) / len(groups),
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
