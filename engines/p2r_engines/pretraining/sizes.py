"""The three sizes: tiny twins of the 2B, 4B and 8B models of the paper's Table 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VOCABULARY = 512  # a multiple of 64, so that no padding rows are needed


@dataclass(frozen=True)
class Size:
    """Widths and depths of one Qwen3-VL; `rate` is the peak learning rate of stage B."""

    name: str
    vision_depth: int
    vision_width: int
    vision_inner: int
    vision_heads: int
    deepstack: tuple[int, ...]
    depth: int
    width: int
    inner: int
    heads: int
    key_value_heads: int
    head_width: int
    rotary_sections: tuple[int, int, int]
    rate: float


SIZES = {
    "small": Size("small", 4, 96, 288, 3, (1,), 4, 160, 448, 4, 2, 32, (6, 5, 5), 1.5e-3),
    "middle": Size("middle", 6, 128, 384, 4, (1, 3), 5, 256, 704, 4, 2, 64, (12, 10, 10), 1e-3),
    "large": Size("large", 8, 192, 576, 6, (1, 3), 6, 384, 1024, 6, 2, 64, (12, 10, 10), 7e-4),
    "test": Size("test", 2, 32, 64, 1, (0,), 2, 64, 128, 2, 1, 32, (6, 5, 5), 2e-3),
}


def configuration(size: Size, special: dict[str, int]) -> Any:
    """The transformers configuration of a size; `special` maps the special tokens to their numbers."""
    from transformers import Qwen3VLConfig

    rope = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": list(size.rotary_sections),
        "mrope_interleaved": True,
    }
    return Qwen3VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": size.width,
            "intermediate_size": size.inner,
            "num_hidden_layers": size.depth,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_value_heads,
            "head_dim": size.head_width,
            "max_position_embeddings": 4096,
            "rope_parameters": rope,
            "tie_word_embeddings": True,
            "pad_token_id": special["<|endoftext|>"],
        },
        vision_config={
            "depth": size.vision_depth,
            "hidden_size": size.vision_width,
            "intermediate_size": size.vision_inner,
            "num_heads": size.vision_heads,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": size.width,
            "num_position_embeddings": 400,
            "deepstack_visual_indexes": list(size.deepstack),
            "hidden_act": "gelu_pytorch_tanh",
        },
        image_token_id=special["<|image_pad|>"],
        video_token_id=special["<|video_pad|>"],
        vision_start_token_id=special["<|vision_start|>"],
        vision_end_token_id=special["<|vision_end|>"],
        tie_word_embeddings=True,
    )
