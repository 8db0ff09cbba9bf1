"""Greedy answers about scenes that were never trained on, and the figures they give."""

from __future__ import annotations

import functools
import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from p2r_engines.needle_scenes import DETAIL_KINDS, KINDS, Question, ask, draw_scene, scene_seed
from p2r_engines.pretraining import patches
from p2r_engines.pretraining.examples import CROP_TOKENS, WHOLE_TOKENS, build_prompt
from p2r_engines.pretraining.network import Cache, Layout, Network, annotated, joined, regrouped
from p2r_engines.pretraining.role_text import Box, instruction, read_boxes, read_choice
from p2r_engines.pretraining.stages import CROP_GRIDS

MOST_CROPS = 3
MOST_BOXES = 4  # drawn
PERCEIVER_TOKENS, ANSWER_TOKENS = 130, 60


@dataclass(frozen=True)
class Item:
    """One question about one scene; `whole` is the scene within the model's budget, as `patches.whole` gives it."""

    image: np.ndarray
    whole: tuple[np.ndarray, tuple[int, int]]
    question: Question


@dataclass(frozen=True)
class _Request:
    text: str
    item: Item
    boxes: list[Box]  # drawn and cropped


@functools.lru_cache(maxsize=4)
def held_out_items(split: str, seed: int, scenes: int) -> list[Item]:
    """One question of each kind about each of `scenes` scenes."""
    items = []
    for index in range(scenes):
        image, needles, rng = draw_scene(scene_seed(split, seed, index))
        whole = patches.whole(image)
        items += [Item(image, whole, ask(kind, needles, rng)) for kind in KINDS]
    return items


def intersection_over_union(first: Box, second: list[int]) -> float:
    """Of two boxes {x1, y1, x2, y2}; 0 where they do not meet."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((first[2] - first[0]) * (first[3] - first[1]) + (second[2] - second[0]) * (second[3] - second[1]) - both)


class Speaker:
    """Greedy decoding for a network and its tokenizer."""

    def __init__(self, network: Network, tokenizer: Tokenizer, device: torch.device, batch: int = 256) -> None:
        self._network, self._tokenizer, self._device, self._batch = network, tokenizer, device, batch
        self._end = tokenizer.token_to_id("<|im_end|>")

    def say(self, requests: list[_Request], tokens: int) -> list[str]:
        """What the model says to each request, at most `tokens` tokens."""
        said: list[str] = []
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            for first in range(0, len(requests), self._batch):
                said += self._say(requests[first : first + self._batch], tokens)
        return said

    def _say(self, requests: list[_Request], tokens: int) -> list[str]:
        device, network, count = self._device, self._network, len(requests)
        wholes = [r.item.whole for r in requests]
        cuts = [[cut for box in r.boxes[:MOST_CROPS] if (cut := patches.crop(r.item.image, box)) is not None] for r in requests]
        whole = torch.from_numpy(np.stack([image for image, _ in wholes])).to(device)
        grid = torch.tensor([list(g) for _, g in wholes], device=device)
        size = torch.tensor([list(r.item.image.shape[:2]) for r in requests], device=device)
        boxes = torch.zeros(count, MOST_BOXES, 4, device=device)
        for k, request in enumerate(requests):
            if request.boxes:
                boxes[k, : len(request.boxes[:MOST_BOXES])] = torch.tensor(request.boxes[:MOST_BOXES], device=device)
        drawn = torch.tensor([min(MOST_BOXES, len(r.boxes)) for r in requests], device=device)
        whole = annotated(whole, grid, size, boxes, drawn)
        layout = Layout(sorted({g for _, g in wholes}), patches.WHOLE_PATCHES, network.tower, device)
        features = network.see(whole, grid, layout, fused=False)
        most = max(len(c) for c in cuts)
        if most:
            crop = np.zeros((count, most, patches.CROP_PATCHES, 768), np.uint8)
            crop_grid = np.full((count, most, 2), 2)
            for k, list_of_cuts in enumerate(cuts):
                for j, (image, g) in enumerate(list_of_cuts):
                    crop[k, j], crop_grid[k, j] = image, g
            crop_layout = Layout(CROP_GRIDS, patches.CROP_PATCHES, network.tower, device)
            flat = torch.from_numpy(crop).to(device).flatten(0, 1)
            seen = network.see(flat, torch.from_numpy(crop_grid).to(device).flatten(0, 1), crop_layout, fused=False)
            features = joined(features, regrouped(seen, count))
        assert features[0].shape[1] == WHOLE_TOKENS + most * CROP_TOKENS

        prompts = [build_prompt(self._tokenizer, r.text, g, [x for _, x in c]) for r, (_, g), c in zip(requests, wholes, cuts, strict=True)]
        longest = max(len(p.ids) for p in prompts)
        ids = torch.zeros(count, longest, dtype=torch.long)
        slots, positions = torch.full((count, longest), -1), torch.zeros(3, count, longest, dtype=torch.long)
        for k, prompt in enumerate(prompts):
            ids[k, : len(prompt.ids)], slots[k, : len(prompt.ids)] = torch.tensor(prompt.ids), torch.tensor(prompt.slots)
            positions[:, k, : len(prompt.ids)] = torch.tensor(prompt.positions).T
        lengths = torch.tensor([len(p.ids) for p in prompts], device=device)
        place = torch.tensor([p.next_position for p in prompts], device=device)
        cache: Cache = []
        hidden = network.start(ids.to(device), slots.to(device), positions.to(device), features, cache)
        scores = network.model.lm_head(hidden[torch.arange(count, device=device), lengths - 1])
        seen_keys = torch.arange(longest, device=device)[None] < lengths[:, None]
        done = torch.zeros(count, dtype=torch.bool, device=device)
        said = []
        for turn in range(tokens):
            token = torch.where(done, self._end, scores.float().argmax(-1))
            said.append(token)
            done |= token == self._end
            if bool(done.all()):
                break
            seen_keys = functional.pad(seen_keys, (0, 1), value=True)
            scores = network.model.lm_head(network.go_on(token, place + turn, cache, seen_keys))
        rows: list[list[int]] = torch.stack(said, 1).tolist()
        return [self._tokenizer.decode(row[: row.index(self._end)] if self._end in row else row) for row in rows]


def interval(right: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.959963984540054, right / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return middle - half, middle + half


def _bootstrapped(groups: list[list[float]], seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean of values that come in groups (targets of one scene), by resampling groups."""
    rng = random.Random(seed)
    sums = np.array([[sum(g), len(g)] for g in groups])
    means = []
    for _ in range(1000):
        picked = sums[[rng.randrange(len(groups)) for _ in groups]].sum(0)
        means.append(picked[0] / picked[1])
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _accuracy(answers: list[str], items: list[Item]) -> dict[str, Any]:
    right = [read_choice(text) == item.question.answer for text, item in zip(answers, items, strict=True)]

    def share(chosen: list[bool]) -> dict[str, Any]:
        return {"share": sum(chosen) / len(chosen), "interval": interval(sum(chosen), len(chosen)), "questions": len(chosen)}

    def of(kinds: list[str]) -> dict[str, Any]:
        return share([r for r, item in zip(right, items, strict=True) if item.question.kind in kinds])

    return share(right) | {"detail": of(DETAIL_KINDS), "kinds": {kind: of([kind]) for kind in KINDS}}


