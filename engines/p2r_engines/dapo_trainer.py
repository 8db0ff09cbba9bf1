"""DAPO's dynamic sampling on TRL's trainer: prompts are sampled until a batch of groups with a reward difference is together."""

from __future__ import annotations

from typing import Any

from trl.data_utils import prepare_multimodal_messages

from .contract import Dapo
from .dapo import informative_groups, reserve_rows
from .packed_trainer import PackedGRPOTrainer


class DapoTrainer(PackedGRPOTrainer):
    """Chooses the step's groups, then lets TRL score exactly those: what it would generate is handed to it."""

    def __init__(self, *, judge: Any, algorithm: Dapo, total_steps: int, **rest: Any) -> None:
        self._judge = judge
        self._algorithm = algorithm
        self._total_steps = total_steps
        self._chosen: tuple[Any, ...] | None = None
        self._sampled = self._informative = 0
        super().__init__(**rest)

    @property
    def sampling(self) -> dict[str, float]:
        """Prompts sampled for the step, and how many of its groups have a reward difference."""
        return {"sampled_groups": float(self._sampled), "informative_groups": float(self._informative)}

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        if self._chosen is not None:
            return self._chosen
        return super()._generate(prompts)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        size = self.num_generations
        wanted = len(inputs) // size
        kept: list[tuple[dict[str, Any], tuple[Any, ...]]] = []
        spare: list[tuple[dict[str, Any], tuple[Any, ...]]] = []
        self._sampled = 0
        for refill in range(self._algorithm.max_generation_batches):
            candidates = inputs if refill == 0 else self._refill(refill, wanted)
            self._sampled += wanted
            rollouts = self._sample(candidates)
            good = set(informative_groups([judgement.correct for judgement in self._judge.judgements], size))
            for group in range(wanted):
                rows = slice(group * size, (group + 1) * size)
                (kept if group in good else spare).extend(zip(candidates[rows], rollouts[rows], strict=True))
            if len(kept) >= wanted * size:
                break
        self._informative = min(wanted, len(kept) // size)
        batch = [*kept, *spare][: wanted * size]
        self._chosen = tuple(_column([rollout[place] for _, rollout in batch]) for place in range(_FIELDS))
        try:
            return super()._generate_and_score_completions([example for example, _ in batch])
        finally:
            self._chosen = None

    def _refill(self, refill: int, wanted: int) -> list[dict[str, Any]]:
        rows = reserve_rows(
            self._algorithm,
            rows=len(self.train_dataset),
            batch=wanted,
            total_steps=self._total_steps,
            step=self.state.global_step,
            refill=refill,
        )
        return [self.train_dataset[row] for row in rows for _ in range(self.num_generations)]

    def _sample(self, candidates: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        """Rollouts of the candidates as TRL generates them, a row each, judged (the judge keeps the verdicts)."""
        prompts = [prepare_multimodal_messages(example["prompt"], images=example["images"]) for example in candidates]
        columns = super()._generate(prompts)
        completion_ids, completions = columns[1], columns[3]
        self._judge(
            completions,
            sample_id=[example["sample_id"] for example in candidates],
            completion_ids=completion_ids,
            trainer_state=self.state,
        )
        rows = len(candidates)
        return list(zip(*(_per_row(column, rows) for column in columns), strict=True))


_FIELDS = 8
"""Columns of TRL's `_generate`: prompts' ids, completions' ids, tool mask, completions, log-probs, extra fields, images, tool images."""


def _per_row(column: Any, rows: int) -> list[Any]:
    return list(column) if isinstance(column, list) and len(column) == rows else [column] * rows


def _column(values: list[Any]) -> Any:
    """The column of rows; one that does not differ by row (None, no extra fields, no tool images) is handed on as it is."""
    first = values[0]
    return first if first is None or first == {} or first == [] else values
