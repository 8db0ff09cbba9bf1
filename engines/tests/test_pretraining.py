"""The tiny models' recipe: disjoint splits, transformers' arithmetic, deterministic examples, a run from nothing to two checkpoints."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2r_engines.needle_scenes import SPLITS, draw_scene
from p2r_engines.pretraining import patches
from p2r_engines.pretraining.examples import Habits, build_prompt, draw_examples, perceived
from p2r_engines.pretraining.export import hashes
from p2r_engines.pretraining.held_out import Speaker, held_out_items, interval
from p2r_engines.pretraining.network import Layout, Network, annotated, joined
from p2r_engines.pretraining.recipe import Plan, Run
from p2r_engines.pretraining.role_text import INSTRUCTION, boxes_text, read_boxes
from p2r_engines.pretraining.sizes import SIZES, VOCABULARY, configuration
from p2r_engines.pretraining.stages import CROP_GRIDS, rate
from p2r_engines.pretraining.tokenizer import special_tokens, train_tokenizer

TOKENIZER = train_tokenizer()
TINY = Plan("test", scenes=8, habit_scenes=4, steps=(6, 6, 3), batch=8, held_out_scenes=3, development_scenes=1, save_seconds=0.0)


def untrained(size: str = "test") -> Any:
    from transformers import Qwen3VLForConditionalGeneration

    torch.manual_seed(0)
    return Qwen3VLForConditionalGeneration(configuration(SIZES[size], special_tokens(TOKENIZER))).eval()


def test_sizes_are_those_of_the_scale_axis() -> None:
    from transformers import Qwen3VLForConditionalGeneration

    millions = {}
    for name in ("small", "middle", "large"):
        with torch.device("meta"):
            model = Qwen3VLForConditionalGeneration(configuration(SIZES[name], special_tokens(TOKENIZER)))
        millions[name] = sum(p.numel() for p in model.parameters()) / 1e6
    assert 1.8 < millions["small"] < 2.4
    assert 5.8 < millions["middle"] < 6.6
    assert 14.5 < millions["large"] < 17


def test_instructions_are_those_of_the_platform() -> None:
    prompts = (Path(__file__).parents[2] / "method" / "prompts.ts").read_text()
    for sentence in INSTRUCTION.values():
        assert sentence in prompts


def test_tokenizer_splits_digits_and_gives_text_back() -> None:
    assert TOKENIZER.get_vocab_size() == VOCABULARY
    text = boxes_text([[10.0, 20.0, 300.0, 959.0]], ["red circle"], 960, 960)
    ids = TOKENIZER.encode(text).ids
    assert TOKENIZER.decode(ids) == text
    assert not any(re.search(r"\d.*\d", token) for token in TOKENIZER.encode("12345").tokens)


@pytest.mark.parametrize(("width", "height"), [(960, 960), (1920, 1080), (1000, 1500)])
def test_boxes_survive_being_said(width: int, height: int) -> None:
    box = [0.1 * width, 0.2 * height, 0.3 * width, 0.9 * height]
    (found,) = read_boxes(boxes_text([box], ["x"], width, height), width, height)
    assert found == pytest.approx(box, abs=width / 1000)


def test_examples_follow_from_the_seed_alone() -> None:
    one = draw_examples(3, 1, 0, Habits(), TOKENIZER, processes=1)
    two = draw_examples(3, 1, 0, Habits(), TOKENIZER, processes=2)
    other = draw_examples(3, 2, 0, Habits(), TOKENIZER, processes=1)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["whole"], other["whole"])


def test_habits_do_what_they_say() -> None:
    item = next(i for i in held_out_items("pretraining", 3, 1) if len(i.question.targets) == 2)
    true = [[float(v) for v in o.box] for o in item.question.targets]
    assert perceived(item.question, Habits(), 960, 960, random.Random(0))[0] == true
    assert perceived(item.question, Habits(dropped=1), 960, 960, random.Random(0))[0] == true[:1]
    for loose, box in zip(perceived(item.question, Habits(loose=1), 960, 960, random.Random(0))[0], true, strict=True):
        assert loose[0] <= box[0] and loose[2] >= box[2] and loose != box


def test_the_network_equals_transformers_on_images_of_several_shapes() -> None:
    model = untrained()
    network = Network(model)
    image, _, _ = draw_scene(5)
    wide = image[:540, :960]
    cuts = [patches.crop(wide, box) for box in ([100.0, 100.0, 180.0, 160.0], [300.0, 50.0, 420.0, 400.0])]
    crops = [cut for cut in cuts if cut is not None]
    whole, grid = patches.whole(wide)
    prompt = build_prompt(TOKENIZER, "What letter is on the red circle?", grid, [g for _, g in crops])
    assert len({grid, *(g for _, g in crops)}) == 3

    device = torch.device("cpu")
    as_tensor = lambda values: torch.tensor([list(v) for v in values])  # noqa: E731
    with torch.no_grad():
        seen = network.see(torch.from_numpy(whole)[None], as_tensor([grid]), Layout([grid], 400, network.tower, device))
        layout = Layout(CROP_GRIDS, 64, network.tower, device)
        cut = network.see(torch.from_numpy(np.stack([c for c, _ in crops])), as_tensor(g for _, g in crops), layout)
        cut = cut[0].reshape(1, -1, cut[0].shape[-1]), [x.reshape(1, -1, x.shape[-1]) for x in cut[1]]
        ids, slots = torch.tensor([prompt.ids]), torch.tensor([prompt.slots])
        positions = torch.tensor(prompt.positions).T[:, None]
        features = joined(seen, cut)
        ours = model.lm_head(network.read(ids, slots, positions, features))
        flat = []
        for values, (rows, columns) in [(whole, grid), *crops]:
            pixels = torch.from_numpy(values[: rows * columns]).float().view(-1, 3, 1, 16, 16) / 127.5 - 1
            flat.append(pixels.expand(-1, -1, 2, -1, -1).reshape(rows * columns, -1))
        theirs = model(
            input_ids=ids,
            pixel_values=torch.cat(flat),
            image_grid_thw=torch.tensor([[1, *g] for g in (grid, *(g for _, g in crops))]),
            mm_token_type_ids=(slots >= 0).long(),
        ).logits
        assert torch.allclose(ours, theirs, atol=2e-5)

        cache: Any = []
        network.start(ids[:, :-1], slots[:, :-1], positions[..., :-1], features, cache)
        last = network.go_on(ids[:, -1], positions[0, :, -1], cache, torch.ones(1, ids.shape[1], dtype=torch.bool))
        assert torch.allclose(model.lm_head(last), theirs[:, -1], atol=2e-5)


def test_lines_are_drawn_where_the_box_is() -> None:
    image = np.full((960, 960, 3), 128, np.uint8)
    values, grid = patches.whole(image)
    size, boxes = torch.tensor([[960, 960]]), torch.tensor([[[96.0, 96.0, 192.0, 288.0]]])
    out = annotated(torch.from_numpy(values)[None], torch.tensor([list(grid)]), size, boxes, torch.tensor([1]))[0]
    drawn = out.view(10, 10, 2, 2, 3, 16, 16).permute(0, 2, 5, 1, 3, 6, 4).reshape(320, 320, 3)
    changed = (drawn != 128).any(-1)
    rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
    assert (int(rows[0]), int(rows[-1])) == (31, 96) and (int(columns[0]), int(columns[-1])) == (31, 64)
    assert drawn[50, 32, 0] > 180 and drawn[50, 32, 2] < 80 and not changed[40:90, 40:60].any()


def test_the_rate_warms_up_and_decays() -> None:
    rates = [rate(step, 1000, 1.0) for step in range(1000)]
    assert rates[0] < 0.05 and max(rates) > 0.98 and rates[-1] < 0.04
    assert rates.index(max(rates)) < 60


def test_wilson_interval() -> None:
    low, high = interval(50, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)


def test_a_run_from_nothing_writes_two_checkpoints_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Run(TINY, tmp_path / "whole", 1, "abc")
    whole.finish()

    broken = Run(TINY, tmp_path / "broken", 1, "abc")
    save, saves = broken._save, []

    def save_thrice(optimiser: Any) -> None:
        save(optimiser)
        saves.append(broken.step)
        if len(saves) == 9:  # in stage B
            raise KeyboardInterrupt

    monkeypatch.setattr(broken, "_save", save_thrice)
    with pytest.raises(KeyboardInterrupt):
        broken.finish()
    again = Run(TINY, tmp_path / "broken", 1, "abc")
    assert (again.stage, again.step) == (1, saves[-1]) and 0 < again.step < 6
    again.finish()
    for name, value in whole.model.state_dict().items():
        assert torch.allclose(value, again.model.state_dict()[name], atol=1e-5), name

    from transformers import AutoModelForImageTextToText, AutoProcessor

    for name in ("capable", "base"):
        directory = tmp_path / "whole" / name
        record = json.loads((directory / "training.json").read_text())
        assert record["files"] == hashes(directory)
        assert [s["stage"] for s in record["stages"]] == list("AB" if name == "capable" else "ABC")
        text = (directory / "README.md").read_text()
        assert set(record["figures"]) == {"held-out", "hard"} <= set(SPLITS)
        for figures in record["figures"].values():
            assert f"{figures['p2r']['detail']['share']:.3f}" in text
        assert record["files"]["model.safetensors"] in text
        AutoProcessor.from_pretrained(directory)
        model = AutoModelForImageTextToText.from_pretrained(directory)
        assert model.num_parameters() == record["parameters"]


def test_greedy_text_equals_that_of_transformers() -> None:
    model = untrained()
    item = held_out_items("held-out", 1, 1)[0]
    from p2r_engines.pretraining.held_out import _Request

    (said,) = Speaker(Network(model), TOKENIZER, torch.device("cpu")).say([_Request("What is it?", item, [])], 5)
    values, grid = patches.whole(item.image)
    prompt = build_prompt(TOKENIZER, "What is it?", grid, [])
    pixels = (
        (torch.from_numpy(values[: grid[0] * grid[1]]).float() / 127.5 - 1)
        .view(-1, 3, 1, 256)
        .expand(-1, -1, 2, -1)
        .reshape(grid[0] * grid[1], -1)
    )
    ids = torch.tensor([prompt.ids])
    made = model.generate(
        input_ids=ids,
        pixel_values=pixels,
        image_grid_thw=torch.tensor([[1, *grid]]),
        mm_token_type_ids=(torch.tensor([prompt.slots]) >= 0).long(),
        max_new_tokens=5,
        do_sample=False,
    )
    assert said == TOKENIZER.decode(made[0, ids.shape[1] :].tolist())


def test_a_capable_checkpoint_goes_further_and_gets_part_of_its_habits(tmp_path: Path) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    def weights(directory: Path) -> dict[str, torch.Tensor]:
        return Qwen3VLForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).state_dict()

    few = replace(TINY, steps=(1, 1, 1), held_out_scenes=1)
    Run(few, tmp_path / "first", 1, "abc").finish()
    capable = tmp_path / "first" / "capable"
    Run(replace(few, further=2), tmp_path / "further", 1, "abc", capable).finish()
    record = json.loads((tmp_path / "further" / "capable" / "training.json").read_text())
    assert [(s["stage"], s["steps"]) for s in record["stages"]] == [("A", 1), ("B", 1), ("B", 2)]
    assert record["scenes"] == 2 * few.scenes and len(record["commands"]) == 2 and "--further 2" in record["commands"][1]

    bases = {}
    for strength in (0.0, 0.5, 1.0):
        habits = Habits(1.0, 1.0, 1.0, 1.0, 1.0, strength)
        Run(replace(few, habits=habits), tmp_path / str(strength), 1, "abc", capable).finish()
        bases[strength] = weights(tmp_path / str(strength) / "base")
    for name, value in weights(capable).items():
        assert torch.equal(value, bases[0.0][name]), name
        assert torch.allclose(bases[0.5][name], (value + bases[1.0][name]) / 2, atol=2e-3, rtol=1e-2), name
    assert any(not torch.equal(value, bases[1.0][name]) for name, value in bases[0.0].items())
    with pytest.raises(SystemExit, match="other habits"):
        Run(replace(few, habits=Habits(0.5)), tmp_path / "1.0", 1, "abc", capable)
