"""The files an attempt leaves behind: one metrics line a step, one rollout file a step."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .contract import Job, Lease
from .rewards import Completion, Judgement


def mean_metrics(judgements: list[Judgement]) -> dict[str, float | None]:
    """Batch means of the judgements' metrics; a null is left out, a metric with nulls only stays null."""
    names = sorted({name for judgement in judgements for name in judgement.metrics})
    means: dict[str, float | None] = {}
    for name in names:
        values = [v for j in judgements if (v := j.metrics.get(name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    return means


def grpo_advantages(judgements: list[Judgement], group: int, epsilon: float) -> list[float]:
    """Equation 4 of the paper over groups of `group` rewards in a row, with the trainer's epsilon (1e-4 in TRL, 1e-6 in veRL)."""
    advantages: list[float] = []
    for start in range(0, len(judgements), group):
        rewards = [judgement.reward for judgement in judgements[start : start + group]]
        mean = sum(rewards) / len(rewards)
        std = (sum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1)) ** 0.5
        advantages += [(reward - mean) / (std + epsilon) for reward in rewards]
    return advantages


CURVE = "metrics.jsonl"


class MetricsWriter:
    """Appends to attempts/<n>/metrics.jsonl; a line is on the disk when `write` returns."""

    def __init__(self, job: Job, lease: Lease, resume: Path | None = None) -> None:
        """`resume`: the checkpoint that training goes on from, which holds the curve up to it."""
        self._path = job.attempt_dir / "metrics.jsonl"
        self._lease = lease
        curve = None if resume is None else resume / CURVE
        self._curve = curve.read_text() if curve is not None and curve.exists() else ""

    def write_curve(self, directory: Path) -> None:
        """Writes every line so far into a checkpoint, whose marker vouches for it."""
        (directory / CURVE).write_text(self._curve)

    def write(self, step: int, values: dict[str, float | None]) -> None:
        row: dict[str, float | int | None] = {"step": step, "time": time.time()}
        row |= {name: v if v is None or math.isfinite(v) else None for name, v in values.items()}
        line = json.dumps(row) + "\n"
        self._lease.check()
        with self._path.open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._curve += line


def write_rollouts(
    lease: Lease,
    phase_dir: Path,
    step: int,
    completions: list[Completion],
    judgements: list[Judgement],
    advantages: list[float],
) -> None:
    """Writes rollouts/step-<n>.parquet by rename."""
    directory = phase_dir / "rollouts"
    directory.mkdir(exist_ok=True)

    def metric(name: str) -> list[float | None]:
        return [j.metrics.get(name) for j in judgements]

    table = pa.table(
        {
            "step": pa.array([step] * len(completions), pa.int32()),
            "sample_id": [c.sample_id for c in completions],
            "rollout": pa.array([c.rollout for c in completions], pa.int32()),
            "completion": [c.text for c in completions],
            "reward": pa.array([j.reward for j in judgements], pa.float64()),
            "advantage": pa.array(advantages, pa.float64()),
            "correct": [j.correct for j in judgements],
            "hit_rate": pa.array(metric("hit_rate"), pa.float64()),
            "iou": pa.array(metric("iou"), pa.float64()),
            "box_count": pa.array(metric("box_count"), pa.float64()),
            "box_size": pa.array(metric("box_size"), pa.float64()),
            "boxes": pa.array([j.boxes for j in judgements], pa.list_(pa.list_(pa.float64()))),
            "reasoner_text": pa.array([j.reasoner_text for j in judgements], pa.string()),
            "extracted_answer": pa.array([j.extracted_answer for j in judgements], pa.string()),
            "judgement_key": [j.key for j in judgements],
        }
    )
    final = directory / f"step-{step:06d}.parquet"
    temporary = directory / f".{final.name}.{os.getpid()}"
    pq.write_table(table, temporary)
    lease.check()
    temporary.replace(final)
