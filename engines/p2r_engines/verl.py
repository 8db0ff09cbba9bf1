"""
GRPO with veRL on a Ray cluster: `python -m p2r_engines.verl job.json`.

This process only looks after a Ray job: it submits it (or finds it running), follows its logs, merges what it saves into Hugging Face
weights, commits those, and stops it on SIGTERM. It may die at any time: the next one goes on with the same Ray job.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from . import checkpoints
from .contract import Cluster, EngineError, Exit, Job, Lease, write_json
from .engine_main import main
from .records import MetricsWriter, grpo_advantages, write_rollouts
from .rewards import RewardClient
from .verl_checkpoints import VerlCheckpoints
from .verl_config import ENTRY_POINT, Files, overrides, render
from .verl_dataset import write_verl_rows
from .verl_logs import Dump, StepLog, metrics_row, read_dump
from .verl_ray import RayJob, RayJobs

REWARD_FUNCTION = Path(__file__).with_name("verl_reward.py")

# Longest wait for a stopped Ray job to be over.
STOP_SECONDS = 120.0

# glibc keeps freed memory of decoded images otherwise, until the node is out of it.
JOB_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "NCCL_DEBUG": "WARN",
    "HYDRA_FULL_ERROR": "1",
}


@dataclass(frozen=True)
class Submission:
    """One Ray job of a phase; a new one follows when the last is over and steps are missing. Its files outlive this process."""

    number: int
    directory: Path
    submission_id: str

    @property
    def log(self) -> Path:
        """veRL opens this file anew at every start: each submission has its own."""
        return self.directory / "metrics.jsonl"

    @property
    def rollouts(self) -> Path:
        return self.directory / "rollouts"


class Phase:
    """A phase on the cluster; everything it knows is on the disk or with Ray."""

    def __init__(self, job: Job, cluster: Cluster) -> None:
        self.job = job
        self.cluster = cluster
        self.lease = Lease(job.lease)
        self.directory = job.phase_dir / "verl"
        self.saved = VerlCheckpoints(self.directory / "checkpoints", cluster.nodes * cluster.gpus_per_node)
        self.jobs = RayJobs(cluster.ray, os.environ.get("RAY_AUTH_TOKEN"))
        self.rewards = RewardClient(job.reward, job.role)
        self.metrics = MetricsWriter(job, self.lease)
        self.stopping = threading.Event()
        self._printed = 0

    def train(self) -> Exit:
        """Looks after Ray jobs until the last step is committed or SIGTERM asks to stop."""
        submission = self._attach_or_submit()
        log = StepLog(submission.log)
        start = self.saved.latest() or 0
        while True:
            self.lease.check()
            ray_job = self.jobs.find(submission.submission_id)
            over = ray_job is None or not ray_job.running
            self._print_new_logs(submission)
            self._record_steps(submission, log, over=over)
            self._commit_saved()
            # veRL logs its last step after it has saved it.
            if over and self._committed() >= self.job.hyperparameters.total_steps:
                return Exit.DONE
            if over:
                self._raise_unfinished(submission, ray_job, start)
            if self.stopping.wait(self.cluster.poll_seconds):
                return self._stop(submission, log)

    def _attach_or_submit(self) -> Submission:
        last = self._last_submission()
        if last is not None:
            known = self.jobs.find(last.submission_id)
            if known is not None and known.running:
                print(f"going on with Ray job {last.submission_id}", flush=True)
                return last
            if known is None and not last.log.exists():
                return self._submit(last)
        number = 1 if last is None else last.number + 1
        return self._submit(self._submission(number))

    def _submission(self, number: int) -> Submission:
        return Submission(number, self.directory / "submissions" / str(number), f"{self.job.phase_dir.name}-{number}")

    def _last_submission(self) -> Submission | None:
        numbers = [int(path.name) for path in (self.directory / "submissions").glob("*") if path.name.isdigit()]
        return self._submission(max(numbers)) if numbers else None

    def _submit(self, submission: Submission) -> Submission:
        files = Files(
            train=self.directory / "train.parquet",
            validation=self.directory / "validation.parquet",
            checkpoints=self.saved.directory,
            rollouts=submission.rollouts,
            reward_function=REWARD_FUNCTION,
        )
        gpus = self.cluster.nodes * self.cluster.gpus_per_node
        rows = write_verl_rows(self.job.dataset, files.train, files.validation, gpus)
        keys = render(self.job, self.cluster, files, rows)
        self.saved.repair()
        submission.rollouts.mkdir(parents=True, exist_ok=True)
        self.lease.check()
        write_json(submission.directory / "config.json", keys)
        entrypoint = f"{shlex.quote(self.cluster.python)} -m {ENTRY_POINT} {shlex.join(overrides(keys))}"
        environment = {**JOB_ENVIRONMENT, "VERL_FILE_LOGGER_PATH": str(submission.log)}
        self.jobs.submit(submission.submission_id, entrypoint, environment, {"p2r_phase": self.job.phase_dir.name})
        print(f"submitted Ray job {submission.submission_id}", flush=True)
        return submission

    def _committed(self) -> int:
        return max(checkpoints.committed_steps(self.job.phase_dir), default=0)

    def _print_new_logs(self, submission: Submission) -> None:
        text = self.jobs.logs(submission.submission_id)
        sys.stdout.write(text[self._printed :])
        sys.stdout.flush()
        self._printed = len(text)

    def _record_steps(self, submission: Submission, log: StepLog, *, over: bool) -> None:
        """Rollouts and metrics of the steps that are logged; a step's rollouts are dumped a little later than its log line."""
        h = self.job.hyperparameters
        for step, values in log.take(lambda step: over or self._dump(submission, step) is not None):
            dumped = self._dump(submission, step)
            if dumped is None:
                self.metrics.write(step, metrics_row(values, None, h.rollout_n))
                continue
            # The service remembers what it said during the step; the score is what veRL made of it (DAPO takes its penalty off).
            judged = self.rewards.judge(step, dumped.completions)
            judgements = [one.model_copy(update={"reward": score}) for one, score in zip(judged, dumped.scores, strict=True)]
            advantages = grpo_advantages(judgements, h.rollout_n, 1e-6)
            write_rollouts(self.lease, self.job.phase_dir, step, dumped.completions, judgements, advantages)
            self.metrics.write(step, metrics_row(values, judgements, h.rollout_n))

    def _dump(self, submission: Submission, step: int) -> Dump | None:
        h = self.job.hyperparameters
        return read_dump(submission.rollouts / f"{step}.jsonl", h.train_batch_size * h.rollout_n)

    def _commit_saved(self) -> None:
        """Merges and commits every checkpoint that veRL has finished and that is not committed yet."""
        for step in self.saved.steps():
            if step > self._committed():
                merged = self._merge(step)
                checkpoints.commit(self.job, self.lease, step, lambda directory, merged=merged: self._publish(merged, directory))

    def _merge(self, step: int) -> Path:
        """Hugging Face weights of a saved step, made by a Ray job of their own. Raises EngineError('MergeFailed')."""
        target = self.directory / "merged" / f"step-{step:06d}"
        entrypoint = (
            f"{shlex.quote(self.cluster.python)} -m verl.model_merger merge --backend fsdp "
            f"--local_dir {shlex.quote(str(self.saved.actor(step)))} --target_dir {shlex.quote(str(target))}"
        )
        for tries in range(1, 4):
            submission_id = f"{self.job.phase_dir.name}-merge-{step}-{tries}"
            done = self.jobs.submit(submission_id, entrypoint, {"HF_HUB_OFFLINE": "1"}, {"p2r_phase": self.job.phase_dir.name})
            while done is not None and done.running:
                self.stopping.wait(min(1.0, self.cluster.poll_seconds))
                self.lease.check()
                done = self.jobs.find(submission_id)
            if done is not None and done.status == "SUCCEEDED" and any(target.glob("*.safetensors")):
                return target
        tail = (self.jobs.logs(submission_id).strip().splitlines() or ["it said nothing"])[-1]
        raise EngineError("MergeFailed", f"the checkpoint of step {step} could not be merged: {tail[:500]}")

    def _publish(self, merged: Path, directory: Path) -> None:
        for path in sorted(merged.iterdir()):
            shutil.copyfile(path, directory / path.name)
        checkpoints.copy_processor_files(self.job.model, directory)

    def _raise_unfinished(self, submission: Submission, ray_job: RayJob | None, start: int) -> None:
        total = self.job.hyperparameters.total_steps
        reached = self.saved.latest() or 0
        if ray_job is None:
            raise EngineError("RayJobLost", f"the Ray head no longer knows {submission.submission_id}: the next attempt submits a new job.")
        if ray_job.status == "SUCCEEDED":
            moved = "trained no step" if reached == start else f"ended at step {reached}"
            raise EngineError(
                "StepsMissing", f"veRL reported success but {moved} of {total}: look for filtered rows or an epoch's end in its log."
            )
        last_line = ((ray_job.message or "").strip().splitlines() or ["it said nothing"])[-1]
        raise EngineError("RayJobFailed", f"Ray job {submission.submission_id} is {ray_job.status}: {last_line[:500]}")

    def _stop(self, submission: Submission, log: StepLog) -> Exit:
        self.jobs.stop(submission.submission_id)
        waited = threading.Event()
        for _ in range(int(STOP_SECONDS / 0.5)):
            known = self.jobs.find(submission.submission_id)
            if known is None or not known.running:
                break
            waited.wait(0.5)
        self._print_new_logs(submission)
        self._record_steps(submission, log, over=True)
        self._commit_saved()
        return Exit.STOPPED


def run(job: Job) -> Exit:
    """Trains on the cluster until every step is committed, or until SIGTERM stops the Ray job."""
    if job.cluster is None:
        raise EngineError("ConfigInvalid", "job.json names no cluster: veRL needs one.")
    phase = Phase(job, job.cluster)
    phase.lease.check()
    signal.signal(signal.SIGTERM, lambda _number, _frame: phase.stopping.set())
    newest = checkpoints.newest_verified(job.phase_dir, lambda text: print(text, flush=True))
    if newest is not None and newest[0] >= job.hyperparameters.total_steps:
        return Exit.DONE
    return phase.train()


if __name__ == "__main__":
    main(run)
