"""What every engine reads (job.json), writes (metrics, checkpoints, errors) and answers (exit codes)."""

from __future__ import annotations

import json
import os
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Exit(IntEnum):
    """Exit codes of an engine."""

    DONE = 0
    FAILED = 1
    STOPPED = 75
    FENCED = 76


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hyperparameters(Strict):
    """Names of the paper's Table 6; batch sizes count prompts, lengths count tokens."""

    train_batch_size: int = Field(ge=1)
    rollout_n: int = Field(ge=2)
    ppo_mini_batch_size: int = Field(ge=1)
    ppo_micro_batch_size: int = Field(ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    grad_clip: float = Field(gt=0)
    kl_loss_coef: float = Field(ge=0)
    kl_loss_type: Literal["low_var_kl"]
    entropy_coeff: Literal[0]
    clip_ratio: float = Field(gt=0, le=1)
    loss_agg_mode: Literal["token-mean"]
    temperature: float = Field(gt=0)
    max_prompt_length: int = Field(ge=1)
    max_response_length: int = Field(ge=1)
    total_steps: int = Field(ge=1)
    save_freq: int = Field(ge=1)


class Grpo(Strict):
    """GRPO as the paper's Equation 5 has it."""

    name: Literal["grpo"]


class Dapo(Strict):
    """What DAPO adds (arXiv 2503.14476); the KL term it leaves out is `kl_loss_coef: 0`, its token-level loss is `token-mean`."""

    name: Literal["dapo"]
    clip_ratio_high: float = Field(gt=0, le=1)
    """Upper clip range, above the lower one (`clip_ratio`)."""
    max_generation_batches: int = Field(ge=1)
    """Batches of prompts sampled at most for one step while groups without a reward difference are left out."""
    overlong_buffer: int = Field(ge=0)
    """Last tokens of the response length over which a penalty grows from 0 to `overlong_penalty`; 0 switches it off."""
    overlong_penalty: float = Field(ge=0)


Algorithm = Annotated[Grpo | Dapo, Field(discriminator="name")]


class RewardSource(Strict):
    """Where rewards come from: a JSON file {url, token} that is read again before every try."""

    endpoint_file: Path
    deadline_seconds: float = Field(gt=0)


class Cluster(Strict):
    """Where and how veRL runs. Directories of the job must lie on a file system that every node sees under the same path."""

    ray: str
    """Address of the Ray head's dashboard; its token, when it wants one, is in RAY_AUTH_TOKEN."""
    version: Literal["0.9", "0.8"]
    python: str
    """Interpreter with veRL on the cluster's nodes."""
    nodes: int = Field(ge=1)
    gpus_per_node: int = Field(ge=1)
    tensor_parallel: int = Field(ge=1)
    gpu_memory_utilization: float = Field(gt=0, le=1)
    param_offload: bool
    optimizer_offload: bool
    poll_seconds: float = Field(gt=0)


class LeaseRef(Strict):
    """The phase's lease file and the token under which this attempt may write."""

    file: Path
    token: int


class Job(Strict):
    """One attempt at one training phase."""

    job_id: str
    role: Literal["perceiver", "reasoner", "direct"]
    algorithm: Algorithm
    model: Path
    dataset: Path
    phase_dir: Path
    attempt: int = Field(ge=1)
    seed: int = Field(ge=0)
    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16"]
    threads: int = Field(ge=1)
    cluster: Cluster | None = None
    """Given for veRL."""
    reward: RewardSource
    lease: LeaseRef
    hyperparameters: Hyperparameters

    @property
    def attempt_dir(self) -> Path:
        return self.phase_dir / "attempts" / str(self.attempt)


class EngineError(Exception):
    """A failure with a type the platform knows and one sentence that names the thing and the remedy."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class FencedError(EngineError):
    """Another attempt has taken the phase over."""

    def __init__(self, held: int, current: int) -> None:
        super().__init__("Fenced", f"lease token {held} was superseded by {current}: another trainer owns the phase now.")


class Lease:
    """Guards every write of an attempt by its fencing token."""

    def __init__(self, ref: LeaseRef) -> None:
        self._ref = ref

    @property
    def token(self) -> int:
        return self._ref.token

    def check(self) -> None:
        """Raises FencedError when the token on disk is no longer ours."""
        current = int(json.loads(self._ref.file.read_text())["token"])
        if current != self._ref.token:
            raise FencedError(self._ref.token, current)


def load_job(path: Path) -> Job:
    """Reads job.json; the error names the first wrong key."""
    try:
        return Job.model_validate_json(path.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise EngineError("ConfigInvalid", f"{path}: {key}: {first['msg']}.") from error


def fsync_file(path: Path) -> None:
    """Waits until a file (or a directory's entries) is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Writes JSON by fsync and rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync_file(path.parent)
