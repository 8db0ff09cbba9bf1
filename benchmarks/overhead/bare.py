"""The TRL engine alone: `bare.py JOB ROLLOUTS`. Rewards come from a table in the process, made from the rollouts of an earlier run."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from p2r_engines import trl
from p2r_engines.engine_main import main
from p2r_engines.rewards import Completion, Judgement, RewardClient

METRICS = ("hit_rate", "iou", "box_count", "box_size")


class KnownRewards(RewardClient):
    """Looks judgements up; a completion that the earlier run has not seen is an error, as the two would not be the same work."""

    def __init__(self, rollouts: Path) -> None:
        self._known: dict[tuple[str, str], dict[str, object]] = {}
        for file in sorted(rollouts.glob("step-*.parquet")):
            for row in pq.read_table(file).to_pylist():
                self._known[(row["sample_id"], row["completion"])] = row

    def judge(self, step: int, completions: list[Completion]) -> list[Judgement]:
        judgements = []
        for completion in completions:
            row = self._known[(completion.sample_id, completion.text)]
            judgements.append(
                Judgement.model_validate(
                    row
                    | {
                        "rollout": completion.rollout,
                        "key": row["judgement_key"],
                        "metrics": {name: row[name] for name in METRICS},
                    }
                )
            )
        return judgements


if __name__ == "__main__":
    rewards = KnownRewards(Path(sys.argv[2]))
    trl.RewardClient = lambda *_: rewards  # type: ignore[misc, assignment]
    main(trl.run)
