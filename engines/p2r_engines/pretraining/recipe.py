"""The recipe's command: from nothing to a capable model and a base, in one resumable run.

`python -m p2r_engines.pretraining.recipe --size middle --out DIRECTORY` writes DIRECTORY/capable and DIRECTORY/base. Running it again
goes on where the last one stopped. Progress goes to stderr, one JSON line each. With `--capable DIRECTORY` only stage C is trained,
from a capable checkpoint written before: other habits cost minutes then. `--further N` puts N more steps of stage B before it, on scenes
that the checkpoint has not seen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from p2r_engines.needle_scenes import DETAIL_KINDS, KINDS
from p2r_engines.pretraining.examples import Habits, draw_examples
from p2r_engines.pretraining.export import write_directory
from p2r_engines.pretraining.held_out import Item, Speaker, figures, held_out_items, summary
from p2r_engines.pretraining.network import Network
from p2r_engines.pretraining.sizes import SIZES, configuration
from p2r_engines.pretraining.stages import Data, DenseHeads, dense_loss, generator, rate, role_loss, to_device
from p2r_engines.pretraining.tokenizer import special_tokens, train_tokenizer

STAGES = "ABC"
FURTHER_SCENE = 1 << 19  # the first of a training that goes further
HELD_OUT_SEED = 9_000


@dataclass(frozen=True)
class Plan:
    """What a run computes. Steps and rates are one for each of the stages A, B and C."""

    size: str
    seed: int = 1
    scenes: int = 32_000
    habit_scenes: int = 8_000
    steps: tuple[int, int, int] = (2_000, 6_000, 500)
    batch: int = 512
    habits: Habits = field(default_factory=lambda: Habits(0.8, 0.6, 0.4, 0.25, 1.8, 0.6))
    held_out_scenes: int = 256
    development_scenes: int = 32
    further: int = 0
    save_seconds: float = 60.0


def report(event: str, **values: Any) -> None:
    """One line of progress."""
    print(json.dumps({"event": event, **values}), file=sys.stderr, flush=True)


class Run:
    """One run of the recipe in a directory. `state.pt` holds weights, optimiser, stage and step of the last save."""

    def __init__(self, plan: Plan, out: Path, processes: int, commit: str, capable: Path | None = None) -> None:
        self.plan, self.out, self.processes, self.commit = plan, out, processes, commit
        self.capable = capable
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.cuda = self.device.type == "cuda"
        self.size = SIZES[plan.size]
        self.tokenizer: Tokenizer = train_tokenizer()
        from transformers import Qwen3VLForConditionalGeneration

        torch.manual_seed(plan.seed)
        model = Qwen3VLForConditionalGeneration(configuration(self.size, special_tokens(self.tokenizer)))
        self.model = model.to(self.device)
        self.heads = DenseHeads(self.size.width).to(self.device)
        self.network = Network(self.model, compiled=self.cuda)
        self.records: list[dict[str, Any]] = []
        self.commands: list[str] = []
        self.scenes = plan.scenes
        self.stage, self.step = 0, 0
        self._optimiser_state: Any = None
        self._seconds = 0.0
        out.mkdir(parents=True, exist_ok=True)
        if capable is not None:
            self._take(capable)
        self._resume()

    def _take(self, capable: Path) -> None:
        """Stands where stage C begins, with the weights and the record of a capable checkpoint."""
        from transformers import Qwen3VLForConditionalGeneration

        weights = Qwen3VLForConditionalGeneration.from_pretrained(capable, dtype=torch.float32).state_dict()
        self.model.load_state_dict(weights)
        self.model.tie_weights()
        made = json.loads((capable / "training.json").read_text())
        self.records, self.commands, self.scenes = made["stages"], made["commands"], made["scenes"]
        if self.plan.further:
            self.stage, self.scenes = 1, self.scenes + self.plan.scenes
        else:
            self.stage = 2

    def _weaken(self, strength: float) -> None:
        """Takes the weights back towards the capable ones, of which `strength` times the way is left."""
        from transformers import Qwen3VLForConditionalGeneration

        source = self.out / "capable" if self.capable is None or self.plan.further else self.capable
        capable = Qwen3VLForConditionalGeneration.from_pretrained(source, dtype=torch.float32).state_dict()
        habitual = self.model.state_dict()
        self.model.load_state_dict({name: torch.lerp(capable[name].to(w.device), w, strength) for name, w in habitual.items()})
        self.model.tie_weights()

    @property
    def _state_file(self) -> Path:
        return self.out / "state.pt"

    def _identity(self) -> dict[str, Any]:
        """What a saved state must agree with, as JSON gives it back."""
        plan = asdict(self.plan)
        kept = {key: plan[key] for key in ("size", "seed", "scenes", "steps", "batch", "further")}
        return json.loads(json.dumps(kept | {"capable": str(self.capable) if self.capable else None}))

    def _habits(self) -> dict[str, Any]:
        """What a saved state must agree with from stage C's first step on."""
        return asdict(self.plan.habits) | {"scenes": self.plan.habit_scenes}

    def _resume(self) -> None:
        if not self._state_file.exists():
            return
        state = torch.load(self._state_file, map_location=self.device, weights_only=True)
        if state["identity"] != self._identity():
            raise SystemExit(f"{self._state_file} belongs to a run with other settings: name another --out or delete it.")
        if (state["stage"], state["step"]) > (2, 0) and state["habits"] != self._habits():
            raise SystemExit(f"{self.out} has a base with other habits: name another --out with --capable {self.out / 'capable'}.")
        self.model.load_state_dict(state["model"])
        self.model.tie_weights()
        self.heads.load_state_dict(state["heads"])
        self.stage, self.step, self.records = state["stage"], state["step"], state["records"]
        self._optimiser_state, self._seconds = state["optimiser"], state["seconds"]
        report("resumed", stage=STAGES[self.stage] if self.stage < len(STAGES) else "done", step=self.step)

    def _save(self, optimiser: torch.optim.Optimizer | None) -> None:
        staging = self._state_file.with_suffix(".writing")
        state = {
            "identity": self._identity(),
            "habits": self._habits(),
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimiser": None if optimiser is None else optimiser.state_dict(),
            "stage": self.stage,
            "step": self.step,
            "seconds": self._seconds,
            "records": self.records,
        }
        torch.save(state, staging)
        os.replace(staging, self._state_file)

    def _train(self, peak: float, vision_share: float, data: Data, loss_of: Callable[[torch.Generator], Any]) -> None:
        """The steps of the current stage from where it stands; then the next stage is due."""
        stage = STAGES[self.stage]
        steps = self.plan.further if self.plan.further and stage == "B" else self.plan.steps[self.stage]
        vision, text = list(self.network.tower.parameters()), list(self.network.language.parameters())
        groups = [{"params": vision, "share": vision_share}]
        groups.append({"params": list(self.heads.parameters()) if stage == "A" else text, "share": 1.0})
        trained = [p for group in groups for p in group["params"]]  # type: ignore[attr-defined]
        optimiser = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.95), weight_decay=0.05, fused=self.cuda)
        if self._optimiser_state is not None:
            optimiser.load_state_dict(self._optimiser_state)
            self._optimiser_state = None
        before, begun, saved, first = self._seconds, time.monotonic(), time.monotonic(), self.step
        while self.step < steps:
            for group in optimiser.param_groups:
                group["lr"] = rate(self.step, steps, peak) * group["share"]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda):
                loss, shares = loss_of(generator(self.plan.seed, stage, self.step, self.device))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            self.step += 1
            if self.step == first + 1:
                report("first step", stage=stage, seconds=round(time.monotonic() - begun, 1))
            if self.step % 250 == 0 or self.step == steps:
                value = loss.item()
                if value != value:
                    raise SystemExit(f"stage {stage} diverged at step {self.step}: lower the rate of its size in sizes.py.")
                took = time.monotonic() - begun
                told = {name: round(float(share), 3) for name, share in shares.items()}
                speed = round((self.step - first) * self.plan.batch / took)
                report("step", stage=stage, step=self.step, of=steps, loss=round(value, 4), examples_per_second=speed, **told)
            if time.monotonic() - saved > self.plan.save_seconds:
                self._seconds = before + time.monotonic() - begun
                self._save(optimiser)
                saved = time.monotonic()
        seconds = before + time.monotonic() - begun
        self.records.append(
            {
                "stage": stage,
                "device": self.device_name,
                "steps": steps,
                "batch": self.plan.batch,
                "rate": peak,
                "seconds": seconds,
                "examples_per_second": steps * self.plan.batch / max(seconds, 1e-9),
            }
        )
        self.stage, self.step, self._seconds = self.stage + 1, 0, 0.0

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(0) if self.cuda else f"{torch.get_num_threads()} CPU threads"

    def _data(self, scenes: int, first: int, habits: Habits) -> Data:
        begun = time.monotonic()
        arrays = draw_examples(scenes, self.plan.seed, first, habits, self.tokenizer, self.processes)
        report("drawn", scenes=scenes, seconds=round(time.monotonic() - begun, 1))
        return to_device(arrays, self.network, self.device)

    def _measured(self, name: str, items: list[Item]) -> dict[str, Any]:
        self.model.eval()
        values = figures(Speaker(self.network, self.tokenizer, self.device), items)
        self.model.train()
        report("figures", of=name, questions=len(items), summary=summary(values))
        return values

    def _export(self, name: str, habits: Habits | None) -> None:
        import transformers

        splits = {split: held_out_items(split, HELD_OUT_SEED, self.plan.held_out_scenes) for split in ("held-out", "hard")}
        record = {
            "name": f"{self.plan.size}-{name}",
            "size": asdict(self.size),
            "seed": self.plan.seed,
            "scenes": self.scenes,
            "kinds": KINDS,
            "detail_kinds": DETAIL_KINDS,
            "habits": None if habits is None else asdict(habits),
            "commit": self.commit,
            "commands": [*self.commands, self.command],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "stages": self.records,
            "figures_seed": HELD_OUT_SEED,
            "figures_device": self.device_name,
            "figures": {split: self._measured(f"{name}, {split}", items) for split, items in splits.items()},
        }
        write_directory(self.model, self.tokenizer, self.out / name, record)
        report("written", directory=name)

    @property
    def command(self) -> str:
        """What makes the checkpoints again."""
        plan, habits = self.plan, ",".join(f"{value:g}" for value in asdict(self.plan.habits).values())
        options = f"--size {plan.size} --seed {plan.seed} --scenes {plan.scenes} --habit-scenes {plan.habit_scenes}"
        trained = f"--steps {','.join(map(str, plan.steps))} --batch {plan.batch} --habits {habits}"
        source = "" if self.capable is None else " --capable CAPABLE" + (f" --further {plan.further}" if plan.further else "")
        return f"python -m p2r_engines.pretraining.recipe {options} {trained}{source}"

    def finish(self) -> None:
        """Runs what is left: stages A and B, the capable checkpoint, stage C, the base."""
        plan = self.plan
        if self.stage < 2:
            data = self._data(plan.scenes, FURTHER_SCENE if plan.further else 0, Habits())
            if self.stage == 0:
                self._train(1.5e-3, 1.0, data, lambda s: dense_loss(self.network, self.heads, data, plan.batch, s))
                self._save(None)
            peak = self.size.rate * (0.5 if plan.further else 1.0)
            self._train(peak, 0.5, data, lambda s: (role_loss(self.network, data, plan.batch, s), {}))
            self._save(None)
            del data
            if self.cuda:
                torch.cuda.empty_cache()  # other runs may share the card
            development = held_out_items("pretraining", plan.seed + 1, plan.development_scenes)
            self._measured("development", development)
        if (self.capable is None or plan.further) and not (self.out / "capable" / "training.json").exists():
            self._export("capable", None)
        if self.stage == 2:
            habitual = self._data(plan.habit_scenes, plan.scenes, plan.habits)
            self._train(0.3 * self.size.rate, 0.5, habitual, lambda s: (role_loss(self.network, habitual, plan.batch, s), {}))
            self._weaken(plan.habits.strength)
            self._save(None)
        if not (self.out / "base" / "training.json").exists():
            self._export("base", plan.habits)


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="Pre-train a tiny Qwen3-VL from nothing.")
    parser.add_argument("--size", choices=sorted(SIZES), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int)
    parser.add_argument("--habit-scenes", type=int)
    parser.add_argument("--held-out-scenes", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", help="steps of the stages A, B and C, with commas between")
    parser.add_argument("--habits", help="loose, dropped, lean of two, of four, reach and strength, with commas between")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="that draw scenes")
    parser.add_argument("--commit", default=None, help="named in the cards; default: that of the working directory")
    parser.add_argument("--capable", type=Path, help="directory of a capable checkpoint to give habits to, in place of stages A and B")
    parser.add_argument("--further", type=int, default=0, help="steps of stage B on other scenes before stage C; needs --capable")
    arguments = parser.parse_args()
    if arguments.further and arguments.capable is None:
        parser.error("--further needs --capable")
    plan = Plan(arguments.size, arguments.seed, further=arguments.further)
    for name in ("scenes", "habit_scenes", "held_out_scenes", "batch"):
        if getattr(arguments, name) is not None:
            plan = replace(plan, **{name: getattr(arguments, name)})
    if arguments.steps is not None:
        a, b, c = (int(text) for text in arguments.steps.split(","))
        plan = replace(plan, steps=(a, b, c))
    if arguments.habits is not None:
        plan = replace(plan, habits=Habits(*(float(text) for text in arguments.habits.split(","))))
    torch.set_float32_matmul_precision("high")
    Run(plan, arguments.out, arguments.processes, arguments.commit or _commit(), arguments.capable).finish()


if __name__ == "__main__":
    main()
