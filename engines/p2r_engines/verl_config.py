"""A phase as veRL's own configuration: what decides the result, and every known trap, as Hydra overrides of `verl.trainer.main_ppo`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from .contract import Cluster, Dapo, EngineError, Job

ENTRY_POINT = "verl.trainer.main_ppo"

# Keys that veRL reads without having them in its configuration files: Hydra adds anything behind a "+", so this list is closed.
ADDED_KEYS = frozenset(
    {
        "actor_rollout_ref.rollout.limit_images",
        "actor_rollout_ref.rollout.engine_kwargs.vllm.mm_processor_cache_gb",
        "actor_rollout_ref.rollout.engine_kwargs.vllm.disable_mm_preprocessor_cache",
        "reward.custom_reward_function.reward_kwargs.endpoint_file",
        "reward.custom_reward_function.reward_kwargs.role",
        "reward.custom_reward_function.reward_kwargs.deadline_seconds",
        "reward.reward_kwargs.max_resp_len",
        "reward.reward_kwargs.overlong_buffer_cfg.enable",
        "reward.reward_kwargs.overlong_buffer_cfg.len",
        "reward.reward_kwargs.overlong_buffer_cfg.penalty_factor",
        "reward.reward_kwargs.overlong_buffer_cfg.log",
    }
)

# Images a role is shown: the whole one, or the annotated one and at most three crops.
IMAGES = {"perceiver": 1, "direct": 1, "reasoner": 4}

# Qwen3-VL's vision patch; veRL's default of 14 crashes it or miscounts its image tokens.
IMAGE_PATCH_SIZE = 16

# Context lengths are rounded up to this, as the authors do (4096 and 12288 for Table 6's limits).
CONTEXT_STEP = 4096

Value = str | int | float | bool | list[str]


@dataclass(frozen=True)
class Files:
    """Where one submission reads and writes, on the cluster's shared file system."""

    train: Path
    validation: Path
    checkpoints: Path
    rollouts: Path
    reward_function: Path


