"""The veRL engine against a real Ray head on this machine, with a stand-in for veRL itself (`npm run setup:cluster` installs Ray)."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_verl_config import PYTHON, job

from p2r_engines import checkpoints
from p2r_engines.contract import EngineError, Exit
from p2r_engines.verl_checkpoints import VerlCheckpoints
from p2r_engines.verl_dataset import write_verl_rows
from p2r_engines.verl_logs import StepLog
from p2r_engines.verl_ray import RayJobs

ENGINES = Path(__file__).parents[1]
STAND_IN = Path(__file__).with_name("verl_stand_in")
TOKEN = secrets.token_hex(16)
SAMPLES = [f"sample-{number}" for number in range(4)]


class Rewards(BaseHTTPRequestHandler):
    """Rewards by the completion's hash; the first request of all is refused once, as by a service that is starting."""

    refuse = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if Rewards.refuse:
            Rewards.refuse = False
            self._answer(503, {})
            return
        right = [hashlib.md5(c["text"].encode()).digest()[0] % 2 == 1 for c in body["completions"]]
        judgements = [
            {
                "sample_id": c["sample_id"],
                "rollout": c["rollout"],
                "key": "k",
                "reward": float(correct),
                "metrics": {"iou": 0.5},
                "boxes": [],
                "reasoner_text": None,
                "extracted_answer": None,
                "correct": correct,
            }
            for c, correct in zip(body["completions"], right, strict=True)
        ]
        self._answer(200, {"judgements": judgements})

    def _answer(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def free_port() -> int:
    """A port outside 10002 to 19999, which Ray keeps for its workers."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if not 10002 <= port <= 19999:
            return port


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def answers(address: str) -> bool:
    try:
        response = httpx.get(f"{address}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=5)
    except httpx.HTTPError:
        return False
    return response.status_code == 200


@pytest.fixture(scope="module")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a head of our own, started in its own session and ended by its process group."""
    ray = PYTHON["0.9"].with_name("ray")
    if not ray.exists():
        pytest.skip("no Ray installed: npm run setup:cluster")
    port = free_port()
    # Ray makes sockets below its directory, whose path must be short.
    directory = Path("/tmp") / f"p2r-ray-{secrets.token_hex(4)}"
    command = [str(ray), "start", "--head", "--block", "--port", str(free_port()), "--dashboard-host", "127.0.0.1"]
    command += ["--dashboard-port", str(port), "--num-cpus", "2", "--disable-usage-stats", "--temp-dir", str(directory)]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    with (tmp_path_factory.mktemp("ray") / "log.txt").open("wb") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(address), 300)
        yield address
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        try:
            head.wait(3)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def reward_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Rewards)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


