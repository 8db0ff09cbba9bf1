"""The rendered configuration against an installed veRL (`npm run setup:cluster` installs one without its GPU dependencies)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from p2r_engines.contract import EngineError, Job
from p2r_engines.verl_config import ADDED_KEYS, Files, overrides, render

PROJECT = Path(__file__).parents[2]
PYTHON = {
    "0.9": Path(os.environ.get("P2R_VERL_PYTHON", PROJECT / ".venv-verl" / "bin" / "python")),
    "0.8": Path(os.environ.get("P2R_VERL_08_PYTHON", PROJECT / ".venv-verl-0.8" / "bin" / "python")),
}
FILES = Files(
    train=Path("/shared/it's here, {too}=1/train.parquet"),
    validation=Path("/shared/val.parquet"),
    checkpoints=Path("/shared/${oops}/checkpoints"),
    rollouts=Path("/shared/rollouts"),
    reward_function=Path("/shared/verl_reward.py"),
)
LIMITS = {"perceiver": (2560, 1024), "reasoner": (8704, 2048), "direct": (2560, 2048)}
DAPO = {"name": "dapo", "clip_ratio_high": 0.28, "max_generation_batches": 3, "overlong_buffer": 256, "overlong_penalty": 1.0}


def job(role: str = "perceiver", algorithm: dict[str, object] | None = None, version: str = "0.9", gpus: int = 4) -> Job:
    """Table 6 on four GPUs."""
    prompt, response = LIMITS[role]
    return Job.model_validate(
        {
            "job_id": "perceiver-1/1",
            "role": role,
            "algorithm": algorithm or {"name": "grpo"},
            "model": "/models/Qwen3-VL-4B-Instruct",
            "dataset": "/shared/train.parquet",
            "phase_dir": "/shared/phases/perceiver-1",
            "attempt": 1,
            "seed": 7,
            "device": "cuda",
            "dtype": "bfloat16",
            "threads": 8,
            "cluster": {
                "ray": "http://head:8265",
                "version": version,
                "python": "/env/bin/python",
                "nodes": 1,
                "gpus_per_node": gpus,
                "tensor_parallel": 1,
                "gpu_memory_utilization": 0.8,
                "param_offload": False,
                "optimizer_offload": True,
                "poll_seconds": 1,
            },
            "reward": {"endpoint_file": "/shared/reward.endpoint.json", "deadline_seconds": 1800},
            "lease": {"file": "/shared/lease.json", "token": 1},
            "hyperparameters": {
                "train_batch_size": 64,
                "rollout_n": 8,
                "ppo_mini_batch_size": 64,
                "ppo_micro_batch_size": 8,
                "lr": 1e-6,
                "weight_decay": 0.01,
                "grad_clip": 1,
                "kl_loss_coef": 0 if algorithm else 0.01,
                "kl_loss_type": "low_var_kl",
                "entropy_coeff": 0,
                "clip_ratio": 0.2,
                "loss_agg_mode": "token-mean",
                "temperature": 1,
                "max_prompt_length": prompt,
                "max_response_length": response,
                "total_steps": 156,
                "save_freq": 30,
            },
        }
    )


def rendered(**options: Any) -> dict[str, Any]:
    made = job(**options)
    assert made.cluster is not None
    return render(made, made.cluster, FILES, rows=10_000)


def compose(arguments: list[str], version: str) -> dict[str, Any]:
    if not PYTHON[version].exists():
        pytest.skip(f"no veRL {version} installed: npm run setup:cluster")
    script = Path(__file__).with_name("compose_verl.py")
    done = subprocess.run(
        [str(PYTHON[version]), str(script)], input=json.dumps(arguments), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr[-2000:])
    return json.loads(done.stdout)


def at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize("version", ["0.9", "0.8"])
@pytest.mark.parametrize("role", ["perceiver", "reasoner", "direct"])
def test_every_key_exists_and_has_the_value_that_was_meant(role: str, version: str) -> None:
    keys = rendered(role=role, version=version)
    answer = compose(overrides(keys), version)
    for key, value in keys.items():
        assert at(answer["config"], key) == value, key
        if key in ADDED_KEYS:
            assert key.split(".")[-1] in answer["source"] or ".engine_kwargs." in key or ".reward_kwargs." in key, key
    assert answer["config"]["custom_reward_function"] == {"path": None, "name": None}
    assert "limit_images" in answer["source"]


def test_dapo_uses_verls_own_switches() -> None:
    keys = rendered(algorithm=DAPO)
    answer = compose(overrides(keys), "0.9")
    for key, value in keys.items():
        assert at(answer["config"], key) == value, key
    config = answer["config"]
    assert config["algorithm"]["filter_groups"]["enable"] is True
    assert config["actor_rollout_ref"]["actor"]["use_kl_loss"] is False
    assert (at(config, "actor_rollout_ref.actor.clip_ratio_low"), at(config, "actor_rollout_ref.actor.clip_ratio_high")) == (0.2, 0.28)
    assert config["reward"]["reward_manager"]["name"] == "dapo"
    assert "overlong_buffer_cfg" in answer["source"]
    with pytest.raises(EngineError, match=r"needs veRL 0\.9"):
        rendered(algorithm=DAPO, version="0.8")


def test_an_unknown_key_does_not_compose() -> None:
    with pytest.raises(AssertionError, match="Could not override"):
        compose(["actor_rollout_ref.rollout.learning_rate=1"], "0.9")


def test_added_keys_are_missing_from_verls_own_files() -> None:
    config = compose([], "0.9")["config"]
    for key in ADDED_KEYS:
        with pytest.raises((KeyError, TypeError)):
            at(config, key)


def test_table_6_and_the_traps_without_an_installed_verl() -> None:
    keys = rendered(role="reasoner")
    assert keys["data.image_patch_size"] == 16
    assert keys["data.val_files"] == "/shared/val.parquet"
    assert keys["actor_rollout_ref.rollout.max_model_len"] == 12288
    assert rendered()["actor_rollout_ref.rollout.max_model_len"] == 4096
    assert keys["actor_rollout_ref.rollout.limit_images"] == 4
    assert "custom_reward_function.path" not in keys
    assert keys["trainer.total_epochs"] == 2
    with pytest.raises(EngineError, match="multiple of the 3 GPUs"):
        rendered(gpus=3)