def render(job: Job, cluster: Cluster, files: Files, rows: int) -> dict[str, Value]:
    """
    Key -> value. `rows` counts the training rows. Raises EngineError('ConfigInvalid') for what veRL would refuse after minutes of loading:
    a batch that the GPUs cannot share.
    """
    h = job.hyperparameters
    gpus = cluster.nodes * cluster.gpus_per_node
    if (h.train_batch_size * h.rollout_n) % gpus:
        raise EngineError(
            "ConfigInvalid", f"train_batch_size * rollout_n ({h.train_batch_size * h.rollout_n}) must be a multiple of the {gpus} GPUs."
        )
    context = math.ceil((h.max_prompt_length + h.max_response_length) / CONTEXT_STEP) * CONTEXT_STEP
    dapo = job.algorithm if isinstance(job.algorithm, Dapo) else None
    keys: dict[str, Value] = {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": True,
        "algorithm.use_kl_in_reward": False,
        "data.train_files": str(files.train),
        "data.val_files": str(files.validation),
        "data.prompt_key": "prompt",
        "data.image_key": "images",
        "data.reward_fn_key": "data_source",
        "data.train_batch_size": h.train_batch_size,
        "data.max_prompt_length": h.max_prompt_length,
        "data.max_response_length": h.max_response_length,
        "data.filter_overlong_prompts": True,
        "data.truncation": "error",
        "data.image_patch_size": IMAGE_PATCH_SIZE,
        # The rows are written in the study's order, so that every engine takes the same batch at the same step.
        "data.shuffle": False,
        "data.seed": job.seed,
        # Each worker holds decoded images of its own; more of them have run machines out of memory.
        "data.dataloader_num_workers": 2,
        "actor_rollout_ref.model.path": str(job.model),
        "actor_rollout_ref.model.use_remove_padding": True,
        "actor_rollout_ref.model.use_fused_kernels": True,
        "actor_rollout_ref.model.enable_gradient_checkpointing": True,
        "actor_rollout_ref.actor.strategy": "fsdp2",
        "actor_rollout_ref.actor.optim.lr": h.lr,
        "actor_rollout_ref.actor.optim.weight_decay": h.weight_decay,
        "actor_rollout_ref.actor.optim.clip_grad": h.grad_clip,
        "actor_rollout_ref.actor.optim.lr_scheduler_type": "constant",
        "actor_rollout_ref.actor.grad_clip": h.grad_clip,
        "actor_rollout_ref.actor.ppo_mini_batch_size": h.ppo_mini_batch_size,
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": h.ppo_micro_batch_size,
        "actor_rollout_ref.actor.use_dynamic_bsz": False,
        "actor_rollout_ref.actor.ppo_epochs": 1,
        "actor_rollout_ref.actor.use_kl_loss": h.kl_loss_coef > 0,
        "actor_rollout_ref.actor.kl_loss_coef": h.kl_loss_coef,
        "actor_rollout_ref.actor.kl_loss_type": h.kl_loss_type,
        "actor_rollout_ref.actor.entropy_coeff": h.entropy_coeff,
        "actor_rollout_ref.actor.calculate_entropy": True,
        "actor_rollout_ref.actor.loss_agg_mode": h.loss_agg_mode,
        "actor_rollout_ref.actor.clip_ratio": h.clip_ratio,
        "actor_rollout_ref.actor.clip_ratio_low": h.clip_ratio,
        "actor_rollout_ref.actor.clip_ratio_high": dapo.clip_ratio_high if dapo else h.clip_ratio,
        "actor_rollout_ref.actor.freeze_vision_tower": False,
        "actor_rollout_ref.actor.data_loader_seed": job.seed,
        "actor_rollout_ref.actor.fsdp_config.param_offload": cluster.param_offload,
        "actor_rollout_ref.actor.fsdp_config.optimizer_offload": cluster.optimizer_offload,
        # Weights in Hugging Face's layout are made by the merge step, beside the training instead of within it.
        "actor_rollout_ref.actor.checkpoint.save_contents": ["model", "optimizer", "extra"],
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": h.ppo_micro_batch_size,
        "actor_rollout_ref.ref.fsdp_config.param_offload": cluster.param_offload,
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.n": h.rollout_n,
        "actor_rollout_ref.rollout.temperature": h.temperature,
        "actor_rollout_ref.rollout.tensor_model_parallel_size": cluster.tensor_parallel,
        "actor_rollout_ref.rollout.gpu_memory_utilization": cluster.gpu_memory_utilization,
        "actor_rollout_ref.rollout.max_model_len": context,
        "actor_rollout_ref.rollout.enable_chunked_prefill": True,
        "actor_rollout_ref.rollout.enforce_eager": False,
        "actor_rollout_ref.rollout.free_cache_engine": True,
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": h.ppo_micro_batch_size,
        "actor_rollout_ref.rollout.limit_images": IMAGES[job.role],
        "reward.num_workers": 8,
        "reward.reward_manager.source": "register",
        "reward.reward_manager.name": "dapo" if dapo and dapo.overlong_buffer else "naive",
        # Not the top-level custom_reward_function: main_ppo composes that without a word and scores with its own default.
        "reward.custom_reward_function.path": str(files.reward_function),
        "reward.custom_reward_function.name": "compute_score",
        "reward.custom_reward_function.reward_kwargs.endpoint_file": str(job.reward.endpoint_file),
        "reward.custom_reward_function.reward_kwargs.role": job.role,
        "reward.custom_reward_function.reward_kwargs.deadline_seconds": job.reward.deadline_seconds,
        "trainer.logger": ["console", "file"],
        "trainer.project_name": "p2r",
        "trainer.experiment_name": job.phase_dir.name,
        "trainer.default_local_dir": str(files.checkpoints),
        "trainer.rollout_data_dir": str(files.rollouts),
        "trainer.nnodes": cluster.nodes,
        "trainer.n_gpus_per_node": cluster.gpus_per_node,
        "trainer.total_training_steps": h.total_steps,
        # Enough epochs for every step even where overlong prompts were filtered out or DAPO leaves groups out.
        "trainer.total_epochs": math.ceil(h.train_batch_size * h.total_steps / max(1, rows)) * (4 if dapo else 1) + 1,
        "trainer.save_freq": h.save_freq,
        "trainer.test_freq": -1,
        "trainer.val_before_train": False,
        "trainer.resume_mode": "auto",
        "trainer.max_actor_ckpt_to_keep": 2,
    }
    if cluster.version == "0.9":
        keys["trainer.use_v1"] = True
        keys["actor_rollout_ref.rollout.seed"] = job.seed
        keys["trainer.v1.trainer_mode"] = "sync"
        # A group whose reward could not be had is sampled again instead of leaving the batch thinner.
        keys["trainer.v1.sampler.sync_refill_failed_groups"] = True
        keys["actor_rollout_ref.rollout.engine_kwargs.vllm.mm_processor_cache_gb"] = 0
    else:
        keys["actor_rollout_ref.rollout.engine_kwargs.vllm.disable_mm_preprocessor_cache"] = True
    if dapo is not None:
        if cluster.version != "0.9":
            raise EngineError("ConfigInvalid", "DAPO's dynamic sampling needs veRL 0.9: set the engine's version to 0.9, or use GRPO.")
        keys["algorithm.filter_groups.enable"] = True
        keys["algorithm.filter_groups.metric"] = "acc"
        if dapo.overlong_buffer:
            keys["reward.reward_kwargs.max_resp_len"] = h.max_response_length
            keys["reward.reward_kwargs.overlong_buffer_cfg.enable"] = True
            keys["reward.reward_kwargs.overlong_buffer_cfg.len"] = min(dapo.overlong_buffer, h.max_response_length)
            keys["reward.reward_kwargs.overlong_buffer_cfg.penalty_factor"] = dapo.overlong_penalty
            keys["reward.reward_kwargs.overlong_buffer_cfg.log"] = False
    return keys


def overrides(keys: dict[str, Value]) -> list[str]:
    """The keys as arguments in Hydra's grammar."""
    return [f"{'+' if key in ADDED_KEYS else ''}{key}={_quoted(value)}" for key, value in keys.items()]


def _quoted(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{','.join(_quoted(item) for item in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'") if "'" in value or value.endswith("\\") else value
        # Within quotes Hydra leaves everything alone, but OmegaConf would still interpolate ${...}.
        return "'" + escaped.replace("${", "\\${") + "'"
    return repr(value)