class Lab:
    """One phase directory, with attempts that are started like the platform starts them."""

    def __init__(self, directory: Path, ray_head: str, reward_url: str) -> None:
        self.phase = directory / f"perceiver-{secrets.token_hex(6)}"
        self.control = directory / "control"
        self.control.mkdir()
        (self.phase / "verl").mkdir(parents=True)
        (self.phase / "verl" / "samples.json").write_text(json.dumps(SAMPLES))
        (self.phase / "reward.json").write_text(json.dumps({"url": reward_url, "token": "t"}))
        table = {"sample_id": SAMPLES, "system": ["s"] * 4, "user": ["q?"] * 4, "images": [["/i.jpg"]] * 4}
        pq.write_table(pa.table(table), self.phase / "train.parquet")
        model = directory / "model"
        model.mkdir()
        (model / "tokenizer.json").write_text("{}")
        python = directory / "python"
        python.write_text(f'#!/bin/sh\nSTAND_IN_CONTROL={self.control} PYTHONPATH={STAND_IN} exec {PYTHON["0.9"]} "$@"\n')
        python.chmod(0o755)
        self.job: dict[str, Any] = job().model_dump(mode="json") | {"phase_dir": str(self.phase), "model": str(model)}
        self.job["dataset"] = str(self.phase / "train.parquet")
        self.job["cluster"] |= {"ray": ray_head, "python": str(python), "gpus_per_node": 2, "poll_seconds": 0.2}
        self.job["reward"] = {"endpoint_file": str(self.phase / "reward.json"), "deadline_seconds": 30}
        self.job["hyperparameters"] |= {"train_batch_size": 2, "ppo_mini_batch_size": 2, "rollout_n": 2, "total_steps": 5, "save_freq": 2}
        self.jobs = RayJobs(ray_head, TOKEN, deadline=20)

    def attempt(self, number: int) -> subprocess.Popen[bytes]:
        directory = self.phase / "attempts" / str(number)
        directory.mkdir(parents=True)
        lease = {"file": str(self.phase / "lease.json"), "token": number}
        (self.phase / "lease.json").write_text(json.dumps({"token": number}))
        (directory / "job.json").write_text(json.dumps({**self.job, "attempt": number, "lease": lease}))
        with (directory / "log.txt").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "p2r_engines.verl", str(directory / "job.json")],
                env={**os.environ, "PYTHONPATH": str(ENGINES), "RAY_AUTH_TOKEN": TOKEN},
                stdout=log,
                stderr=log,
            )

    def _read(self, attempt: int, name: str) -> str:
        path = self.phase / "attempts" / str(attempt) / name
        return path.read_text() if path.exists() else ""

    def metrics(self, attempt: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._read(attempt, "metrics.jsonl").splitlines()]

    def log(self, attempt: int) -> str:
        return self._read(attempt, "log.txt")

    def error(self, attempt: int) -> dict[str, str]:
        return json.loads(self._read(attempt, "error.json"))

    def status(self, submission: int) -> str:
        found = self.jobs.find(f"{self.phase.name}-{submission}")
        return found.status if found else "UNKNOWN"

    def order(self, name: str) -> None:
        (self.control / name).touch()

    def withdraw(self, name: str) -> None:
        (self.control / name).unlink()

    def committed(self) -> list[int]:
        return checkpoints.committed_steps(self.phase)

    def wait_for_step_2(self, attempt: subprocess.Popen[bytes]) -> None:
        wait_until(lambda: self.committed() == [2] or attempt.poll() is not None, 90)
        assert attempt.poll() is None, self.log(1)


@pytest.fixture
def lab(tmp_path: Path, ray_head: str, reward_url: str) -> Lab:
    return Lab(tmp_path, ray_head, reward_url)


def test_killed_looked_after_again_and_finished(lab: Lab) -> None:
    lab.order("hold")
    first = lab.attempt(1)
    lab.wait_for_step_2(first)
    first.kill()
    first.wait()
    assert lab.status(1) == "RUNNING"

    second = lab.attempt(2)
    wait_until(lambda: "going on with Ray job" in lab.log(2), 30)
    lab.withdraw("hold")
    assert second.wait(90) == Exit.DONE, lab.log(2)
    assert lab.status(2) == "UNKNOWN"
    assert lab.committed() == [5, 4, 2]
    last = checkpoints.checkpoint_dir(lab.phase, 5)
    assert checkpoints.fault(last) is None
    assert (last / "model.safetensors").read_text() == "5"
    assert (last / "tokenizer.json").exists()
    assert [row["step"] for row in lab.metrics(2)] == [1, 2, 3, 4, 5]
    assert all(row["iou"] == 0.5 and row["kl"] == pytest.approx(0.001 * row["step"]) for row in lab.metrics(2))
    rollouts = pq.read_table(lab.phase / "rollouts" / "step-000003.parquet").to_pydict()
    assert rollouts["sample_id"] == ["sample-0", "sample-0", "sample-1", "sample-1"]
    assert rollouts["rollout"] == [0, 1, 0, 1]
    assert "step:5" in lab.log(2)
    assert lab.attempt(3).wait(30) == Exit.DONE


