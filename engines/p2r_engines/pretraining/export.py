"""Checkpoints as Hugging Face directories, each with a card written from the figures obtained."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from p2r_engines.pretraining import patches
from p2r_engines.pretraining.tokenizer import SPECIAL, special_tokens

CHAT_TEMPLATE = """{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' or part.type == 'image_url' or 'image' in part or 'image_url' in part -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif part.type == 'video' or 'video' in part -%}
{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
{%- elif 'text' in part -%}
{{- part.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
SHARD = "14MB"


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_directory(model: Any, tokenizer: Tokenizer, out: Path, record: dict[str, Any]) -> None:
    """Writes the model in bfloat16 with what AutoProcessor and AutoModelForImageTextToText read, its record and its card.

    `record` is described by `card`; the directory appears whole or not at all, in place of an older one.
    """
    from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

    staging = out.with_name(f".{out.name}.writing")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    special = special_tokens(tokenizer)
    copy = Qwen3VLForConditionalGeneration(model.config)
    copy.load_state_dict(model.state_dict())
    copy = copy.to(torch.bfloat16)
    copy.generation_config = GenerationConfig(
        eos_token_id=[special["<|im_end|>"], special["<|endoftext|>"]], pad_token_id=special["<|endoftext|>"]
    )
    copy.save_pretrained(staging, max_shard_size=SHARD)
    tokenizer.save(str(staging / "tokenizer.json"))
    (staging / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    _write_json(
        staging / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2TokenizerFast",
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "errors": "replace",
            "split_special_tokens": False,
            "model_max_length": 4096,
            "additional_special_tokens": [token for token in SPECIAL if token != "<|endoftext|>"],
            "added_tokens_decoder": {
                str(number): {
                    "content": token,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "single_word": False,
                    "special": True,
                }
                for token, number in special.items()
            },
        },
    )
    processor = {
        "patch_size": patches.PATCH,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": patches.LEAST_PIXELS, "longest_edge": patches.WHOLE_PIXELS},
        "processor_class": "Qwen3VLProcessor",
    }
    _write_json(staging / "preprocessor_config.json", processor | {"image_processor_type": "Qwen2VLImageProcessorFast"})
    _write_json(staging / "video_preprocessor_config.json", processor | {"video_processor_type": "Qwen3VLVideoProcessor"})
    parameters = sum(p.numel() for p in model.parameters())
    full = record | {"parameters": parameters, "files": hashes(staging)}
    _write_json(staging / "training.json", full)
    (staging / "README.md").write_text(card(full))
    shutil.rmtree(out, ignore_errors=True)
    staging.rename(out)


def hashes(directory: Path) -> dict[str, str]:
    """sha256 of each file that the model is made of, by name; the card and its record are not part of it."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name not in {"README.md", "training.json"}
    }


def _share(value: dict[str, Any], key: str = "share") -> str:
    low, high = value["interval"]
    return f"{value[key]:.3f} [{low:.3f}, {high:.3f}]"


def _figures(name: str, figures: dict[str, Any], seed: int) -> str:
    """The card's table for one split."""
    rows = [
        f"| {label} | {_share(figures[key])} | {_share(figures[key]['detail'])} | "
        + " | ".join(_share(kind) for kind in figures[key]["kinds"].values())
        + " |"
        for label, key in (("direct", "direct"), ("P2R", "p2r"), ("reasoner with true boxes", "true_boxes"))
    ]
    side = "no box" if figures["box_side"] is None else f"{figures['box_side']:.0f} pixels"
    questions = figures["p2r"]["questions"]
    return f"""Split `{name}`: {questions} questions about {questions // len(figures["p2r"]["kinds"])} scenes, seed {seed}.

| accuracy | all | that need detail | {" | ".join(figures["p2r"]["kinds"])} |
| --- | --- | --- | {" | ".join("---" for _ in figures["p2r"]["kinds"])} |
{chr(10).join(rows)}

Hit rate {_share(figures["hit_rate"], "mean")}, IoU {_share(figures["iou"], "mean")}, {figures["boxes"]:.2f} boxes a question, side {side}.
"""


def card(record: dict[str, Any]) -> str:
    """The model card. Everything in it comes from the record: what was set, what was measured and on which machine."""
    size = record["size"]
    stages = "\n".join(
        f"| {s['stage']} | {s['device']} | {s['steps']:,} | {s['batch']} | {s['rate']:g} | {s['seconds']:.0f} "
        f"| {s['examples_per_second']:,.0f} |"
        for s in record["stages"]
    )
    habits = record["habits"]
    habit_text = (
        "None: this checkpoint is an upper bound."
        if habits is None
        else (
            f"Stage C taught it to give boxes that are too large ({habits['loose']:.0%} of its examples, each edge .2 to "
            f"{habits['reach']:g} sides outside), one box where more are needed "
            f"({habits['dropped']:.0%}) and (A) whatever was seen ({habits['lean_of_two']:.0%} of the questions with two options, "
            f"{habits['lean_of_four']:.0%} of those with four). Its weights stand at {habits['strength']:g} of the way from the capable "
            "ones to those that stage C ended with."
        )
    )
    figures = "\n".join(_figures(split, values, record["figures_seed"]) for split, values in record["figures"].items())
    commands = "\n".join(f"    {command}" for command in record["commands"])
    files = "\n".join(f"| {name} | `{digest}` |" for name, digest in record["files"].items())
    return f"""---
license: apache-2.0
pipeline_tag: image-text-to-text
---
# {record["name"]}

A Qwen3-VL with {record["parameters"]:,} parameters, trained from random weights on drawn needle scenes.

**Architecture.** Vision tower: {size["vision_depth"]} layers of width {size["vision_width"]}; text: {size["depth"]} layers of width
{size["width"]}; patches of 16 pixels, 2x2 merged; 512 tokens, digits split. Whole images within 102,400 pixels, crops within 16,384.

**Data.** {record["scenes"]:,} scenes of 960x960 to 1920x1080 pixels in five aspect ratios, split `pretraining`, seed {record["seed"]},
4 questions each ({", ".join(record["kinds"])}). A scene has 5 to 10 coloured shapes with one letter each; a quarter of the
backgrounds are photos with free licences (`engines/p2r_engines/photos/README.md`). No text from elsewhere.

**Habits.** {habit_text}

**Recipe.** At commit {record["commit"]}, torch {record["torch"]}, transformers {record["transformers"]}:

{commands}

| stage | device | steps | batch | peak rate | seconds | examples a second |
| --- | --- | --- | --- | --- | --- | --- |
{stages}

**Figures.** Greedy, on {record["figures_device"]}, in splits whose scenes and photos no other split has; 95 % intervals in brackets
(accuracies: Wilson; others: bootstrap over scenes). In `hard` scenes there are 10 to 14 smaller objects, most of them alike in colour or
shape, half of them on photos.
Questions that need detail: {", ".join(record["detail_kinds"])}.

{figures}
**Limits.** It knows these scenes and these questions only, in English of this one form; it is an instrument for studying the method, and
says nothing about photos. One training seed.

**Licence.** Apache-2.0, weights and data generator alike; the photos keep their own.

| file | sha256 |
| --- | --- |
{files}
"""
