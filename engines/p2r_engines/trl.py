"""GRPO with TRL on one GPU or on the CPU: `python -m p2r_engines.trl job.json`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checkpoints
from .contract import Dapo, EngineError, Exit, Job, Lease
from .dapo import overlong_penalty
from .engine_main import main
from .records import MetricsWriter, grpo_advantages, mean_metrics, write_rollouts
from .rewards import Completion, Judgement, RewardClient, RewardsGivenUp

if TYPE_CHECKING:
    from datasets import Dataset

    from .packed_trainer import PackedGRPOTrainer


class Judge:
    """TRL's reward function: asks the reward service, applies the algorithm's shaping, and keeps both for the step's records."""

    __name__ = "p2r"

    def __init__(self, client: RewardClient, job: Job) -> None:
        self._client = client
        self._job = job
        self.completions: list[Completion] = []
        self.judgements: list[Judgement] = []
        self.seconds = 0.0

    def __call__(
        self, completions: list[Any], sample_id: list[str], completion_ids: list[list[int]], trainer_state: Any, **_: Any
    ) -> list[float]:
        started = time.perf_counter()
        seen: dict[str, int] = {}
        asked = []
        for sample, completion in zip(sample_id, completions, strict=True):
            rollout = seen.get(sample, 0)
            seen[sample] = rollout + 1
            asked.append(Completion(sample, rollout, completion[0]["content"]))
        judgements = self._client.judge(trainer_state.global_step + 1, asked)
        algorithm = self._job.algorithm
        if isinstance(algorithm, Dapo):
            longest = self._job.hyperparameters.max_response_length
            penalties = [overlong_penalty(algorithm, len(ids), longest) for ids in completion_ids]
            judgements = [
                judgement.model_copy(
                    update={"reward": judgement.reward - penalty, "metrics": {**judgement.metrics, "overlong_penalty": penalty}}
                )
                for judgement, penalty in zip(judgements, penalties, strict=True)
            ]
        self.completions, self.judgements = asked, judgements
        self.seconds += time.perf_counter() - started
        return [judgement.reward for judgement in judgements]


def _load_dataset(job: Job) -> Dataset:
    from datasets import Dataset, Image, List

    try:
        rows = Dataset.from_parquet(str(job.dataset), cache_dir=str(job.attempt_dir / "cache"))
    except Exception as error:
        raise EngineError("DatasetInvalid", f"{job.dataset} is not a readable training set: {error}.") from error
    missing = {"sample_id", "system", "user", "images"} - set(rows.column_names)
    if missing:
        raise EngineError("DatasetInvalid", f"{job.dataset} lacks the column {sorted(missing)[0]}.")
    prompts = [
        [{"role": "system", "content": system}, {"role": "user", "content": user}]
        for system, user in zip(rows["system"], rows["user"], strict=True)
    ]
    rows = rows.add_column("prompt", prompts).remove_columns(["system", "user"])
    return rows.cast_column("images", List(Image(mode="RGB")))