def figures(speaker: Speaker, items: list[Item]) -> dict[str, Any]:
    """Accuracy of direct answers, of P2R and of the reasoner with true boxes; hit rate, IoU, boxes and their side in pixels.

    A target is hit when the centre of a predicted box lies in its box; its IoU is that of the best predicted box. Intervals: Wilson for
    accuracies, a bootstrap over scenes for the others.
    """
    direct = speaker.say([_Request(instruction(i.question.text, "direct"), i, []) for i in items], ANSWER_TOKENS)
    perceived = speaker.say([_Request(instruction(i.question.text, "perceiver"), i, []) for i in items], PERCEIVER_TOKENS)
    found = [read_boxes(text, i.image.shape[1], i.image.shape[0]) for text, i in zip(perceived, items, strict=True)]
    true = [[[float(v) for v in o.box] for o in i.question.targets] for i in items]

    def reason(given: list[list[Box]]) -> list[str]:
        requests = []
        for item, boxes in zip(items, given, strict=True):
            usable = any(patches.crop(item.image, box) is not None for box in boxes[:MOST_CROPS])
            requests.append(_Request(instruction(item.question.text, "reasoner" if usable else "direct"), item, boxes))
        return speaker.say(requests, ANSWER_TOKENS)

    hits: list[list[float]] = [[] for _ in range(len(items) // len(KINDS))]
    overlaps: list[list[float]] = [[] for _ in hits]
    for k, (boxes, item) in enumerate(zip(found, items, strict=True)):
        for x1, y1, x2, y2 in (o.box for o in item.question.targets):
            inside = any(x1 <= (b[0] + b[2]) / 2 <= x2 and y1 <= (b[1] + b[3]) / 2 <= y2 for b in boxes)
            hits[k // len(KINDS)].append(float(inside))
            overlaps[k // len(KINDS)].append(max((intersection_over_union(b, [x1, y1, x2, y2]) for b in boxes), default=0.0))
    sides = [math.sqrt((b[2] - b[0]) * (b[3] - b[1])) for boxes in found for b in boxes]

    def mean(groups: list[list[float]]) -> dict[str, Any]:
        values = [v for g in groups for v in g]
        return {"mean": sum(values) / len(values), "interval": _bootstrapped(groups), "targets": len(values)}

    return {
        "direct": _accuracy(direct, items),
        "p2r": _accuracy(reason(found), items),
        "true_boxes": _accuracy(reason(true), items),
        "hit_rate": mean(hits),
        "iou": mean(overlaps),
        "boxes": sum(len(b) for b in found) / len(found),
        "box_side": sum(sides) / len(sides) if sides else None,
    }


def summary(values: dict[str, Any]) -> str:
    """One line of figures."""

    def accuracy(name: str) -> str:
        kinds = " ".join(f"{kind} {v['share']:.3f}" for kind, v in values[name]["kinds"].items())
        return f"{name} {values[name]['share']:.3f} ({kinds})"

    side = "none" if values["box_side"] is None else f"{values['box_side']:.0f} px"
    return (
        f"{accuracy('direct')}, {accuracy('p2r')}, {accuracy('true_boxes')}, hit {values['hit_rate']['mean']:.3f}, "
        f"IoU {values['iou']['mean']:.3f}, boxes {values['boxes']:.2f}, side {side}"
    )
