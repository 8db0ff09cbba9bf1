"""
Stands in for veRL where no GPU is: reads the same overrides, asks the same reward function, and leaves the same files behind in the same
order (checkpoint, tracker, rollout dump, log line). It trains nothing: its "weights" are the number of steps taken.
"""

import asyncio
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

parsed = OverridesParser.create().parse_overrides(sys.argv[1:])
config = OmegaConf.create()
for override in parsed:
    OmegaConf.update(config, override.key_or_group, override.value())
directory = Path(config.trainer.default_local_dir)
tracker = directory / "latest_checkpointed_iteration.txt"
world = config.trainer.nnodes * config.trainer.n_gpus_per_node
control = Path(os.environ["STAND_IN_CONTROL"])

if (control / "out-of-memory").exists():
    print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", flush=True)
    sys.exit(1)

spec = importlib.util.spec_from_file_location("reward", config.reward.custom_reward_function.path)
reward = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reward)
reward_kwargs = OmegaConf.to_container(config.reward.custom_reward_function.reward_kwargs)

start = int(tracker.read_text()) if tracker.exists() else 0
if start:
    taken = int((directory / f"global_step_{start}" / "actor" / f"model_world_size_{world}_rank_0.pt").read_text())
    assert taken == start, f"the weights of step {start} say {taken}"
samples = json.loads((Path(config.data.train_files).parent / "samples.json").read_text())
log = Path(os.environ["VERL_FILE_LOGGER_PATH"]).open("wb", buffering=0)  # noqa: SIM115
batch, group = config.data.train_batch_size, config.actor_rollout_ref.rollout.n
last = start if (control / "train-nothing").exists() else config.trainer.total_training_steps
for step in range(start + 1, last + 1):
    while (control / "hold").exists() and step > 2:
        time.sleep(0.05)
    rows = []
    for place in range(batch):
        sample = samples[((step - 1) * batch + place) % len(samples)]
        for rollout in range(group):
            text = f"step {step} rollout {rollout}"
            scored = asyncio.run(reward.compute_score("p2r", text, sample, {"sample_id": sample}, **reward_kwargs))
            rows.append({"input": "?", "output": text, "gts": sample, "score": scored["score"], "step": step, "uid": "u"})
    mean = sum(row["score"] for row in rows) / len(rows)
    if step % config.trainer.save_freq == 0 or step == config.trainer.total_training_steps:
        actor = directory / f"global_step_{step}" / "actor"
        actor.mkdir(parents=True, exist_ok=True)
        for part in ("model", "optim", "extra_state"):
            for rank in range(world):
                (actor / f"{part}_world_size_{world}_rank_{rank}.pt").write_text(str(step))
        (actor.parent / "data.pt").write_text("")
        tracker.write_text(str(step))
    data = {"critic/score/mean": mean, "actor/kl_loss": 0.001 * step, "actor/lr": 1e-6, "timing_s/step": 0.1}
    dump = Path(config.trainer.rollout_data_dir) / f"{step}.jsonl"
    dump.write_text("".join(json.dumps(row) + "\n" for row in rows))
    log.write(json.dumps({"step": step, "data": data}).encode() + b"\n")
    print(f"step:{step} - critic/score/mean:{mean}", flush=True)
