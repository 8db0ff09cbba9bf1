"""A lean float32 forward pass of Qwen3-VL for one CPU thread, with a slotted key-value cache.

The arithmetic is that of transformers' Qwen3VLForConditionalGeneration (the tests compare the two); what is
left out is everything that costs Python time per token. Shapes: L prompt tokens, S slots, D hidden width,
H query heads, K key-value heads, G = H / K, E head width, V vocabulary.

Batch invariance. A prompt is always prefilled alone, so its shapes depend on nothing but itself. A decoding
step computes a fixed number of slots, occupied or not, chosen among a few shapes, and each slot attends to
its own keys only. The number of cached positions that a step looks at is a multiple of `BUCKET` that may
depend on the neighbours, but positions beyond a slot's own have probability exactly 0. What remains is
whether the linear-algebra library gives a row of a product the same bits in every place and every shape;
`agreeing_shapes` tries that on the machine at hand and keeps the shapes that agree.
"""

import functools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from p2r_engines.serving_checkpoint import Checkpoint, ModelDirectoryError

BUCKET = 64  # cached positions are attended to in multiples of this many
_DEEPSTACK_EPSILON = 1e-6  # of every LayerNorm of the vision tower


class ImageFeatures(NamedTuple):
    """One image after the vision tower.

    merged: [N, D] for N merged tokens; deepstack: one [N, D] for each of the first text layers;
    rows, columns: the grid of merged tokens, rows * columns = N.
    """

    merged: Tensor
    deepstack: tuple[Tensor, ...]
    rows: int
    columns: int


class Prefilled(NamedTuple):
    """A prompt after the text model: logits [V] of the next token, keys and values [layers, K, L, E] and
    the rotary position of the next token."""

    logits: Tensor
    keys: Tensor
    values: Tensor
    next_position: int


@dataclass
class SlotCache:
    """Keys and values of S requests, [layers][S * K, capacity, E] each, and where each slot stands.

    length: cached positions of the slot; position: rotary position of its next token. Both are 0 for a free
    slot.
    """

    keys: list[Tensor]
    values: list[Tensor]
    slots: int
    capacity: int
    length: list[int] = field(default_factory=list)
    position: list[int] = field(default_factory=list)

    def put(self, slot: int, prompt: Prefilled) -> None:
        """Copy a prefilled prompt into `slot`, clearing what an earlier request left there."""
        heads, tokens = prompt.keys.shape[1:3]
        rows = slice(slot * heads, (slot + 1) * heads)
        for cache, fresh in ((self.keys, prompt.keys), (self.values, prompt.values)):
            for layer, tensor in enumerate(cache):
                tensor[rows, :tokens] = fresh[layer]
                tensor[rows, tokens:] = 0
        self.length[slot] = tokens
        self.position[slot] = prompt.next_position

    def free(self, slot: int) -> None:
        """Mark `slot` as free; it goes on being computed, with one position, and its result is ignored."""
        self.length[slot] = 0
        self.position[slot] = 0


@dataclass(frozen=True)
class _VisionLayer:
    norm1: tuple[Tensor, Tensor]
    qkv: tuple[Tensor, Tensor]
    proj: tuple[Tensor, Tensor]
    norm2: tuple[Tensor, Tensor]
    fc1: tuple[Tensor, Tensor]
    fc2: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Merger:
    norm: tuple[Tensor, Tensor]
    fc1: tuple[Tensor, Tensor]
    fc2: tuple[Tensor, Tensor]
    norm_after_shuffle: bool


@dataclass(frozen=True)
class _TextLayer:
    """Matrices are kept as [inputs, outputs]: a product with few rows then reads them in order."""

    norm1: Tensor
    qkv: Tensor
    head_norm: Tensor
    out: Tensor
    norm2: Tensor
    gate_up: Tensor
    down: Tensor


