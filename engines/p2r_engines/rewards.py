"""Client of the reward service. A reward that cannot be had is waited for, then fails the job; it is never made up."""

from __future__ import annotations

import json
import math
import random
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from .contract import EngineError, RewardSource

RETRIED_CLIENT_ERRORS = {401, 404, 408, 429}


@dataclass(frozen=True)
class Completion:
    """One rollout to be judged."""

    sample_id: str
    rollout: int
    text: str


class Judgement(BaseModel):
    """What the reward service says of one completion; boxes are pixels of the original image."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sample_id: str
    rollout: int
    key: str
    reward: float
    metrics: dict[str, float | None]
    boxes: list[list[float]]
    reasoner_text: str | None
    extracted_answer: str | None
    correct: bool


class _Answer(BaseModel):
    judgements: list[Judgement]


class RewardsGivenUp(Exception):
    """The job was told to stop while it waited for rewards that could not be had."""


class RewardClient:
    """Asks for judgements with exponential backoff (0.2 s to 5 s) until the deadline, or until a try fails when `stopping` says so."""

    def __init__(self, source: RewardSource, role: str, stopping: Callable[[], bool] = lambda: False) -> None:
        self._source = source
        self._role = role
        self._stopping = stopping
        # Of its own: the global generator is part of a checkpoint, which must not depend on how often the service was away.
        self._jitter = random.Random()
        self._http = httpx.Client(timeout=httpx.Timeout(600, connect=5), trust_env=False)

    def judge(self, step: int, completions: list[Completion]) -> list[Judgement]:
        """Judgements in the order of `completions`. Raises EngineError('RewardUnavailable') after the deadline, and RewardsGivenUp."""
        failing_since: float | None = None
        pause = 0.2
        while True:
            try:
                return self._once(step, completions)
            except (
                httpx.HTTPError,
                OSError,
                json.JSONDecodeError,
                KeyError,
                ValidationError,
                _TryAgain,
            ) as error:
                if self._stopping():
                    raise RewardsGivenUp from error
                now = time.monotonic()
                failing_since = now if failing_since is None else failing_since
                if now - failing_since > self._source.deadline_seconds:
                    raise EngineError(
                        "RewardUnavailable",
                        f"no reward for {self._source.deadline_seconds:.0f} s ({error.__class__.__name__}: {str(error)[:200]}); "
                        "look at the reward service's and the model server's logs.",
                    ) from error
                time.sleep(pause * self._jitter.uniform(0.5, 1))
                pause = min(5.0, pause * 2)

    def _once(self, step: int, completions: list[Completion]) -> list[Judgement]:
        """Asks every process of the service for its share: the same sample always goes to the same one, which remembers its verdicts."""
        endpoint = json.loads(self._source.endpoint_file.read_text())
        urls: list[str] = endpoint.get("urls") or [endpoint["url"]]
        shares: dict[str, list[Completion]] = {}
        for completion in completions:
            shares.setdefault(urls[zlib.crc32(completion.sample_id.encode()) % len(urls)], []).append(completion)
        with ThreadPoolExecutor(max_workers=len(shares)) as pool:
            answers = list(pool.map(lambda url: self._ask(url, endpoint["token"], step, shares[url]), shares))
        by_place = {(j.sample_id, j.rollout): j for answer in answers for j in answer}
        return [by_place[(c.sample_id, c.rollout)] for c in completions]

    def _ask(self, url: str, token: str, step: int, completions: list[Completion]) -> list[Judgement]:
        body = {"role": self._role, "step": step, "completions": [vars(c) for c in completions]}
        response = self._http.post(f"{url}/v1/judge", json=body, headers={"Authorization": f"Bearer {token}"})
        if 400 <= response.status_code < 500 and response.status_code not in RETRIED_CLIENT_ERRORS:
            raise EngineError("RewardRefused", f"the reward service refused: {response.text[:300]}")
        if response.status_code != 200:
            raise _TryAgain(f"HTTP {response.status_code}: {response.text[:200]}")
        judgements = _Answer.model_validate_json(response.content).judgements
        by_place = {(j.sample_id, j.rollout): j for j in judgements}
        ordered = [by_place.get((c.sample_id, c.rollout)) for c in completions]
        complete = [j for j in ordered if j is not None and math.isfinite(j.reward)]
        if len(complete) != len(completions):
            raise _TryAgain(f"{len(completions) - len(complete)} of {len(completions)} judgements are missing")
        return complete


class _TryAgain(Exception):
    """The service answered, but without usable judgements."""
