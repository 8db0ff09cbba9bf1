"""TRL's GRPOTrainer with the group's common prompt computed once (shared_prefix.py) and its generation timed."""

from __future__ import annotations

import time
from typing import Any

import torch
from trl import GRPOTrainer

from .shared_prefix import log_probs


class PackedGRPOTrainer(GRPOTrainer):
    """GRPO as TRL computes it; only how log-probabilities are obtained differs."""

    generate_seconds = 0.0
    """Time spent generating since somebody set this to 0."""

    @property
    def sampling(self) -> dict[str, float]:
        """Metrics of how the step's groups were chosen; GRPO takes them as they come."""
        return {}

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = super()._generate_single_turn(*args, **kwargs)
        self.generate_seconds += time.perf_counter() - started
        return result

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Restores moments and step counts, but not the settings saved with them: a retried phase may have others."""
        settings = ("lr", "initial_lr", "weight_decay", "betas", "eps")
        wanted = [{name: group[name] for name in settings if name in group} for group in self.optimizer.param_groups]
        schedule = getattr(self.lr_scheduler, "scheduler", self.lr_scheduler)
        rates = list(schedule.base_lrs)
        super()._load_optimizer_and_scheduler(checkpoint)
        for group, values in zip(self.optimizer.param_groups, wanted, strict=True):
            group.update(values)
        schedule.base_lrs = rates
        schedule._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        *,
        pixel_values: torch.Tensor,
        image_grid_thw: torch.Tensor,
        num_images: list[int],
        mm_token_type_ids: torch.Tensor,
        **unused: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        rows = input_ids.size(0)
        size = batch_size or rows
        images = torch.tensor([0, *num_images]).cumsum(0).tolist()
        patches = torch.cat([torch.zeros(1, dtype=torch.long), image_grid_thw.prod(-1).cpu().cumsum(0)]).tolist()
        inner = self.accelerator.unwrap_model(model)
        found: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        for start in range(0, rows, size):
            end = min(start + size, rows)
            first, last = images[start], images[end]
            with self.accelerator.autocast():
                found.append(
                    log_probs(
                        inner,
                        inner.model,
                        {
                            "input_ids": input_ids[start:end],
                            "attention_mask": attention_mask[start:end],
                            "completion_length": logits_to_keep,
                            "pixel_values": pixel_values[patches[first] : patches[last]],
                            "image_grid_thw": image_grid_thw[first:last],
                            "num_images": num_images[start:end],
                            "mm_token_type_ids": mm_token_type_ids[start:end],
                        },
                    )
                )
        entropies = torch.cat([entropy for _, entropy in found if entropy is not None]) if compute_entropy else None
        return torch.cat([logps for logps, _ in found]), entropies, None
