"""Packed rollouts have the log-probabilities, entropies and gradients of separate ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from p2r_engines.needle_scenes import draw_scene
from p2r_engines.shared_prefix import first_equal, log_probs

MODEL = Path(__file__).parents[2] / "models" / "tiny"


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForImageTextToText
    from trl.trainer.utils import add_fused_lm_head

    loaded = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)
    add_fused_lm_head(loaded, outputs=("log_probs", "entropy"))
    return loaded


def batch() -> dict[str, Any]:
    """Two prompts (one and two images), three rollouts each of different lengths, rows shuffled."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(MODEL, padding_side="left")
    images = [Image.fromarray(draw_scene(seed)[0]).resize((320, 320)) for seed in (1, 2)]
    crop = images[1].crop((0, 0, 96, 64))
    prompts = []
    for shown, text in (([images[0]], "What letter is on the red circle? Think step by step."), ([images[1], crop], "Short?")):
        content = [*({"type": "image"} for _ in shown), {"type": "text", "text": text}]
        prompts.append((shown, processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)))
    order = [0, 1, 1, 0, 1, 0]
    inputs = processor(
        images=[prompts[k][0] for k in order],
        text=[prompts[k][1] for k in order],
        padding=True,
        return_tensors="pt",
        return_mm_token_type_ids=True,
    )
    generator = torch.Generator().manual_seed(1)
    completions = torch.randint(10, 500, (6, 9), generator=generator)
    present = (torch.arange(9)[None] < torch.tensor([9, 4, 7, 1, 9, 5])[:, None]).long()
    return {
        "input_ids": torch.cat([inputs["input_ids"], completions], 1),
        "attention_mask": torch.cat([inputs["attention_mask"], present], 1),
        "completion_length": 9,
        "pixel_values": inputs["pixel_values"],
        "image_grid_thw": inputs["image_grid_thw"],
        "num_images": [len(prompts[k][0]) for k in order],
        "mm_token_type_ids": torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(completions)], 1),
    }


def test_equal_to_separate_sequences(model: Any) -> None:
    rows = batch()
    weights = torch.randn(6, 9, generator=torch.Generator().manual_seed(2))
    labels = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, -100)
    labels[:, :-9] = -100
    separate = model(
        input_ids=rows["input_ids"],
        attention_mask=rows["attention_mask"],
        pixel_values=rows["pixel_values"],
        image_grid_thw=rows["image_grid_thw"],
        mm_token_type_ids=rows["mm_token_type_ids"],
        labels=labels,
        fused_lm_head=True,
    )
    expected, expected_entropy = separate.log_probs[:, -9:], separate.entropy[:, -9:]
    (expected * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    found, entropy = log_probs(model, model.model, rows)
    (found * weights).sum().backward()
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(entropy, expected_entropy, atol=2e-4, rtol=1e-4)
    assert len(gradients) > 100
    for name, parameter in model.named_parameters():
        if name in gradients:
            scale = gradients[name].abs().max() + 1e-6
            assert ((parameter.grad - gradients[name]).abs().max() / scale) < 2e-3, name
    model.zero_grad()


def test_equal_tensors_are_found_though_their_few_compared_values_agree() -> None:
    one = torch.arange(1000.0).reshape(10, 100)
    other = one.clone()
    other[0, 1] += 1
    assert first_equal([one, other, one.clone(), other.clone(), one.reshape(100, 10), one[:5]]) == [0, 1, 0, 1, 4, 5]
    halves = [torch.tensor([0.5, 2], dtype=torch.bfloat16), torch.tensor([0.5, 2], dtype=torch.bfloat16)]
    assert first_equal(halves) == [0, 0]
