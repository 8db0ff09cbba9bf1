"""Qwen3-VL over padded batches: the arithmetic of transformers' model (the tests compare the two), in shapes that compile once.

Shapes: B images or sequences, P patches, D vision width, H text width, L tokens, S image slots of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from p2r_engines.pretraining.patches import PATCH

Features = tuple[Tensor, list[Tensor]]  # merged [B, P / 4, H], and the same for each deepstack layer
Cache = list[tuple[Tensor, Tensor]]


def _turned(x: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat((-second, first), -1)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, kind: torch.dtype) -> Tensor:
    return (x * cos + _turned(x) * sin).to(kind)


class Layout:
    """Where patches lie for each image grid of a data set, for images padded to `places` patches.

    interpolation [G, P, n * n] turns the square table of learnt positions into those of a grid; cos, sin [G, P, D / heads];
    valid [G, P]. `index` gives the row of a grid (rows, columns of patches).
    """

    def __init__(self, grids: list[tuple[int, int]], places: int, tower: Any, device: torch.device) -> None:
        side, config = tower.num_grid_per_side, tower.config
        head = config.hidden_size // config.num_heads
        frequency = 1.0 / 10000.0 ** (torch.arange(0, head // 2, 2).float() / (head // 2))
        self.interpolation = torch.zeros(len(grids), places, side * side)
        angles = torch.zeros(len(grids), places, head // 2)
        self.valid = torch.zeros(len(grids), places, dtype=torch.bool)
        self._row = torch.zeros(1 + max(r for r, _ in grids), 1 + max(c for _, c in grids), dtype=torch.long)
        for g, (rows, columns) in enumerate(grids):
            self._row[rows, columns] = g
            row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            order = [x.view(rows // 2, 2, columns // 2, 2).permute(0, 2, 1, 3).reshape(-1) for x in (row, column)]
            count = rows * columns
            self.valid[g, :count] = True
            angles[g, :count] = torch.cat([x[:, None].float() * frequency for x in order], -1)
            down, across = (torch.linspace(0, side - 1, n)[x] for n, x in zip((rows, columns), order, strict=True))
            for dy in (0, 1):
                for dx in (0, 1):
                    y, x = (v.long().add(d).clamp(max=side - 1) for v, d in ((down, dy), (across, dx)))
                    weight = (1 - (down - down.floor() - dy).abs()) * (1 - (across - across.floor() - dx).abs())
                    self.interpolation[g, torch.arange(count), y * side + x] += weight
        angles = torch.cat([angles, angles], -1)
        self.cos, self.sin = angles.cos().to(device), angles.sin().to(device)
        self.interpolation, self.valid = self.interpolation.to(device), self.valid.to(device)
        self.full = bool(self.valid.all())
        self._row = self._row.to(device)

    def index(self, grid: Tensor) -> Tensor:
        """[B, 2] grids -> [B] rows of the layout; a grid of zeros (no image) gives row 0."""
        return self._row[grid[:, 0].long(), grid[:, 1].long()]


def _vision(tower: Any, patches: Tensor, position: Tensor, cos: Tensor, sin: Tensor, valid: Tensor | None) -> Features:
    count, places, _ = patches.shape
    weight = tower.patch_embed.proj.weight.sum(2).flatten(1)
    x = functional.linear(patches.float() / 127.5 - 1, weight, tower.patch_embed.proj.bias) + position
    heads, width = tower.config.num_heads, x.shape[-1]
    cos, sin = cos[:, None], sin[:, None]
    mask = None if valid is None else valid[:, None, None, :]

    def merge(merger: Any, x: Tensor) -> Tensor:
        if not merger.use_postshuffle_norm:
            x = merger.norm(x)
        x = x.reshape(count, places // 4, 4 * width)
        if merger.use_postshuffle_norm:
            x = merger.norm(x)
        return merger.linear_fc2(merger.act_fn(merger.linear_fc1(x)))

    deep = []
    for number, block in enumerate(tower.blocks):
        query, key, value = block.attn.qkv(block.norm1(x)).view(count, places, 3, heads, -1).permute(2, 0, 3, 1, 4)
        query, key = _rotated(query, cos, sin, value.dtype), _rotated(key, cos, sin, value.dtype)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + block.attn.proj(seen.transpose(1, 2).reshape(count, places, width))
        x = x + block.mlp(block.norm2(x))
        if number in tower.deepstack_visual_indexes:
            deep.append(merge(tower.deepstack_merger_list[tower.deepstack_visual_indexes.index(number)], x))
    return merge(tower.merger, x), deep


def _rms(norm: Any, x: Tensor) -> Tensor:
    wide = x.float()
    return norm.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)).to(x.dtype)


def _shown(features: Tensor, slots: Tensor, like: Tensor) -> Tensor:
    """Rows of [B, S, H] for each token's slot; rows of tokens without a slot are meaningless."""
    return torch.gather(features, 1, slots.clamp(min=0)[..., None].expand(-1, -1, features.shape[-1])).to(like.dtype)


