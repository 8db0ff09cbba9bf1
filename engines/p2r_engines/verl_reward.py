"""veRL's reward function, loaded by its path on every reward worker: it stands alone, on the standard library and Ray's aiohttp."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
import zlib
from pathlib import Path
from typing import Any

import aiohttp


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any],
    *,
    endpoint_file: str,
    role: str,
    deadline_seconds: float,
    **_: Any,
) -> dict[str, float]:
    """
    Reward of one response, always under the same keys: veRL takes a batch's keys from its first sample. `waited_seconds` shows how far
    the reward service is behind. Raises after the deadline: veRL then samples the group again. A reward is never made up.
    """
    body = {"role": role, "step": 0, "completions": [{"sample_id": extra_info["sample_id"], "rollout": 0, "text": solution_str}]}
    started, pause, why = time.monotonic(), 0.2, "the service was never reached"
    timeout = aiohttp.ClientTimeout(total=600, connect=5)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        while time.monotonic() - started < deadline_seconds:
            try:
                endpoint = json.loads(Path(endpoint_file).read_text())
                # The same question always goes to the same process, which remembers what it has judged.
                urls = endpoint.get("urls") or [endpoint["url"]]
                url = urls[zlib.crc32(extra_info["sample_id"].encode()) % len(urls)]
                headers = {"Authorization": f"Bearer {endpoint['token']}"}
                async with client.post(f"{url}/v1/judge", json=body, headers=headers) as response:
                    if response.status in (400, 403, 413, 422):
                        raise RuntimeError(f"the reward service refused {extra_info['sample_id']}: {(await response.text())[:300]}")
                    response.raise_for_status()
                    judgement = (await response.json())["judgements"][0]
                if not math.isfinite(judgement["reward"]):
                    raise ValueError("the reward is not a number")
                waited = time.monotonic() - started
                return {"score": judgement["reward"], "acc": float(judgement["correct"]), "waited_seconds": waited}
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
                why = f"{error.__class__.__name__}: {str(error)[:200]}"
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(5.0, pause * 2)
    raise TimeoutError(f"no reward for {extra_info['sample_id']} in {deadline_seconds:.0f} s ({why}): see the reward service's log.")