def test_stopped_and_resumed_from_verls_checkpoint(lab: Lab) -> None:
    lab.order("hold")
    first = lab.attempt(1)
    lab.wait_for_step_2(first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == Exit.STOPPED, lab.log(1)
    assert lab.status(1) == "STOPPED"
    # A crash of veRL while it writes its tracker in place leaves it empty.
    (lab.phase / "verl" / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("")
    lab.withdraw("hold")
    assert lab.attempt(2).wait(90) == Exit.DONE, lab.log(2)
    assert lab.status(2) == "SUCCEEDED"
    assert [row["step"] for row in lab.metrics(1)] == [1, 2]
    assert [row["step"] for row in lab.metrics(2)] == [3, 4, 5]
    assert (checkpoints.checkpoint_dir(lab.phase, 5) / "model.safetensors").read_text() == "5"


def test_a_success_without_a_step_is_a_failure_and_so_is_a_crash(lab: Lab) -> None:
    lab.order("train-nothing")
    assert lab.attempt(1).wait(60) == Exit.FAILED
    assert lab.error(1)["type"] == "StepsMissing"
    assert "trained no step of 5" in lab.error(1)["message"]
    lab.withdraw("train-nothing")
    lab.order("out-of-memory")
    assert lab.attempt(2).wait(60) == Exit.FAILED
    assert lab.error(2)["type"] == "RayJobFailed"
    assert "CUDA out of memory" in lab.log(2)
    assert lab.committed() == []


def test_a_lost_lease_leaves_the_ray_job_to_the_new_owner(lab: Lab) -> None:
    lab.order("hold")
    first = lab.attempt(1)
    lab.wait_for_step_2(first)
    (lab.phase / "lease.json").write_text(json.dumps({"token": 2}))
    assert first.wait(30) == Exit.FENCED
    assert lab.status(1) == "RUNNING"
    lab.jobs.stop(f"{lab.phase.name}-1")


def test_submitting_twice_is_submitting_once(ray_head: str) -> None:
    jobs = RayJobs(ray_head, TOKEN, deadline=20)
    name = f"twice-{secrets.token_hex(4)}"
    one = jobs.submit(name, "echo hello", {}, {})
    assert jobs.submit(name, "echo hello", {}, {}).submission_id == one.submission_id
    with pytest.raises(EngineError, match="already has another job"):
        jobs.submit(name, "echo other", {}, {})
    assert jobs.find("no-such-job") is None
    jobs.stop("no-such-job")
    wait_until(lambda: (jobs.find(name) or one).status == "SUCCEEDED", 30)
    assert "hello" in jobs.logs(name)
    with pytest.raises(EngineError, match="RAY_AUTH_TOKEN"):
        RayJobs(ray_head, None, deadline=5).find(name)


def test_an_unreachable_head_is_waited_for_and_then_named() -> None:
    with pytest.raises(EngineError, match="is the Ray head up"):
        RayJobs(f"http://127.0.0.1:{free_port()}", None, deadline=0.3).find("any")


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    saved = VerlCheckpoints(tmp_path, 2)
    assert saved.latest() is None
    assert saved.steps() == []

    def save(step: int, *, whole: bool = True) -> None:
        saved.actor(step).mkdir(parents=True)
        for part in ("model", "optim", "extra_state"):
            for rank in range(2):
                (saved.actor(step) / f"{part}_world_size_2_rank_{rank}.pt").write_text("")
        if whole:
            (saved.actor(step).parent / "data.pt").write_text("")

    save(2)
    save(4)
    save(6, whole=False)
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("6")
    assert saved.steps() == [2, 4]
    saved.repair()
    assert saved.latest() == 4
    with pytest.raises(EngineError, match="train on as many as before"):
        VerlCheckpoints(tmp_path, 4).repair()


def test_rows_name_their_sample_and_refuse_a_placeholder_in_a_question(tmp_path: Path) -> None:
    def write(user: str) -> Path:
        table = {"sample_id": ["a"], "system": ["s"], "user": [user], "images": [["/w.jpg", "/c.jpg"]]}
        pq.write_table(pa.table(table), tmp_path / "ours.parquet")
        return tmp_path / "ours.parquet"

    assert write_verl_rows(write("Where?"), tmp_path / "t.parquet", tmp_path / "v.parquet", 4) == 1
    (row,) = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert row["prompt"][1] == {"content": "<image>\n<image>\nWhere?", "role": "user"}
    assert [image["image"] for image in row["images"]] == ["file:///w.jpg", "file:///c.jpg"]
    assert row["reward_model"]["ground_truth"] == row["extra_info"]["sample_id"] == "a"
    with pytest.raises(EngineError, match="takes for a placeholder"):
        write_verl_rows(write("What does <image> show?"), tmp_path / "t.parquet", tmp_path / "v.parquet", 4)


def test_a_torn_log_line_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    line = json.dumps({"step": 1, "data": {"timing_s/step": 1.0}})
    path.write_text(json.dumps({"step": 0, "data": {"val": 1}}) + f"\nnot json\n{line}\n" + line[:10])
    log = StepLog(path)
    assert list(log.take(lambda _: False)) == []
    assert [step for step, _ in log.take(lambda _: True)] == [1]
    assert list(log.take(lambda _: True)) == []