def _text(
    model: Any,
    x: Tensor,
    positions: Tensor,
    slots: Tensor,
    deep: list[Tensor],
    cache: Cache | None = None,
    seen: Tensor | None = None,
) -> Tensor:
    """x [B, L, H], positions [3, B, L] -> [B, L, H]. With `seen` [B, 1, 1, keys] the tokens attend to what it allows, else causally."""
    config = model.config
    heads, pairs, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    count, length, _ = x.shape
    rope = config.rope_parameters
    frequency = 1.0 / rope["rope_theta"] ** (torch.arange(0, width, 2, device=x.device).float() / width)
    angles = positions[..., None].float() * frequency
    mixed = angles[0].clone()
    for axis in (1, 2):
        places = slice(axis, rope["mrope_section"][axis] * 3, 3)
        mixed[..., places] = angles[axis][..., places]
    mixed = torch.cat([mixed, mixed], -1)
    cos, sin = mixed.cos()[:, None], mixed.sin()[:, None]
    image = (slots >= 0)[..., None]
    for number, layer in enumerate(model.layers):
        attention, y = layer.self_attn, _rms(layer.input_layernorm, x)
        query = _rms(attention.q_norm, attention.q_proj(y).view(count, length, heads, width)).transpose(1, 2)
        key = _rms(attention.k_norm, attention.k_proj(y).view(count, length, pairs, width)).transpose(1, 2)
        value = attention.v_proj(y).view(count, length, pairs, width).transpose(1, 2)
        query, key = _rotated(query, cos, sin, value.dtype), _rotated(key, cos, sin, value.dtype)
        if cache is not None:
            if len(cache) > number:
                key, value = torch.cat([cache[number][0], key], 2), torch.cat([cache[number][1], value], 2)
                cache[number] = (key, value)
            else:
                cache.append((key, value))
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, is_causal=seen is None, enable_gqa=True)
        x = x + attention.o_proj(out.transpose(1, 2).reshape(count, length, heads * width))
        y = _rms(layer.post_attention_layernorm, x)
        x = x + layer.mlp.down_proj(functional.silu(layer.mlp.gate_proj(y)) * layer.mlp.up_proj(y))
        if number < len(deep):
            x = x + torch.where(image, _shown(deep[number], slots, x), 0)
    return _rms(model.norm, x)


class Network:
    """A transformers Qwen3-VL with batched passes over padded images and sequences; `compiled` fuses them for training."""

    def __init__(self, model: Any, compiled: bool = False) -> None:
        self.model, self.tower, self.language = model, model.model.visual, model.model.language_model
        fuse: Callable[[Any], Any] = (lambda function: torch.compile(function, dynamic=False)) if compiled else lambda function: function
        self._vision = fuse(lambda *arguments: _vision(self.tower, *arguments))
        self._text = fuse(lambda *arguments: _text(self.language, *arguments))

    def see(self, patches: Tensor, grid: Tensor, layout: Layout, fused: bool = True) -> Features:
        """Images [B, P, 768] uint8 with their grids [B, 2] -> features."""
        table = layout.interpolation @ self.tower.pos_embed.weight.float()
        rows = layout.index(grid)
        places = table.shape[1]
        position = functional.embedding(rows, table.flatten(1)).view(len(rows), places, -1)
        vision = self._vision if fused else (lambda *arguments: _vision(self.tower, *arguments))
        return vision(patches, position, layout.cos[rows], layout.sin[rows], None if layout.full else layout.valid[rows])

    def read(self, ids: Tensor, slots: Tensor, positions: Tensor, features: Features) -> Tensor:
        """Whole sequences [B, L] with features [B, S, H] -> last hidden states [B, L, H]."""
        return self._text(self._embedded(ids, slots, features[0]), positions, slots, features[1])

    def start(self, ids: Tensor, slots: Tensor, positions: Tensor, features: Features, cache: Cache) -> Tensor:
        """As `read`, leaving keys and values in the empty `cache`."""
        return _text(self.language, self._embedded(ids, slots, features[0]), positions, slots, features[1], cache)

    def go_on(self, ids: Tensor, positions: Tensor, cache: Cache, seen: Tensor) -> Tensor:
        """One more token a sequence: ids [B], positions [B], seen [B, keys] -> hidden states [B, H]."""
        x = self.language.embed_tokens(ids)[:, None].to(cache[0][0].dtype)
        places = positions[None, :, None].expand(3, -1, 1)
        none = torch.full_like(ids[:, None], -1)
        return _text(self.language, x, places, none, [], cache, seen[:, None, None, :])[:, 0]

    def _embedded(self, ids: Tensor, slots: Tensor, merged: Tensor) -> Tensor:
        x = self.language.embed_tokens(ids)
        return torch.where((slots >= 0)[..., None], _shown(merged, slots, x), x)


