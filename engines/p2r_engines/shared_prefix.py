"""Log-probabilities of a group's G rollouts with their common prompt computed once.

The rollouts of a prompt are laid end to end behind it in one sequence. A token attends to the prompt and to its own rollout only, and its
rotary position is the one it would have alone, so every log-probability is that of the separate sequences up to rounding. The vision
tower runs once per prompt instead of once per rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class _Group:
    """Rows of the batch that share prompt and images; `prompt` holds token ids, `types` tells image tokens from text."""

    prompt: torch.Tensor
    types: torch.Tensor
    pixels: torch.Tensor
    grids: torch.Tensor
    rows: list[int]


@dataclass
class Packed:
    """One sequence a group, right-padded to a common length L; B groups.

    `mask` [B, 1, L, L] says who attends to whom; `shift_labels` [B, L] is the token that each position predicts, or -100;
    `place` [rows, T] is where row and token stand in the flattened [B * L] output (0 where the row has no such token).
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    mask: torch.Tensor
    shift_labels: torch.Tensor
    place: torch.Tensor
    present: torch.Tensor
    pixels: torch.Tensor
    grids: torch.Tensor


def pack(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    completion_length: int,
    pixel_values: torch.Tensor,
    image_grid_thw: torch.Tensor,
    num_images: list[int],
    mm_token_type_ids: torch.Tensor,
) -> Packed:
    """Packs rows [N, P + T] (left-padded prompts, right-padded completions) by prompt. `model` is the Qwen3-VL backbone."""
    start = input_ids.size(1) - completion_length
    groups = _group(input_ids, attention_mask, start, pixel_values, image_grid_thw, num_images, mm_token_type_ids)
    grids = torch.cat([group.grids for group in groups])
    positions = _prompt_positions(model, groups, grids)
    device = input_ids.device
    lengths = (attention_mask[:, start:] == 1).sum(1).tolist()
    total = [group.prompt.numel() - 1 + sum(1 + lengths[row] for row in group.rows) for group in groups]
    longest = max(total)
    ids = torch.zeros(len(groups), longest, dtype=torch.long, device=device)
    place3 = torch.zeros(3, len(groups), longest, dtype=torch.long, device=device)
    segment = torch.full((len(groups), longest), -1, dtype=torch.long, device=device)
    labels = torch.full((len(groups), longest), -100, dtype=torch.long, device=device)
    where = torch.zeros(input_ids.size(0), completion_length, dtype=torch.long, device=device)
    for number, (group, rope) in enumerate(zip(groups, positions, strict=True)):
        shared = group.prompt.numel() - 1
        ids[number, :shared] = group.prompt[:-1]
        place3[:, number, :shared] = rope[:, :-1]
        segment[number, :shared] = 0
        at = shared
        for order, row in enumerate(group.rows):
            n = lengths[row]
            completion = input_ids[row, start : start + n]
            # The prompt's last token opens every rollout, so that its first token is predicted from a position of its own.
            ids[number, at] = group.prompt[-1]
            ids[number, at + 1 : at + 1 + n] = completion
            place3[:, number, at : at + 1 + n] = rope[:, -1:] + torch.arange(n + 1, device=device)
            segment[number, at : at + 1 + n] = order + 1
            labels[number, at : at + n] = completion
            where[row, :n] = number * longest + torch.arange(at, at + n, device=device)
            at += 1 + n
    order_of = torch.arange(longest, device=device)
    causal = order_of[:, None] >= order_of[None, :]
    own = segment[:, :, None] == segment[:, None, :]
    mask = causal & (own | (segment == 0)[:, None, :])
    present = attention_mask[:, start:] == 1
    return Packed(ids, place3, mask[:, None], labels, where, present, torch.cat([group.pixels for group in groups]), grids)


def _group(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    start: int,
    pixel_values: torch.Tensor,
    image_grid_thw: torch.Tensor,
    num_images: list[int],
    mm_token_type_ids: torch.Tensor,
) -> list[_Group]:
    patches = torch.split(pixel_values, image_grid_thw.prod(-1).tolist())
    same = first_equal(patches)
    tokens, attended = input_ids[:, :start].cpu(), attention_mask[:, :start].cpu() == 1
    groups: dict[tuple[bytes, tuple[int, ...]], _Group] = {}
    image = 0
    for row, count in enumerate(num_images):
        key = (tokens[row][attended[row]].numpy().tobytes(), tuple(same[image : image + count]))
        group = groups.get(key)
        if group is None:
            real = attention_mask[row, :start] == 1
            pixels = torch.cat(patches[image : image + count])
            grids = image_grid_thw[image : image + count]
            group = _Group(input_ids[row, :start][real], mm_token_type_ids[row, :start][real], pixels, grids, [])
            groups[key] = group
        group.rows.append(row)
        image += count
    return list(groups.values())


def first_equal(tensors: Sequence[torch.Tensor]) -> list[int]:
    """For each tensor the place of the first one of the same shape and values.

    A few of the values find candidates and a comparison of all decides: hashing every pixel took a sixth of a step on the CPU, and on a GPU
    it moved every image to the host.
    """
    few = [tensor.reshape(-1)[:: max(1, tensor.numel() // 64)] for tensor in tensors]
    values = torch.cat(few).float().cpu().split([part.numel() for part in few])
    candidates: dict[tuple[torch.Size, bytes], list[int]] = {}
    places: list[int] = []
    for index, tensor in enumerate(tensors):
        found = candidates.setdefault((tensor.shape, values[index].numpy().tobytes()), [])
        place = next((other for other in found if torch.equal(tensors[other], tensor)), None)
        if place is None:
            found.append(index)
        places.append(index if place is None else place)
    return places


def _prompt_positions(model: Any, groups: list[_Group], grids: torch.Tensor) -> list[torch.Tensor]:
    """Rotary positions [3, prompt length] of each group's prompt, by the model's own rule."""
    longest = max(group.prompt.numel() for group in groups)
    ids = torch.zeros(len(groups), longest, dtype=torch.long, device=grids.device)
    types = torch.zeros_like(ids)
    valid = torch.zeros_like(ids)
    for number, group in enumerate(groups):
        n = group.prompt.numel()
        ids[number, :n], types[number, :n], valid[number, :n] = group.prompt, group.types, 1
    rope, _ = model.get_rope_index(ids, image_grid_thw=grids, attention_mask=valid, mm_token_type_ids=types)
    return [rope[:, number, : group.prompt.numel()] for number, group in enumerate(groups)]


def log_probs(model: Any, backbone: Any, rows: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probabilities and, where the head computes them, entropies [N, T] of the completions; 0 where a row has no token.

    `model` carries TRL's fused language-model head; `rows` are the arguments of `pack` after `model`.
    """
    packed = pack(backbone, **rows)
    output = model(
        input_ids=packed.input_ids,
        attention_mask=packed.mask,
        position_ids=packed.position_ids,
        pixel_values=packed.pixels,
        image_grid_thw=packed.grids,
        shift_labels=packed.shift_labels,
        fused_lm_head=True,
    )

    def unpack(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(-1)[packed.place].masked_fill(~packed.present, 0)

    return unpack(output.log_probs), None if output.entropy is None else unpack(output.entropy)
