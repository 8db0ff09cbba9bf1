"""The objectives of the three stages, each as one batch's loss; batches follow from the seed, the stage and the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from p2r_engines.needle_scenes import COLOURS, LETTERS, SHAPES
from p2r_engines.pretraining.examples import LENGTH, QUESTIONS
from p2r_engines.pretraining.network import Features, Layout, Network, annotated, joined, regrouped
from p2r_engines.pretraining.patches import CROP_PATCHES, WHOLE_PATCHES

# Shares of a batch of stages B and C. Grounding needs most; perceiver and direct examples share the pass over their image in pairs.
REASONER_SHARE, DIRECT_SHARE = 0.3, 0.2
ANSWER_WEIGHT = 3.0  # of a token of the reasoner or direct, whose answers are short


@dataclass
class Data:
    """A data set on the device, with the layouts of its images."""

    arrays: dict[str, Tensor]
    whole_layout: Layout
    crop_layout: Layout

    @property
    def scenes(self) -> int:
        return len(self.arrays["grid"])

    @property
    def questions(self) -> int:
        return len(self.arrays["crop_grid"])


CROP_GRIDS = [(2 * rows, 2 * columns) for rows in range(1, 5) for columns in range(1, 5)]


def to_device(arrays: dict[str, np.ndarray], network: Network, device: torch.device) -> Data:
    """Moves a data set to the device in pieces."""
    moved = {}
    for name, values in arrays.items():
        target = torch.empty(values.shape, dtype=torch.uint8 if values.dtype == np.uint8 else torch.int16, device=device)
        piece = max(1, len(values) // 16)
        for first in range(0, len(values), piece):
            target[first : first + piece] = torch.from_numpy(values[first : first + piece]).to(device)
        moved[name] = target
    grids = [(int(r), int(c)) for r, c in np.unique(arrays["grid"], axis=0)]
    return Data(
        moved,
        Layout(grids, WHOLE_PATCHES, network.tower, device),
        Layout(CROP_GRIDS, CROP_PATCHES, network.tower, device),
    )


def generator(seed: int, stage: str, step: int, device: torch.device) -> torch.Generator:
    """The random stream of one batch."""
    return torch.Generator(device).manual_seed((seed * 4 + "ABC".index(stage)) * 10_000_000 + step)


def rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over a twentieth (at most 200 steps), then a cosine down to 3 % of the peak."""
    warm = max(1, min(200, steps // 20))
    return peak * min(1.0, (step + 1) / warm) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


class DenseHeads(nn.Module):
    """Linear read-outs of stage A: for each merged token of a scene, and for each of a crop. Thrown away afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = [1, len(COLOURS), len(SHAPES), 80, 4]  # present, colour, shape, 4 x 2 digits of 10 values, 4 coordinates
        self.scene = nn.Linear(width, sum(self.sizes))
        self.crop_sizes = [len(COLOURS), len(SHAPES), len(LETTERS)]
        self.crop = nn.Linear(width, sum(self.crop_sizes))


def dense_loss(network: Network, heads: DenseHeads, data: Data, batch: int, stream: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Stage A on `batch` scenes and as many crops: loss, and the share of right read-outs of each kind."""
    a, device = data.arrays, stream.device
    scene = torch.randint(0, data.scenes, (batch,), generator=stream, device=device)
    question = torch.randint(0, data.questions, (batch,), generator=stream, device=device)
    objects = a["objects"][scene].long()
    merged, deep = network.see(a["whole"][scene], a["grid"][scene], data.whole_layout)
    said = heads.scene(merged + sum(deep)).float()
    weight = (objects[..., :1] > 0).float()
    total = weight.sum().clamp(min=1)
    present, colour, shape, digits, place = said.split(heads.sizes, -1)

    def mean(values: Tensor) -> Tensor:
        """Over the merged tokens with an object, of values [B, tokens, ...]."""
        values = values.reshape(*values.shape[:2], -1)
        return (values * weight).sum() / (total * values.shape[-1])

    def entropy(scores: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(scores.flatten(0, -2), target.flatten(), reduction="none").view(target.shape)

    here = functional.binary_cross_entropy_with_logits(present, weight, pos_weight=torch.tensor(5.0, device=device))
    box = objects[..., 4:8]
    digits = digits.reshape(*digits.shape[:2], 4, 2, 10)
    first, second = box // 100, box // 10 % 10
    loss = 4 * here + mean(entropy(colour, objects[..., 1])) + mean(entropy(shape, objects[..., 2]))
    loss = loss + mean(entropy(digits[..., 0, :], first)) + 0.5 * mean(entropy(digits[..., 1, :], second))
    loss = loss + 20 * mean(functional.smooth_l1_loss(place, box.float() / 500 - 1, beta=0.02, reduction="none"))

    cut, cut_deep = network.see(a["crop"][question, 0], a["crop_grid"][question, 0], data.crop_layout)
    read = heads.crop(cut + sum(cut_deep)).float()
    valid = data.crop_layout.valid[data.crop_layout.index(a["crop_grid"][question, 0])][:, ::4]
    read = read.masked_fill(~valid[..., None], -1e4).logsumexp(1).split(heads.crop_sizes, -1)
    truth = a["crop_object"][question, 0].long()
    losses = [functional.cross_entropy(scores, truth[:, k]) for k, scores in enumerate(read)]
    loss = loss + 0.5 * losses[0] + 0.5 * losses[1] + 2 * losses[2]
    with torch.no_grad():
        shares = {
            "object": mean((present > 0).float()),
            "false_alarm": ((present > 0).float() * (1 - weight)).sum() / (1 - weight).sum(),
            "colour": mean((colour.argmax(-1) == objects[..., 1]).float()),
            "shape": mean((shape.argmax(-1) == objects[..., 2]).float()),
            "first_digit": mean((digits[..., 0, :].argmax(-1) == first).float()),
            "second_digit": mean((digits[..., 1, :].argmax(-1) == second).float()),
            "letter": (read[2].argmax(-1) == truth[:, 2]).float().mean(),
        }
    return loss, shares


def _padded(features: Features, slots: int) -> Features:
    return tuple_map(features, lambda x: functional.pad(x, (0, 0, 0, slots - x.shape[1])))


def tuple_map(features: Features, change: Any) -> Features:
    """The same change to the merged features and to each deepstack layer."""
    return change(features[0]), [change(x) for x in features[1]]


def role_loss(network: Network, data: Data, batch: int, stream: torch.Generator) -> Tensor:
    """Stages B and C: the mean cross-entropy of what the roles should say, over about `batch` examples."""
    a, device = data.arrays, stream.device

    def draw(high: int, count: int) -> Tensor:
        return torch.randint(0, high, (count,), generator=stream, device=device)

    reasoner_count = max(1, round(batch * REASONER_SHARE))
    scenes = max(1, (batch - reasoner_count) // 2)
    scene = draw(data.scenes, scenes)
    turn = draw(QUESTIONS, scenes)
    plain = torch.cat([scene * QUESTIONS + turn, scene * QUESTIONS + (turn + 1) % QUESTIONS])
    direct = torch.rand(len(plain), generator=stream, device=device) < DIRECT_SHARE / (1 - REASONER_SHARE)
    reasoned = draw(data.questions, reasoner_count)
    origin = reasoned // QUESTIONS

    crop_grid = a["crop_grid"][reasoned]
    drawn = (crop_grid[..., 0] > 0).sum(1)
    marked = annotated(a["whole"][origin], a["grid"][origin], a["size"][origin], a["hint"][reasoned], drawn)
    seen = network.see(torch.cat([a["whole"][scene], marked]), a["grid"][torch.cat([scene, origin])], data.whole_layout)
    crops = network.see(a["crop"][reasoned].flatten(0, 1), crop_grid.flatten(0, 1), data.crop_layout)
    evidence = joined(tuple_map(seen, lambda x: x[scenes:]), regrouped(crops, reasoner_count))
    slots = evidence[0].shape[1]
    alone = _padded(tuple_map(seen, lambda x: x[:scenes].repeat(2, 1, 1)), slots)
    features = torch.cat([alone[0], evidence[0]]), [torch.cat(pair) for pair in zip(alone[1], evidence[1], strict=True)]

    question = torch.cat([plain, reasoned])
    role = torch.cat([torch.where(direct, 2, 0), torch.ones_like(reasoned)])
    tokens, lengths = a["tokens"][question, role].long(), a["lengths"][question, role].long()
    ids, positions = tokens[:, 0], tokens[:, 2:5].permute(1, 0, 2)
    hidden = network.read(ids, tokens[:, 1], positions, features)
    place = torch.arange(LENGTH, device=device)[None]
    said = (place >= lengths[:, :1] - 1) & (place < lengths[:, 1:] - 1)
    scores = network.model.lm_head(hidden[said]).float()
    weight = torch.where(role == 0, 1.0, ANSWER_WEIGHT)[:, None].expand(-1, LENGTH)[said]
    return (functional.cross_entropy(scores, ids.roll(-1, 1)[said], reduction="none") * weight).sum() / weight.sum()
