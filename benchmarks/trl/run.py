"""Throughput of the TRL engine in a real perceiver phase, on a GPU or on the CPU.

    PYTHONPATH=engines python benchmarks/trl/run.py --device cuda --dtype bfloat16 --batch 64 --micro 16 --steps 20

Needle scenes are drawn, the frozen reasoner is served (p2r_engines.serve, on CPU cores), the reward service judges with it
(activities/rewards/main.ts), and the engine takes its optimiser steps and commits its checkpoint: what `p2r run` does, without Temporal.
Prints one JSON object; --out writes it as well.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from p2r_engines.needle_scenes import KINDS
from p2r_engines.needle_scenes.dataset import write_dataset
from p2r_engines.pretraining.role_text import instruction

PROJECT = Path(__file__).parents[2]
START_SECONDS = 180
PINNED_NODE = PROJECT / "node_modules" / ".bin" / "node"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the TRL engine in a perceiver phase on needle scenes.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--model", type=Path, default=PROJECT / "models" / "tiny", help="trained, and frozen as the reasoner")
    parser.add_argument("--batch", type=int, default=8, help="prompts a step")
    parser.add_argument("--micro", type=int, default=8, help="prompts computed at a time")
    parser.add_argument("--rollouts", type=int, default=8, help="completions a prompt")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["letter"], help="of questions, in turn")
    parser.add_argument("--response-tokens", type=int, default=100, help="most of a completion")
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads of the engine, and serving processes")
    parser.add_argument("--node", default=str(PINNED_NODE) if PINNED_NODE.exists() else "node", help="Node 24 for the reward service")
    parser.add_argument("--keep", type=Path, help="folder to leave the phase in (default: a temporary one, deleted)")
    parser.add_argument("--out", type=Path, help="file for the result")
    return parser.parse_args()


def _write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2))
    return path


def _service(stack: ExitStack, command: list[str], ready: Path, log: Path, **environment: str) -> str:
    """Starts a service that is stopped with `stack`; its address, once it has written the ready file."""
    process = subprocess.Popen(
        command, stdout=stack.enter_context(log.open("w")), stderr=subprocess.STDOUT, cwd=PROJECT, env={**os.environ, **environment}
    )

    def stop() -> None:
        process.terminate()
        process.wait(20)

    stack.callback(stop)
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{' '.join(command[:3])} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)
    return str(json.loads(ready.read_text())["url"])


def _training_set(scenes: Path, file: Path) -> None:
    rows = [json.loads(line) for line in (scenes / "rows.jsonl").read_text().splitlines()]
    table = {
        "sample_id": [row["sample_id"] for row in rows],
        "system": ["You are a helpful assistant."] * len(rows),
        "user": [instruction(row["question"], "perceiver") for row in rows],
        "images": [[str(scenes / row["image"])] for row in rows],
    }
    pq.write_table(pa.table(table), file)


def _serve(stack: ExitStack, options: argparse.Namespace, home: Path, scenes: Path) -> Path:
    """Frozen reasoner and reward service; the reward endpoint's file."""
    token = secrets.token_hex(16)
    ready = home / "model-ready.json"
    command = [sys.executable, "-m", "p2r_engines.serve", "--model", str(options.model), "--served-model-name", "frozen"]
    command += ["--threads", str(options.threads), "--ready-file", str(ready)]
    url = _service(stack, command, ready, home / "serving.log", P2R_SERVE_TOKEN=token)
    endpoint = _write_json(home / "model.json", {"url": f"{url.removesuffix('/v1')}/v1", "model": "frozen", "token": token})
    ready = home / "rewards-ready.json"
    config = {
        "role": "perceiver",
        "scenes": str(scenes),
        "perceptions_file": str(home / "perceptions.jsonl"),
        "model_endpoint_file": str(endpoint),
        "ready_file": str(ready),
        "host": "127.0.0.1",
        "token": token,
        "judgements_files": [str(home / "judgements.jsonl")],
        "context": "benchmark",
        "prompt_set": "paper",
        "image_rules": "tiny",
        "extractor": "p2r@1",
        "perceiver_max_tokens": options.response_tokens,
        "reasoner_max_tokens": 60,
        "concurrency": 16 * options.threads,
    }
    file = _write_json(home / "rewards.json", config)
    url = _service(stack, [options.node, "activities/rewards/main.ts", str(file)], ready, home / "rewards.log")
    return _write_json(home / "reward-endpoint.json", {"url": url, "token": token})


