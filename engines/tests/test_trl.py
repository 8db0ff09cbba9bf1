"""The TRL engine end to end on the CPU: kill it, resume it, and the weights are the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from p2r_engines import checkpoints
from p2r_engines.contract import Exit, load_job
from p2r_engines.needle_scenes.dataset import write_dataset

ENGINES = Path(__file__).parents[1]
MODEL = ENGINES.parent / "models" / "tiny"
TOKEN = "secret"


class Rewards(BaseHTTPRequestHandler):
    """Rewards by the completion's hash; every third request is refused once, as a service does that is starting again."""

    seen = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Rewards.seen += 1
        if Rewards.seen % 3 == 0:
            self._answer(503, {"error": "not ready"})
            return
        judgements = [
            {
                "sample_id": c["sample_id"],
                "rollout": c["rollout"],
                "key": "k",
                "reward": float(hashlib.md5(c["text"].encode()).digest()[0] % 2),
                "terms": {},
                "metrics": {"iou": 0.5, "hit_rate": None},
                "boxes": [[0, 0, 1, 1]],
                "reasoner_text": None,
                "extracted_answer": "A",
                "correct": hashlib.md5(c["text"].encode()).digest()[0] % 2 == 1,
            }
            for c in body["completions"]
        ]
        self._answer(200, {"judgements": judgements})

    def _answer(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("scenes") / "train"
    write_dataset(directory, "train", count=8, seed=1, questions=1)
    return directory


@pytest.fixture(scope="module")
def reward_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Rewards)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def prepare(phase: Path, scenes: Path, reward_url: str, algorithm: dict[str, object] | None = None, steps: int = 4) -> None:
    """A phase directory with dataset, reward endpoint and the jobs of two attempts."""
    rows = [json.loads(line) for line in (scenes / "rows.jsonl").read_text().splitlines()]
    phase.mkdir()
    table = {
        "sample_id": [row["sample_id"] for row in rows],
        "system": ["You are a helpful assistant."] * len(rows),
        "user": [row["question"] + " Think step by step." for row in rows],
        "images": [[str(scenes / row["image"])] for row in rows],
    }
    pq.write_table(pa.table(table), phase / "train.parquet")
    (phase / "reward.json").write_text(json.dumps({"url": reward_url, "token": TOKEN}))
    for attempt in (1, 2):
        directory = phase / "attempts" / str(attempt)
        directory.mkdir(parents=True)
        job = {
            "job_id": f"test/{attempt}",
            "role": "perceiver",
            "algorithm": algorithm or {"name": "grpo"},
            "model": str(MODEL),
            "dataset": str(phase / "train.parquet"),
            "phase_dir": str(phase),
            "attempt": attempt,
            "seed": 3,
            "device": "cpu",
            "dtype": "float32",
            "threads": 1,
            "reward": {"endpoint_file": str(phase / "reward.json"), "deadline_seconds": 60},
            "lease": {"file": str(phase / "lease.json"), "token": attempt},
            "hyperparameters": {
                "train_batch_size": 2,
                "rollout_n": 2,
                "ppo_mini_batch_size": 2,
                "ppo_micro_batch_size": 2,
                "lr": 1e-4,
                "weight_decay": 0,
                "grad_clip": 1,
                "kl_loss_coef": 0.01,
                "kl_loss_type": "low_var_kl",
                "entropy_coeff": 0,
                "clip_ratio": 0.2,
                "loss_agg_mode": "token-mean",
                "temperature": 1,
                "max_prompt_length": 512,
                "max_response_length": 16,
                "total_steps": steps,
                "save_freq": 1,
            },
        }
        (directory / "job.json").write_text(json.dumps(job))


def take(phase: Path, attempt: int) -> subprocess.Popen[bytes]:
    """Takes the lease for an attempt and starts its trainer."""
    (phase / "lease.json").write_text(json.dumps({"token": attempt}))
    job = phase / "attempts" / str(attempt) / "job.json"
    with (job.parent / "log.txt").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "p2r_engines.trl", str(job)],
            env={**os.environ, "PYTHONPATH": str(ENGINES)},
            stdout=log,
            stderr=log,
        )


def wait_for(phase: Path, step: int) -> None:
    while step not in checkpoints.committed_steps(phase):
        time.sleep(0.05)


def weights(phase: Path, step: int) -> str:
    data = (checkpoints.checkpoint_dir(phase, step) / "model.safetensors").read_bytes()
    return hashlib.sha256(data).hexdigest()