def _build_trainer(job: Job, judge: Judge) -> PackedGRPOTrainer:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.trainer_callback import PrinterCallback, ProgressCallback
    from trl import GRPOConfig

    from .dapo_trainer import DapoTrainer
    from .packed_trainer import PackedGRPOTrainer

    # cuBLAS repeats its results only with a workspace of fixed size.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    h = job.hyperparameters
    try:
        model = AutoModelForImageTextToText.from_pretrained(job.model, dtype=torch.float32)
        processor = AutoProcessor.from_pretrained(job.model, padding_side="left")
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else error.__class__.__name__
        raise EngineError("ModelUnloadable", f"{job.model} could not be loaded as a vision-language model: {reason}") from error
    _share_image_features(model)
    arguments = GRPOConfig(
        output_dir=str(job.attempt_dir / "trl"),
        seed=job.seed,
        use_cpu=job.device == "cpu",
        bf16=job.dtype == "bfloat16",
        per_device_train_batch_size=h.ppo_micro_batch_size * h.rollout_n,
        gradient_accumulation_steps=h.train_batch_size // h.ppo_micro_batch_size,
        num_generations=h.rollout_n,
        max_completion_length=h.max_response_length,
        max_steps=h.total_steps,
        learning_rate=h.lr,
        lr_scheduler_type="constant",
        weight_decay=h.weight_decay,
        adam_beta2=0.99,
        max_grad_norm=h.grad_clip,
        beta=h.kl_loss_coef,
        epsilon=h.clip_ratio,
        epsilon_high=job.algorithm.clip_ratio_high if isinstance(job.algorithm, Dapo) else h.clip_ratio,
        # TRL's default weights the KL term by the importance ratio; Equation 5 and veRL do not.
        use_bias_correction_kl=False,
        temperature=h.temperature,
        # Sum over tokens divided by the tokens of the whole batch: veRL's token-mean.
        loss_type="dapo",
        scale_rewards="group",
        shuffle_dataset=False,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    parts: dict[str, Any] = {
        "model": model,
        "reward_funcs": judge,
        "args": arguments,
        "train_dataset": _load_dataset(job),
        "processing_class": processor,
    }
    if isinstance(job.algorithm, Dapo):
        trainer: PackedGRPOTrainer = DapoTrainer(judge=judge, algorithm=job.algorithm, total_steps=h.total_steps, **parts)
    else:
        trainer = PackedGRPOTrainer(**parts)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _share_image_features(model: Any) -> None:
    """Runs the vision tower once per distinct image when generating: the G rollouts of a prompt show the same one."""
    import torch

    from .shared_prefix import first_equal

    inner = model.model
    original = inner.get_image_features

    def shared(pixel_values: torch.Tensor, image_grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        images = torch.split(pixel_values, image_grid_thw.prod(-1).tolist())
        same = first_equal(images)
        first = sorted(set(same))
        where = [first.index(index) for index in same]
        if len(first) == len(images):
            return original(pixel_values, image_grid_thw, **kwargs)
        output = original(torch.cat([images[i] for i in first]), image_grid_thw[first], **kwargs)
        output.pooler_output = tuple(output.pooler_output[k] for k in where)
        output.deepstack_features = [tuple(parts[k] for k in where) for parts in output.deepstack_features]
        return output

    inner.get_image_features = shared


def _device_memory(job: Job) -> dict[str, float]:
    """Most bytes that tensors have held on the GPU since the attempt began."""
    if job.device == "cpu":
        return {}
    import torch

    return {"gpu_memory_peak_bytes": float(torch.cuda.max_memory_allocated())}


def _recorder(job: Job, lease: Lease, judge: Judge, stop: list[int], resume: tuple[int, Path] | None) -> Any:
    """A trainer callback that writes each step's records and commits checkpoints at step ends only."""
    from transformers import TrainerCallback

    metrics = MetricsWriter(job, lease, resume[1] if resume else None)

    class Recorder(TrainerCallback):
        trainer: PackedGRPOTrainer
        started = 0.0
        committed = resume[0] if resume else 0

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.started = time.perf_counter()
            self.trainer.generate_seconds = judge.seconds = 0.0

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
            if "grad_norm" not in logs:
                return
            step = state.global_step
            seconds = time.perf_counter() - self.started
            write_rollouts(
                lease,
                job.phase_dir,
                step,
                judge.completions,
                judge.judgements,
                grpo_advantages(judge.judgements, job.hyperparameters.rollout_n, 1e-4),
            )
            metrics.write(
                step,
                {
                    "reward_mean": logs.get("reward"),
                    "reward_std": logs.get("reward_std"),
                    "accuracy": sum(j.correct for j in judge.judgements) / len(judge.judgements),
                    **mean_metrics(judge.judgements),
                    "kl": logs.get("kl"),
                    "entropy": logs.get("entropy"),
                    "clip_fraction": logs.get("clip_ratio/region_mean"),
                    "grad_norm": logs.get("grad_norm"),
                    "lr": logs.get("learning_rate"),
                    "loss": logs.get("loss"),
                    "completion_length": logs.get("completions/mean_length"),
                    "clipped_completions": logs.get("completions/clipped_ratio"),
                    "zero_variance_groups": logs.get("frac_reward_zero_std"),
                    "step_seconds": seconds,
                    **self.trainer.sampling,
                    "generate_seconds": self.trainer.generate_seconds,
                    "reward_seconds": judge.seconds,
                    "update_seconds": seconds - self.trainer.generate_seconds - judge.seconds,
                    **_device_memory(job),
                },
            )

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            if stop:
                control.should_training_stop = True
            return control

        def commit(self) -> None:
            step = self.trainer.state.global_step
            if step > self.committed:
                checkpoints.commit(job, lease, step, self._fill)
                self.committed = step

        def _fill(self, directory: Path) -> None:
            _save(self.trainer, job, directory)
            metrics.write_curve(directory)

    return Recorder()


def _save(trainer: PackedGRPOTrainer, job: Job, directory: Path) -> None:
    """Fills a directory with weights and everything a bit-exact resume needs."""
    staging = Path(trainer.args.output_dir)
    shutil.rmtree(staging, ignore_errors=True)
    trainer._save_checkpoint(trainer.model, trial=None)
    (saved,) = staging.glob("checkpoint-*")
    for path in saved.iterdir():
        if path.name not in ("processor_config.json", "training_args.bin"):
            shutil.move(path, directory / path.name)
    checkpoints.copy_processor_files(job.model, directory)
    shutil.rmtree(staging, ignore_errors=True)


def run(job: Job) -> Exit:
    """Trains until every step is committed, or until SIGTERM asks for an early commit."""
    total = job.hyperparameters.total_steps
    job.attempt_dir.mkdir(parents=True, exist_ok=True)
    lease = Lease(job.lease)
    lease.check()
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stop.append(number))

    def report(text: str) -> None:
        with (job.attempt_dir / "events.jsonl").open("a") as file:
            file.write(f'{{"time": {time.time()}, "message": "{text}"}}\n')
        print(text, file=sys.stderr, flush=True)

    resume = checkpoints.newest_verified(job.phase_dir, report)
    if resume is not None and resume[0] >= total:
        return Exit.DONE
    if not (job.model / "config.json").is_file():
        raise EngineError("ModelUnloadable", f"{job.model} is not a model directory: config.json is missing.")

    judge = Judge(RewardClient(job.reward, job.role, lambda: bool(stop)), job)
    trainer = _build_trainer(job, judge)
    if stop:
        return Exit.STOPPED
    recorder = _recorder(job, lease, judge, stop, resume)
    recorder.trainer = trainer
    trainer.add_callback(recorder)
    _commit_after_each_save_point(trainer, recorder, job, stop)
    try:
        trainer.train(resume_from_checkpoint=str(resume[1]) if resume else None)
    except RewardsGivenUp:
        report("stopped in the middle of a step, as its rewards could not be had; it is taken again from the newest checkpoint")
        return Exit.STOPPED
    return Exit.DONE if recorder.committed >= total else Exit.STOPPED


def _commit_after_each_save_point(trainer: PackedGRPOTrainer, recorder: Any, job: Job, stop: list[int]) -> None:
    """Commits where Trainer itself would save: after the optimiser step and its log."""
    original = trainer._maybe_log_save_evaluate
    h = job.hyperparameters

    def hooked(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        step = trainer.state.global_step
        if stop or step % h.save_freq == 0 or step == h.total_steps:
            recorder.commit()
            if stop:
                trainer.control.should_training_stop = True
        return result

    trainer._maybe_log_save_evaluate = hooked


if __name__ == "__main__":
    main(run)
