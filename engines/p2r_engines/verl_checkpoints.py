"""veRL's own checkpoints on the shared file system: which are whole, and what its tracker file says."""

from __future__ import annotations

import os
from pathlib import Path

from .contract import EngineError

TRACKER = "latest_checkpointed_iteration.txt"
PARTS = ("model", "optim", "extra_state")


class VerlCheckpoints:
    """`<directory>/global_step_N/{data.pt,actor/...}` of `world_size` ranks; the tracker is what veRL resumes from."""

    def __init__(self, directory: Path, world_size: int) -> None:
        self.directory = directory
        self._world_size = world_size

    def actor(self, step: int) -> Path:
        return self.directory / f"global_step_{step}" / "actor"

    def latest(self) -> int | None:
        """The step in the tracker; None when there is none (veRL writes it in place: a crash can leave it empty)."""
        try:
            return int((self.directory / TRACKER).read_text().strip())
        except (OSError, ValueError):
            return None

    def steps(self) -> list[int]:
        """Steps that veRL has finished saving, ascending: whole, and not newer than the tracker."""
        latest = self.latest()
        return [step for step in self._present() if latest is not None and step <= latest and self._whole(step)]

    def repair(self) -> None:
        """
        Before a start, points the tracker at the newest whole checkpoint: veRL would fail on an empty one and on a step whose files are
        missing. Raises EngineError('ConfigInvalid') when checkpoints are of another number of GPUs, which veRL cannot resume.
        """
        present = self._present()
        for step in present:
            foreign = [p.name for p in self.actor(step).glob("model_world_size_*") if f"world_size_{self._world_size}_" not in p.name]
            if foreign:
                raise EngineError(
                    "ConfigInvalid", f"{foreign[0]} of step {step} is not of {self._world_size} GPUs: train on as many as before, or anew."
                )
        whole = [step for step in present if self._whole(step)]
        if whole and self.latest() not in whole:
            temporary = self.directory / f".{TRACKER}.{os.getpid()}"
            temporary.write_text(str(whole[-1]))
            temporary.replace(self.directory / TRACKER)
        elif not whole:
            (self.directory / TRACKER).unlink(missing_ok=True)

    def _present(self) -> list[int]:
        names = [path.name.removeprefix("global_step_") for path in self.directory.glob("global_step_*")]
        return sorted(int(name) for name in names if name.isdigit())

    def _whole(self, step: int) -> bool:
        ranks = [f"world_size_{self._world_size}_rank_{rank}.pt" for rank in range(self._world_size)]
        files = [self.actor(step) / f"{part}_{rank}" for part in PARTS for rank in ranks]
        return all(path.is_file() for path in [*files, self.directory / f"global_step_{step}" / "data.pt"])