def test_killed_and_resumed_gives_the_same_bytes(tmp_path: Path, scenes: Path, reward_url: str) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    prepare(straight, scenes, reward_url)
    prepare(broken, scenes, reward_url)
    assert take(straight, 1).wait() == Exit.DONE

    first = take(broken, 1)
    wait_for(broken, 2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    newest = checkpoints.checkpoint_dir(broken, max(checkpoints.committed_steps(broken)))
    with (newest / "optimizer.pt").open("r+b") as file:
        file.truncate(100)
    assert take(broken, 2).wait() == Exit.DONE

    assert weights(broken, 4) == weights(straight, 4)
    assert list(broken.glob("checkpoints/*.corrupt-1"))
    rows = [json.loads(line) for line in (straight / "attempts/1/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["hit_rate"] is None and row["iou"] == 0.5 for row in rows)
    rollouts = pq.read_table(straight / "rollouts" / "step-000001.parquet")
    assert rollouts.num_rows == 4
    again = take(straight, 2)
    assert again.wait() == Exit.DONE


def test_a_resumed_phase_takes_the_settings_of_its_job(tmp_path: Path, scenes: Path, reward_url: str) -> None:
    phase = tmp_path / "phase"
    prepare(phase, scenes, reward_url)
    for attempt, change in ((1, {"total_steps": 1}), (2, {"total_steps": 2, "lr": 3e-6, "weight_decay": 0.1})):
        path = phase / "attempts" / str(attempt) / "job.json"
        job = json.loads(path.read_text())
        job["hyperparameters"] |= change
        path.write_text(json.dumps(job))
        assert take(phase, attempt).wait() == Exit.DONE
    (row,) = [json.loads(line) for line in (phase / "attempts/2/metrics.jsonl").read_text().splitlines()]
    assert (row["step"], row["lr"]) == (2, 3e-6)
    saved = torch.load(checkpoints.checkpoint_dir(phase, 2) / "optimizer.pt", weights_only=True)
    assert {group["weight_decay"] for group in saved["param_groups"]} == {0.1, 0.0}


def test_dapo_fills_its_batch_and_resumes_to_the_same_bytes(tmp_path: Path, scenes: Path, reward_url: str) -> None:
    dapo = {"name": "dapo", "clip_ratio_high": 0.28, "max_generation_batches": 4, "overlong_buffer": 8, "overlong_penalty": 1.0}
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    prepare(straight, scenes, reward_url, dapo, steps=2)
    prepare(broken, scenes, reward_url, dapo, steps=2)
    assert take(straight, 1).wait() == Exit.DONE
    rows = [json.loads(line) for line in (straight / "attempts/1/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert any(row["sampled_groups"] > 2 for row in rows)
    for row in rows:
        rollouts = pq.read_table(straight / "rollouts" / f"step-{row['step']:06d}.parquet").to_pydict()
        right = [rollouts["correct"][:2], rollouts["correct"][2:]]
        assert row["informative_groups"] == sum(len(set(group)) == 2 for group in right)
        assert row["sampled_groups"] == 8 or row["informative_groups"] == 2
        costs = [correct - reward for correct, reward in zip(rollouts["correct"], rollouts["reward"], strict=True)]
        assert all(0 <= cost <= 1 for cost in costs)
        assert row["overlong_penalty"] == pytest.approx(sum(costs) / 4)
        assert row["overlong_penalty"] > 0.5  # nearly every completion runs to its limit of 16 tokens

    first = take(broken, 1)
    wait_for(broken, 1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert take(broken, 2).wait() == Exit.DONE
    assert weights(broken, 2) == weights(straight, 2)


def test_sigterm_commits_and_a_lost_lease_fences(tmp_path: Path, scenes: Path, reward_url: str) -> None:
    phase = tmp_path / "phase"
    prepare(phase, scenes, reward_url)
    trainer = take(phase, 1)
    wait_for(phase, 1)
    trainer.send_signal(signal.SIGTERM)
    assert trainer.wait() in (Exit.STOPPED, Exit.DONE)
    committed = checkpoints.committed_steps(phase)
    rows = [json.loads(line) for line in (phase / "attempts/1/metrics.jsonl").read_text().splitlines()]
    assert committed[0] == rows[-1]["step"]

    (phase / "lease.json").write_text(json.dumps({"token": 9}))
    job = phase / "attempts" / "2" / "job.json"
    fenced = subprocess.run(
        [sys.executable, "-m", "p2r_engines.trl", str(job)],
        env={**os.environ, "PYTHONPATH": str(ENGINES)},
        check=False,
    )
    assert fenced.returncode == Exit.FENCED
    assert checkpoints.committed_steps(phase) == committed


def test_an_unknown_key_is_named(tmp_path: Path, scenes: Path, reward_url: str) -> None:
    phase = tmp_path / "phase"
    prepare(phase, scenes, reward_url)
    path = phase / "attempts" / "1" / "job.json"
    job = json.loads(path.read_text())
    job["hyperparameters"]["learning_rate"] = 1
    path.write_text(json.dumps(job))
    with pytest.raises(Exception, match=r"hyperparameters\.learning_rate"):
        load_job(path)
    assert take(phase, 1).wait() == Exit.FAILED
    assert "learning_rate" in json.loads((path.parent / "error.json").read_text())["message"]