def _job(options: argparse.Namespace, home: Path, endpoint: Path) -> Path:
    phase = home / "phase"
    lease = {"file": str(_write_json(phase / "lease.json", {"token": 1})), "token": 1}
    hyperparameters = {
        "train_batch_size": options.batch,
        "rollout_n": options.rollouts,
        "ppo_mini_batch_size": options.batch,
        "ppo_micro_batch_size": options.micro,
        "lr": options.lr,
        "weight_decay": 0,
        "grad_clip": 1,
        "kl_loss_coef": 0.01,
        "kl_loss_type": "low_var_kl",
        "entropy_coeff": 0,
        "clip_ratio": 0.2,
        "loss_agg_mode": "token-mean",
        "temperature": 1,
        "max_prompt_length": 512,
        "max_response_length": options.response_tokens,
        "total_steps": options.steps,
        "save_freq": options.steps,
    }
    job = {
        "job_id": "benchmark/1",
        "role": "perceiver",
        "algorithm": {"name": "grpo"},
        "model": str(options.model.absolute()),
        "dataset": str(home / "train.parquet"),
        "phase_dir": str(phase),
        "attempt": 1,
        "seed": options.seed,
        "device": options.device,
        "dtype": options.dtype,
        "threads": options.threads,
        "reward": {"endpoint_file": str(endpoint), "deadline_seconds": 120},
        "lease": lease,
        "hyperparameters": hyperparameters,
    }
    return _write_json(phase / "attempts" / "1" / "job.json", job)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _summary(options: argparse.Namespace, phase: Path, seconds: float) -> dict[str, Any]:
    import torch

    rows = [json.loads(line) for line in (phase / "attempts" / "1" / "metrics.jsonl").read_text().splitlines()]
    # The first step compiles, loads kernels and fills memory pools.
    steady = rows[1:] or rows
    completions = options.batch * options.rollouts
    spent = sum(row["step_seconds"] for row in steady)
    tokens = sum(row["completion_length"] * completions for row in steady)
    engine = spent - sum(row["reward_seconds"] for row in steady)
    return {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else _processor(),
        "dtype": options.dtype,
        "threads": options.threads,
        "torch": torch.__version__,
        "batch": options.batch,
        "micro": options.micro,
        "rollouts": options.rollouts,
        "steps": len(rows),
        "committed": (phase / "checkpoints" / f"step-{options.steps:06d}" / "COMMITTED.json").exists(),
        "phase_seconds": seconds,
        "first_step_seconds": rows[0]["step_seconds"],
        "step_seconds": statistics.fmean(row["step_seconds"] for row in steady),
        **{
            name: statistics.fmean(row[name] for row in steady)
            for name in ("generate_seconds", "reward_seconds", "update_seconds", "completion_length")
        },
        "steps_per_second": len(steady) / spent,
        "completions_per_second": len(steady) * completions / spent,
        "completion_tokens_per_second": tokens / spent,
        "completions_per_second_without_rewards": len(steady) * completions / engine,
        "gpu_memory_peak_bytes": rows[-1].get("gpu_memory_peak_bytes"),
        "reward_by_step": [row["reward_mean"] for row in rows],
        "iou_by_step": [row.get("iou") for row in rows],
        "kl_by_step": [row["kl"] for row in rows],
    }


def main() -> int:
    options = _options()
    home = options.keep or Path(tempfile.mkdtemp(prefix="p2r-bench-"))
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT / "engines"), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        scenes = home / "scenes"
        write_dataset(scenes, "train", options.batch * options.steps, options.seed, questions=1, kinds=options.kinds)
        _training_set(scenes, home / "train.parquet")
        with ExitStack() as stack:
            job = _job(options, home, _serve(stack, options, home, scenes))
            started = time.perf_counter()
            with (home / "engine.log").open("w") as log:
                code = subprocess.call([sys.executable, "-m", "p2r_engines.trl", str(job)], stdout=log, stderr=log, cwd=PROJECT)
            seconds = time.perf_counter() - started
        if code != 0:
            print((home / "engine.log").read_text()[-6000:], file=sys.stderr)
            return code
        result = json.dumps(_summary(options, home / "phase", seconds), indent=2)
    finally:
        if options.keep is None:
            shutil.rmtree(home, ignore_errors=True)
    print(result)
    if options.out is not None:
        options.out.write_text(result + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
