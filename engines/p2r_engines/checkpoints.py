"""Checkpoints that exist or do not: files, fsync, marker, rename."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ValidationError

from .contract import Job, Lease, fsync_file, write_json

MARKER = "COMMITTED.json"

# Files that say how images and text become tokens. Trainers re-save them in another layout; the checkpoint keeps the original bytes, so
# that every server sees the same pixel budget and template.
PROCESSOR_FILES = (
    "chat_template.jinja",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
)


class _File(BaseModel):
    path: str
    size: int
    sha256: str


class _Marker(BaseModel):
    step: int
    files: list[_File]
    lease_token: int
    job_id: str
    created_at: float


def copy_processor_files(model: Path, directory: Path) -> None:
    """Copies the processor files that the model has; others of the same name are overwritten."""
    for name in PROCESSOR_FILES:
        source = model / name
        if source.exists():
            shutil.copyfile(source, directory / name)


def checkpoint_dir(phase_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return phase_dir / "checkpoints" / f"step-{step:06d}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit(job: Job, lease: Lease, step: int, write: Callable[[Path], None]) -> Path:
    """Lets `write` fill a staging directory and publishes it as the checkpoint of `step`."""
    final = checkpoint_dir(job.phase_dir, step)
    staging = final.with_name(f".{final.name}.{job.attempt}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    write(staging)
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    for path in files:
        fsync_file(path)
    listed = [{"path": str(path.relative_to(staging)), "size": path.stat().st_size, "sha256": _sha256(path)} for path in files]
    lease.check()
    write_json(
        staging / MARKER,
        {
            "step": step,
            "files": listed,
            "lease_token": lease.token,
            "job_id": job.job_id,
            "created_at": time.time(),
        },
    )
    if final.exists():
        shutil.rmtree(final)
    staging.rename(final)
    fsync_file(final.parent)
    return final


def fault(directory: Path) -> str | None:
    """Why a checkpoint may not be used, or None when every file has its recorded size and hash."""
    try:
        marker = _Marker.model_validate_json((directory / MARKER).read_text())
    except (OSError, ValidationError) as error:
        return f"{directory / MARKER} is not readable: {error.__class__.__name__}"
    for file in marker.files:
        path = directory / file.path
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != file.size:
            return f"{path} has {path.stat().st_size} bytes instead of {file.size}"
        if _sha256(path) != file.sha256:
            return f"{path} does not have the recorded sha256"
    return None


def committed_steps(phase_dir: Path) -> list[int]:
    """Steps with a marker, newest first; files are not verified."""
    found = (phase_dir / "checkpoints").glob(f"step-*/{MARKER}")
    names = [path.parent.name.removeprefix("step-") for path in found]
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def newest_verified(phase_dir: Path, report: Callable[[str], None]) -> tuple[int, Path] | None:
    """The newest usable checkpoint. Corrupt ones are renamed aside and reported; leftover staging is removed."""
    for leftover in (phase_dir / "checkpoints").glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for step in committed_steps(phase_dir):
        directory = checkpoint_dir(phase_dir, step)
        why = fault(directory)
        if why is None:
            return step, directory
        number = 1
        while (aside := directory.with_name(f"{directory.name}.corrupt-{number}")).exists():
            number += 1
        directory.rename(aside)
        report(f"checkpoint of step {step} set aside as {aside.name}: {why}")
    return None
