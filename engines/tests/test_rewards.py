"""Both reward clients against services that fail, move and share the work."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_verl_config import PYTHON

from p2r_engines.contract import EngineError, RewardSource
from p2r_engines.rewards import Completion, RewardClient, RewardsGivenUp


class Service:
    """One process of the reward service: `refusals` answers of 503 come first."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusals = 0
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked += [c["sample_id"] for c in body["completions"]]
                status = 503 if outer.refusals > 0 else outer.status
                outer.refusals -= 1
                rest = {"key": "k", "metrics": {}, "boxes": [], "reasoner_text": None, "extracted_answer": None}
                judgements = [
                    {"sample_id": c["sample_id"], "rollout": c["rollout"], "reward": 1.0, "correct": True, **rest}
                    for c in body["completions"]
                ]
                data = json.dumps({"judgements": judgements}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def services() -> Iterator[list[Service]]:
    made = [Service(), Service()]
    yield made
    for service in made:
        service.server.shutdown()


def publish(directory: Path, services: list[Service]) -> Path:
    path = directory / "reward.json"
    path.write_text(json.dumps({"url": services[0].url, "urls": [s.url for s in services], "token": "t"}))
    return path


SAMPLES = [f"sample-{number}" for number in range(20)]


def test_a_sample_always_goes_to_the_same_process_whichever_engine_asks(tmp_path: Path, services: list[Service]) -> None:
    source = RewardSource(endpoint_file=publish(tmp_path, services), deadline_seconds=5)
    judged = RewardClient(source, "perceiver").judge(1, [Completion(sample, 0, "text") for sample in SAMPLES])
    assert [judgement.sample_id for judgement in judged] == SAMPLES
    wanted = [[s for s in SAMPLES if zlib.crc32(s.encode()) % 2 == number] for number in range(2)]
    assert all(wanted)
    assert [service.asked for service in services] == wanted


def test_a_service_that_starts_again_is_waited_for(tmp_path: Path, services: list[Service]) -> None:
    services[0].refusals = 2
    source = RewardSource(endpoint_file=publish(tmp_path, services), deadline_seconds=20)
    assert len(RewardClient(source, "perceiver").judge(1, [Completion(sample, 0, "") for sample in SAMPLES])) == 20


def test_after_the_deadline_it_fails_and_makes_nothing_up(tmp_path: Path, services: list[Service]) -> None:
    services[0].refusals = 10**9
    source = RewardSource(endpoint_file=publish(tmp_path, services), deadline_seconds=0.5)
    with pytest.raises(EngineError, match="no reward for"):
        RewardClient(source, "perceiver").judge(1, [Completion(sample, 0, "") for sample in SAMPLES])


def test_a_job_that_stops_does_not_wait_for_rewards_that_cannot_be_had(tmp_path: Path, services: list[Service]) -> None:
    services[0].refusals = 10**9
    source = RewardSource(endpoint_file=publish(tmp_path, services), deadline_seconds=1800)
    stop = threading.Event()
    client = RewardClient(source, "perceiver", stop.is_set)
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(RewardsGivenUp):
        client.judge(1, [Completion(sample, 0, "") for sample in SAMPLES])
    services[0].refusals = 0
    assert len(client.judge(1, [Completion(sample, 0, "") for sample in SAMPLES])) == 20


def test_waiting_leaves_the_generator_that_checkpoints_hold_alone(tmp_path: Path, services: list[Service]) -> None:
    services[0].refusals = 2
    source = RewardSource(endpoint_file=publish(tmp_path, services), deadline_seconds=20)
    before = random.getstate()
    RewardClient(source, "perceiver").judge(1, [Completion(sample, 0, "") for sample in SAMPLES])
    assert random.getstate() == before


SHIM = Path(__file__).parents[1] / "p2r_engines" / "verl_reward.py"
CALL = f"""
import asyncio, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("reward", {str(SHIM)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps(asyncio.run(module.compute_score("p2r", "text", "s", **json.load(sys.stdin)))))
"""


class TestVerlShim:
    """veRL's function, loaded by its path as veRL loads it, under an interpreter that has Ray's HTTP client."""

    def score(self, endpoint: Path, deadline: float = 20.0) -> dict[str, Any]:
        """The shim's answer; its error's last line as an AssertionError."""
        if not PYTHON["0.9"].exists():
            pytest.skip("no Ray installed: npm run setup:cluster")
        arguments = {"endpoint_file": str(endpoint), "role": "perceiver", "deadline_seconds": deadline}
        given = json.dumps({**arguments, "extra_info": {"sample_id": "sample-1", "index": 0}})
        done = subprocess.run([str(PYTHON["0.9"]), "-c", CALL], input=given, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.strip().splitlines()[-1]
        return json.loads(done.stdout)

    def test_the_keys_are_always_the_same_and_the_wait_is_one(self, tmp_path: Path, services: list[Service]) -> None:
        endpoint = publish(tmp_path, services)
        at_once = self.score(endpoint)
        for service in services:
            service.refusals = 1
        later = self.score(endpoint)
        assert at_once.keys() == later.keys() == {"score", "acc", "waited_seconds"}
        assert (later["score"], later["acc"]) == (1.0, 1.0)
        assert later["waited_seconds"] > 0.1

    def test_it_raises_rather_than_score_0(self, tmp_path: Path, services: list[Service]) -> None:
        endpoint = publish(tmp_path, services)
        for service in services:
            service.status = 422
        with pytest.raises(AssertionError, match="RuntimeError: the reward service refused sample-1"):
            self.score(endpoint)
        for service in services:
            service.status = 500
        with pytest.raises(AssertionError, match="TimeoutError: no reward for sample-1"):
            self.score(endpoint, deadline=0.5)
        with pytest.raises(AssertionError, match="FileNotFoundError"):
            self.score(tmp_path / "missing.json", deadline=0.5)
