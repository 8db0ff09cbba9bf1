"""The part of an engine's process that every engine shares: reading the job, and saying what went wrong."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .contract import EngineError, Exit, FencedError, Job, load_job, write_json


def _error_type(error: BaseException) -> tuple[str, str]:
    if isinstance(error, EngineError):
        return error.kind, str(error)
    if isinstance(error, OSError) and error.errno == 28:
        return (
            "DiskFull",
            f"no space left on the disk while writing {error.filename}: free some and retry the phase.",
        )
    if "out of memory" in str(error).lower():
        return (
            "CudaOutOfMemory",
            "the device ran out of memory: lower ppo_micro_batch_size or max_response_length.",
        )
    return "Unknown", f"{error.__class__.__name__}: {str(error)[:300]}"


def main(run: Callable[[Job], Exit]) -> None:
    """Runs the job of the command line. What went wrong is in error.json beside it, and in the exit code."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    path = Path(sys.argv[1])
    try:
        job = load_job(path)
    except EngineError as error:
        write_json(path.with_name("error.json"), {"type": error.kind, "message": str(error), "detail": ""})
        print(error, file=sys.stderr)
        sys.exit(Exit.FAILED)
    try:
        code = run(job)
    except FencedError as error:
        print(error, file=sys.stderr)
        code = Exit.FENCED
    except BaseException as error:
        kind, message = _error_type(error)
        detail = "".join(traceback.format_exception(error))[-8000:]
        print(detail, file=sys.stderr)
        write_json(job.attempt_dir / "error.json", {"type": kind, "message": message, "detail": detail})
        code = Exit.FAILED
    sys.stderr.flush()
    os._exit(code)