def joined(first: Features, second: Features) -> Features:
    """Features of the same sequences side by side: [B, S1, H] and [B, S2, H] -> [B, S1 + S2, H]."""
    return torch.cat([first[0], second[0]], 1), [torch.cat(pair, 1) for pair in zip(first[1], second[1], strict=True)]


def regrouped(features: Features, sequences: int) -> Features:
    """Features of [sequences * K] images as [sequences, K * S, H]."""
    return features[0].reshape(sequences, -1, features[0].shape[-1]), [x.reshape(sequences, -1, x.shape[-1]) for x in features[1]]


LINE_COLOURS = torch.tensor([[255, 0, 0], [0, 128, 0], [0, 0, 255], [255, 255, 0]], dtype=torch.float32)
LINE_FRACTION = 3 / 960  # of the image's width


def annotated(patches: Tensor, grid: Tensor, size: Tensor, boxes: Tensor, count: Tensor) -> Tensor:
    """Draws the outlines of boxes into resized images: what resizing a drawn original by pixel areas gives.

    patches [B, P, 768] uint8; grid [B, 2] in patches; size [B, 2] height and width of the original; boxes [B, K, 4] in pixels of the
    original; count [B] boxes drawn of each. The colours are four, in turn.
    """
    images, places, _ = patches.shape
    device = patches.device
    columns = grid[:, 1:2].long().clamp(min=1)
    token, within = torch.arange(places, device=device) // 4, torch.arange(places, device=device) % 4
    row = token[None] // (columns // 2).clamp(min=1) * 2 + within[None] // 2
    column = token[None] % (columns // 2).clamp(min=1) * 2 + within[None] % 2
    offset = torch.arange(PATCH, device=device)
    down, across = (row[..., None] * PATCH + offset).float(), (column[..., None] * PATCH + offset).float()
    scale = grid.float() * PATCH / size.float()
    line = (size[:, 1].float() * LINE_FRACTION + 1e-4).floor().clamp(min=1)
    x = patches.view(images, places, 3, PATCH, PATCH).float()

    def covered(at: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return (torch.minimum(at + 1, high[:, None, None]) - torch.maximum(at, low[:, None, None])).clamp(0, 1)

    for k in range(boxes.shape[1]):
        spans = []
        for at, low, high, ratio in ((down, 1, 3, scale[:, 0]), (across, 0, 2, scale[:, 1])):
            half, near, far = line / 2 * ratio, boxes[:, k, low].float() * ratio, boxes[:, k, high].float() * ratio
            spans.append((covered(at, near - half, far + half), covered(at, near + half, far - half)))
        (outer_y, inner_y), (outer_x, inner_x) = spans
        opacity = outer_y[..., :, None] * outer_x[..., None, :] - inner_y[..., :, None] * inner_x[..., None, :]
        opacity = opacity * (k < count)[:, None, None, None]
        colour = LINE_COLOURS[k % len(LINE_COLOURS)].to(device)[:, None, None]
        x = x * (1 - opacity[:, :, None]) + colour * opacity[:, :, None]
    return x.round().to(torch.uint8).view(images, places, -1)