class _Weights:
    """The tensors of a checkpoint in float32, each to be taken once, with its expected shape."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._directory = checkpoint.directory
        self._tensors: dict[str, Tensor] = {}
        for file in checkpoint.weight_files:
            with safe_open(str(file), framework="pt") as handle:
                for name in handle.keys():  # noqa: SIM118 (safe_open is no mapping)
                    self._tensors[name] = handle.get_tensor(name)

    def has(self, name: str) -> bool:
        return name in self._tensors

    def take(self, name: str, *shape: int) -> Tensor:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise ModelDirectoryError(f"{self._directory} has no weight {name}: restore the weights of this Qwen3-VL.")
        if tuple(tensor.shape) != shape:
            raise ModelDirectoryError(
                f"{self._directory}: weight {name} has shape {list(tensor.shape)} where config.json asks for "
                f"{list(shape)}: restore config.json or the weights."
            )
        tensor = tensor.to(torch.float32).contiguous()
        if not bool(torch.isfinite(tensor).all()):
            raise ModelDirectoryError(f"{self._directory}: weight {name} is not finite: use an earlier checkpoint.")
        return tensor

    def affine(self, name: str, outputs: int, *inputs: int) -> tuple[Tensor, Tensor]:
        return self.take(f"{name}.weight", outputs, *inputs), self.take(f"{name}.bias", outputs)


def _rms(x: Tensor, weight: Tensor, epsilon: Tensor) -> Tensor:
    # torch's own rms_norm is a composite that takes twice as long for a few rows
    scale = torch.add(epsilon, (x * x).sum(-1, keepdim=True), alpha=1.0 / x.shape[-1]).rsqrt_()
    return x * scale * weight


def _unsupported(checkpoint: Checkpoint, key: str, value: object, wanted: str) -> ModelDirectoryError:
    return ModelDirectoryError(
        f"{checkpoint.directory / 'config.json'}: {key} is {value!r} and this server knows {wanted} only: serve the model with vLLM."
    )


class Qwen3VL:
    """The model of one checkpoint. All methods run under torch.inference_mode and on the calling thread."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Load the weights; raises ModelDirectoryError when they do not fit config.json or the variant is
        unknown."""
        config = checkpoint.config
        try:
            text: dict[str, Any] = config["text_config"]
            vision: dict[str, Any] = config["vision_config"]
            rope: dict[str, Any] = text.get("rope_parameters") or text.get("rope_scaling") or {}
            self.image_token: int = config["image_token_id"]
            self.video_token: int = config["video_token_id"]
            self.hidden: int = text["hidden_size"]
            self.vocabulary: int = text["vocab_size"]
            self.heads: int = text["num_attention_heads"]
            self.kv_heads: int = text["num_key_value_heads"]
            self.head_width: int = text.get("head_dim") or self.hidden // self.heads
            self.max_positions: int = text["max_position_embeddings"]
            self._sections: list[int] = rope.get("mrope_section", [24, 20, 20])
            theta = float(rope.get("rope_theta", text.get("rope_theta", 5_000_000)))
            layers, inner = text["num_hidden_layers"], text["intermediate_size"]
            self.merge: int = vision["spatial_merge_size"]
            self.patch: int = vision["patch_size"]
            self._vision_heads: int = vision["num_heads"]
            self._deepstack: list[int] = vision["deepstack_visual_indexes"]
            width, vision_inner, frames = (
                vision["hidden_size"],
                vision["intermediate_size"],
                vision["temporal_patch_size"],
            )
            channels, out_width, grid = (
                vision["in_channels"],
                vision["out_hidden_size"],
                vision["num_position_embeddings"],
            )
            depth = vision["depth"]
        except (KeyError, TypeError) as error:
            raise ModelDirectoryError(
                f"{checkpoint.directory / 'config.json'} lacks {error}: restore the file from the checkpoint."
            ) from error
        rope_type = rope.get("rope_type", "default")
        if rope_type != "default":
            raise _unsupported(checkpoint, "rope_type", rope_type, "the default rotary embedding")
        if text.get("hidden_act", "silu") != "silu":
            raise _unsupported(checkpoint, "text_config.hidden_act", text["hidden_act"], "silu")
        if vision.get("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh":
            raise _unsupported(checkpoint, "vision_config.hidden_act", vision["hidden_act"], "gelu_pytorch_tanh")
        if text.get("attention_bias", False):
            raise _unsupported(checkpoint, "text_config.attention_bias", True, "attention without a bias")

        weights = _Weights(checkpoint)
        self._epsilon = torch.tensor(float(text.get("rms_norm_eps", 1e-6)))
        self._scale = self.head_width**-0.5
        prefix, head = "model.language_model", self.head_width
        self._embedding = weights.take(f"{prefix}.embed_tokens.weight", self.vocabulary, self.hidden)
        self._layers: list[_TextLayer] = []
        for index in range(layers):
            name = f"{prefix}.layers.{index}"
            attention, mlp = f"{name}.self_attn", f"{name}.mlp"
            query_norm = weights.take(f"{attention}.q_norm.weight", head).expand(self.heads, head)
            key_norm = weights.take(f"{attention}.k_norm.weight", head).expand(self.kv_heads, head)
            self._layers.append(
                _TextLayer(
                    norm1=weights.take(f"{name}.input_layernorm.weight", self.hidden),
                    qkv=torch.cat(
                        [
                            weights.take(f"{attention}.q_proj.weight", self.heads * head, self.hidden),
                            weights.take(f"{attention}.k_proj.weight", self.kv_heads * head, self.hidden),
                            weights.take(f"{attention}.v_proj.weight", self.kv_heads * head, self.hidden),
                        ]
                    )
                    .t()
                    .contiguous(),
                    head_norm=torch.cat([query_norm, key_norm]),
                    out=weights.take(f"{attention}.o_proj.weight", self.hidden, self.heads * head).t().contiguous(),
                    norm2=weights.take(f"{name}.post_attention_layernorm.weight", self.hidden),
                    gate_up=torch.cat(
                        [
                            weights.take(f"{mlp}.gate_proj.weight", inner, self.hidden),
                            weights.take(f"{mlp}.up_proj.weight", inner, self.hidden),
                        ]
                    )
                    .t()
                    .contiguous(),
                    down=weights.take(f"{mlp}.down_proj.weight", self.hidden, inner).t().contiguous(),
                )
            )
        self._inner = inner
        self._norm = weights.take(f"{prefix}.norm.weight", self.hidden)
        tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
        self._head = (
            self._embedding if tied and not weights.has("lm_head.weight") else weights.take("lm_head.weight", self.vocabulary, self.hidden)
        )
        self._frequencies = 1.0 / (theta ** (torch.arange(0, head, 2, dtype=torch.float32) / head))
        cos, sin = self._rotation(torch.arange(self.max_positions).expand(3, -1))
        self._cos_table, self._sin_table = cos, sin

        visual = "model.visual"
        kernel = weights.take(f"{visual}.patch_embed.proj.weight", width, channels, frames, self.patch, self.patch)
        # A still image is repeated over the temporal patch, so the kernel's frames can be added up once.
        self._patch_kernel = kernel.sum(2).reshape(width, -1).contiguous()
        self._patch_bias = weights.take(f"{visual}.patch_embed.proj.bias", width)
        self._position_grid = weights.take(f"{visual}.pos_embed.weight", grid, width)
        self._grid_side = int(grid**0.5)
        vision_head = width // self._vision_heads
        vision_theta = float((vision.get("rope_parameters") or {}).get("rope_theta", 10_000.0))
        self._vision_frequencies = 1.0 / (vision_theta ** (torch.arange(0, vision_head // 2, 2, dtype=torch.float32) / (vision_head // 2)))
        self._vision_layers = [
            _VisionLayer(
                norm1=weights.affine(f"{visual}.blocks.{index}.norm1", width),
                qkv=weights.affine(f"{visual}.blocks.{index}.attn.qkv", 3 * width, width),
                proj=weights.affine(f"{visual}.blocks.{index}.attn.proj", width, width),
                norm2=weights.affine(f"{visual}.blocks.{index}.norm2", width),
                fc1=weights.affine(f"{visual}.blocks.{index}.mlp.linear_fc1", vision_inner, width),
                fc2=weights.affine(f"{visual}.blocks.{index}.mlp.linear_fc2", width, vision_inner),
            )
            for index in range(depth)
        ]
        self._merged_width = width * self.merge**2

        def merger(name: str, norm_after_shuffle: bool) -> _Merger:
            return _Merger(
                norm=weights.affine(f"{name}.norm", self._merged_width if norm_after_shuffle else width),
                fc1=weights.affine(f"{name}.linear_fc1", self._merged_width, self._merged_width),
                fc2=weights.affine(f"{name}.linear_fc2", out_width, self._merged_width),
                norm_after_shuffle=norm_after_shuffle,
            )

        self._merger = merger(f"{visual}.merger", norm_after_shuffle=False)
        self._deep_mergers = [
            merger(f"{visual}.deepstack_merger_list.{index}", norm_after_shuffle=True) for index in range(len(self._deepstack))
        ]
        self._grid_tables = functools.lru_cache(maxsize=64)(self._vision_tables)

    # Vision tower

    def _vision_tables(self, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
        """Position embedding [N, width] and rotary cos, signed sin [N, 1, E] of a grid of rows x columns
        patches, in the order in which patches are merged."""
        m, side = self.merge, self._grid_side

        def merged_order(grid: Tensor) -> Tensor:
            return grid.reshape(rows // m, m, columns // m, m).permute(0, 2, 1, 3).reshape(-1)

        y = merged_order(torch.arange(rows)[:, None].expand(rows, columns))
        x = merged_order(torch.arange(columns)[None].expand(rows, columns))
        ys, xs = torch.linspace(0, side - 1, rows)[y], torch.linspace(0, side - 1, columns)[x]
        y0, x0 = ys.long(), xs.long()
        y1, x1 = (y0 + 1).clamp(max=side - 1), (x0 + 1).clamp(max=side - 1)
        fy, fx = (ys - y0)[:, None], (xs - x0)[:, None]
        table = self._position_grid
        embedding = (
            table[y0 * side + x0] * ((1 - fy) * (1 - fx))
            + table[y0 * side + x1] * ((1 - fy) * fx)
            + table[y1 * side + x0] * (fy * (1 - fx))
            + table[y1 * side + x1] * (fy * fx)
        )
        angle = torch.cat([y[:, None] * self._vision_frequencies, x[:, None] * self._vision_frequencies], -1)
        cos, sin = angle.cos(), angle.sin()
        return embedding, torch.cat([cos, cos], -1)[:, None], torch.cat([-sin, sin], -1)[:, None]

    def _merge(self, merger: _Merger, x: Tensor) -> Tensor:
        if merger.norm_after_shuffle:
            x = functional.layer_norm(x.reshape(-1, self._merged_width), (self._merged_width,), *merger.norm, _DEEPSTACK_EPSILON)
        else:
            x = functional.layer_norm(x, (x.shape[-1],), *merger.norm, _DEEPSTACK_EPSILON)
            x = x.reshape(-1, self._merged_width)
        return functional.linear(functional.gelu(functional.linear(x, *merger.fc1)), *merger.fc2)

    @torch.inference_mode()
    def see(self, patches: Tensor, rows: int, columns: int) -> ImageFeatures:
        """Run the vision tower on one image: `patches` [rows * columns, channels * patch * patch],
        normalised, in merging order."""
        embedding, cos, sin = self._grid_tables(rows, columns)
        x = functional.linear(patches, self._patch_kernel, self._patch_bias) + embedding
        count, width = x.shape
        heads = self._vision_heads
        head = width // heads
        deepstack: list[Tensor] = []
        for index, layer in enumerate(self._vision_layers):
            y = functional.layer_norm(x, (width,), *layer.norm1, _DEEPSTACK_EPSILON)
            qkv = functional.linear(y, *layer.qkv).view(count, 3 * heads, head)
            qk = _rotate(qkv[:, : 2 * heads], cos, sin)
            query, key = (part.transpose(0, 1)[None] for part in qk.split(heads, 1))
            value = qkv[:, 2 * heads :].transpose(0, 1)[None]
            y = functional.scaled_dot_product_attention(query, key, value)
            x = x + functional.linear(y[0].transpose(0, 1).reshape(count, width), *layer.proj)
            y = functional.layer_norm(x, (width,), *layer.norm2, _DEEPSTACK_EPSILON)
            y = functional.gelu(functional.linear(y, *layer.fc1), approximate="tanh")
            x = x + functional.linear(y, *layer.fc2)
            if index in self._deepstack:
                deepstack.append(self._merge(self._deep_mergers[self._deepstack.index(index)], x))
        return ImageFeatures(self._merge(self._merger, x), tuple(deepstack), rows // self.merge, columns // self.merge)

    # Text model

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Interleaved multimodal rotary embedding: positions [3, L] (time, row, column) -> cos, signed sin
        [L, 1, E]."""
        angles = positions[..., None].float() * self._frequencies
        angle = angles[0].clone()
        for axis in (1, 2):
            index = slice(axis, self._sections[axis] * 3, 3)
            angle[..., index] = angles[axis][..., index]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([cos, cos], -1)[:, None], torch.cat([-sin, sin], -1)[:, None]

    def positions(self, tokens: list[int], images: list[ImageFeatures]) -> tuple[Tensor, int]:
        """Rotary positions [3, L] of a prompt whose image tokens belong to `images` in order, and the next
        one."""
        parts: list[Tensor] = []
        place, start, remaining = 0, 0, iter(images)
        while place < len(tokens):
            if tokens[place] == self.image_token:
                image = next(remaining)
                row = torch.arange(image.rows).repeat_interleave(image.columns)
                column = torch.arange(image.columns).repeat(image.rows)
                parts.append(torch.stack([torch.zeros_like(row), row, column]) + start)
                place += image.rows * image.columns
                start += max(image.rows, image.columns)
            else:
                end = place
                while end < len(tokens) and tokens[end] != self.image_token:
                    end += 1
                parts.append(torch.arange(start, start + end - place).expand(3, -1))
                start += end - place
                place = end
        return torch.cat(parts, 1), start

    @torch.inference_mode()
    def prefill(self, tokens: list[int], images: list[ImageFeatures]) -> Prefilled:
        """Run a prompt through the text model; `tokens` holds one image token for each merged token of
        `images`."""
        ids = torch.tensor(tokens)
        positions, next_position = self.positions(tokens, images)
        cos, sin = self._rotation(positions)
        x = self._embedding[ids]
        places = (ids == self.image_token).nonzero()[:, 0]
        deepstack: list[Tensor] = []
        if images:
            x[places] = torch.cat([image.merged for image in images])
            deepstack = [torch.cat(level) for level in zip(*(image.deepstack for image in images), strict=True)]
        length, heads, shared = len(tokens), self.heads, self.kv_heads
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for index, layer in enumerate(self._layers):
            qkv = _rms(x, layer.norm1, self._epsilon) @ layer.qkv
            qkv = qkv.view(length, heads + 2 * shared, self.head_width)
            normed = _rms(qkv[:, : heads + shared], layer.head_norm, self._epsilon)
            qk = _rotate(normed, cos, sin).transpose(0, 1)
            query, key, value = qk[:heads], qk[heads:], qkv[:, heads + shared :].transpose(0, 1)
            keys.append(key)
            values.append(value)
            last = index == len(self._layers) - 1
            if last:  # of the last layer only the last token is read
                x, query = x[-1:], query[:, -1:]
            y = functional.scaled_dot_product_attention(
                query[None],
                key.repeat_interleave(heads // shared, 0)[None],
                value.repeat_interleave(heads // shared, 0)[None],
                is_causal=not last,
            )
            x = x + y[0].transpose(0, 1).reshape(len(x), -1) @ layer.out
            x = self._feed_forward(x, layer)
            if index < len(deepstack) and not last:
                x[places] += deepstack[index]
        logits = functional.linear(_rms(x, self._norm, self._epsilon), self._head)[0]
        return Prefilled(logits, torch.stack(keys), torch.stack(values), next_position)

    def _feed_forward(self, x: Tensor, layer: _TextLayer) -> Tensor:
        inner = _rms(x, layer.norm2, self._epsilon) @ layer.gate_up
        inner = functional.silu(inner[:, : self._inner]) * inner[:, self._inner :]
        return x + inner @ layer.down

    def new_cache(self, slots: int, capacity: int) -> SlotCache:
        """An empty cache for `slots` requests of at most `capacity` tokens each, prompt and answer
        together."""
        capacity = -(-capacity // BUCKET) * BUCKET
        shape = (slots * self.kv_heads, capacity, self.head_width)
        keys, values = ([torch.zeros(shape) for _ in self._layers] for _ in range(2))
        return SlotCache(keys, values, slots, capacity, [0] * slots, [0] * slots)

    @torch.inference_mode()
    def decode(self, cache: SlotCache, tokens: list[int]) -> Tensor:
        """Append one token to each of the first S = len(tokens) slots; returns the logits [S, V] of the
        next one.

        Free slots among them are computed in vain; occupied slots beyond them stay as they are.
        """
        slots, heads, shared, head = len(tokens), self.heads, self.kv_heads, self.head_width
        lengths = cache.length[:slots]
        span = -(-(max(lengths) + 1) // BUCKET) * BUCKET
        length = torch.tensor(lengths)
        hidden = torch.arange(span)[None] > length[:, None]
        mask = torch.zeros(slots, span).masked_fill_(hidden, float("-inf")).repeat_interleave(shared, 0)[:, None]
        rows = torch.arange(slots * shared)
        places = length.repeat_interleave(shared)
        position = torch.tensor(cache.position[:slots])
        cos, sin = self._cos_table[position], self._sin_table[position]
        x = self._embedding[torch.tensor(tokens)]
        for layer, keys, values in zip(self._layers, cache.keys, cache.values, strict=True):
            qkv = _rms(x, layer.norm1, self._epsilon) @ layer.qkv
            qkv = qkv.view(slots, heads + 2 * shared, head)
            qk = _rotate(_rms(qkv[:, : heads + shared], layer.head_norm, self._epsilon), cos, sin)
            keys[rows, places] = qk[:, heads:].reshape(slots * shared, head)
            values[rows, places] = qkv[:, heads + shared :].reshape(slots * shared, head)
            query = qk[:, :heads].reshape(slots * shared, heads // shared, head)
            scores = torch.baddbmm(mask, query, keys[: len(rows), :span].transpose(1, 2), alpha=self._scale)
            y = torch.bmm(torch.softmax(scores, -1), values[: len(rows), :span])
            x = x + y.view(slots, heads * head) @ layer.out
            x = self._feed_forward(x, layer)
        for slot, used in enumerate(lengths):
            if used:
                cache.length[slot] += 1
                cache.position[slot] += 1
        return functional.linear(_rms(x, self._norm, self._epsilon), self._head)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x [..., E]; `sin` carries the sign of rotate_half, so that halves are only
    swapped."""
    half = x.shape[-1] // 2
    return torch.addcmul(x * cos, x.unflatten(-1, (2, half)).flip(-2).flatten(-2), sin)


@torch.inference_mode()
def agreeing_shapes(model: Qwen3VL, shapes: tuple[int, ...], capacity: int) -> tuple[int, ...]:
    """Which numbers of slots may be mixed freely on this machine, ascending.

    Random requests are decoded alone in slot 0 of the largest shape, which gives the bits to be met; then
    together, moved from slot to slot, in every shape. A shape agrees when every request has the same bits
    in every place. (1,) when not even the largest agrees with itself: one request at a time is independent
    of others by itself.
    """
    generator = torch.Generator().manual_seed(0)
    most = max(shapes)
    prompts: list[Prefilled] = []
    for index in range(most):
        length = 1 + (capacity - 2) * index // most
        shape = (2, len(model._layers), model.kv_heads, length, model.head_width)
        keys, values = torch.randn(shape, generator=generator)
        prompts.append(Prefilled(torch.empty(0), keys, values, length))
    tokens = [(7 + 13 * index) % model.vocabulary for index in range(most)]
    expected: list[Tensor] = []
    for prompt, token in zip(prompts, tokens, strict=True):
        alone = model.new_cache(most, capacity)
        alone.put(0, prompt)
        expected.append(model.decode(alone, [token] + [0] * (most - 1))[0])
    agreeing = set(shapes)
    cache = model.new_cache(most, capacity)
    for rotation in range(0, most, 5):
        order = [(slot * 3 + rotation) % most for slot in range(most)]
        for size in shapes:
            for slot, index in enumerate(order):
                cache.put(slot, prompts[index])
            logits = model.decode(cache, [tokens[index] for index in order[:size]])
            if not torch.equal(logits, torch.stack([expected[index] for index in order[:size]])):
                agreeing.discard(size)
    return tuple(sorted(agreeing)) if most in agreeing else (1,)
