"""Ray's Jobs API over HTTP: jobs that outlive whoever submitted them, submitted once however often they are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from .contract import EngineError

T = TypeVar("T")
Status = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED"]
RUNNING: tuple[Status, ...] = ("PENDING", "RUNNING")

# A head that is being restarted is waited for as long as this.
HEAD_DEADLINE_SECONDS = 1800.0


class RayJob(BaseModel):
    """What the head knows of a job."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    submission_id: str
    status: Status
    entrypoint: str
    message: str | None = None
    metadata: dict[str, str] | None = None
    driver_exit_code: int | None = None

    @property
    def running(self) -> bool:
        return self.status in RUNNING


class RayJobs:
    """A head's jobs. Every call waits for an unreachable head; EngineError('ClusterUnreachable') after the deadline."""

    def __init__(self, address: str, token: str | None, *, deadline: float = HEAD_DEADLINE_SECONDS) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False)
        self._address = address
        self._deadline = deadline

    def find(self, submission_id: str) -> RayJob | None:
        """The job of an id, or None when the head knows none."""
        response = self._ask("GET", f"/api/jobs/{submission_id}", accept=(200, 404))
        if response.status_code == 404:
            return None
        return RayJob.model_validate_json(response.content)

    def submit(self, submission_id: str, entrypoint: str, env: dict[str, str], metadata: dict[str, str]) -> RayJob:
        """
        Submits, or finds the job that is already there under this id. Ray answers a second submission with an error of its own (500) and
        without comparing: a job of another entry point under the id is an EngineError('SubmissionTaken').
        """
        known = self.find(submission_id)
        if known is None:
            body = {"submission_id": submission_id, "entrypoint": entrypoint, "runtime_env": {"env_vars": env}, "metadata": metadata}
            self._ask("POST", "/api/jobs/", json=body, accept=(200, 400, 500))
            known = self._wait_for(lambda: self.find(submission_id), f"job {submission_id} to appear")
        if known.entrypoint != entrypoint:
            raise EngineError("SubmissionTaken", f"Ray already has another job called {submission_id}: delete it, or use a fresh home.")
        return known

    def stop(self, submission_id: str) -> None:
        """Asks a job to stop; one that is over or unknown is left alone."""
        self._ask("POST", f"/api/jobs/{submission_id}/stop", accept=(200, 404))

    def logs(self, submission_id: str) -> str:
        """The driver's whole output; '' for an unknown job."""
        response = self._ask("GET", f"/api/jobs/{submission_id}/logs", accept=(200, 404, 500))
        return str(response.json().get("logs") or "") if response.status_code == 200 else ""

    def _ask(self, method: str, path: str, *, accept: tuple[int, ...], **content: Any) -> httpx.Response:
        def once() -> httpx.Response | None:
            response = self._http.request(method, path, **content)
            if response.status_code in accept:
                return response
            if response.status_code in (401, 403):
                raise EngineError("ClusterRefused", f"{self._address} wants a token: set RAY_AUTH_TOKEN where the worker runs.")
            return None

        return self._wait_for(once, f"{self._address}{path}")

    def _wait_for(self, attempt: Callable[[], T | None], what: str) -> T:
        started, pause, why = time.monotonic(), 0.2, "it did not answer as expected"
        while True:
            try:
                found = attempt()
                if found is not None:
                    return found
            except (httpx.HTTPError, ValidationError) as error:
                why = f"{error.__class__.__name__}: {str(error)[:200]}"
            if time.monotonic() - started > self._deadline:
                raise EngineError("ClusterUnreachable", f"waited {self._deadline:.0f} s for {what} ({why}): is the Ray head up?")
            time.sleep(pause)
            pause = min(5.0, pause * 2)
