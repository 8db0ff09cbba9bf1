"""Stands in for veRL's merger: one safetensors file with what the stand-in trainer saved."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("command", choices=["merge"])
for name in ("backend", "local_dir", "target_dir"):
    parser.add_argument(f"--{name}", required=True)
arguments = parser.parse_args()
assert arguments.backend == "fsdp"
(saved,) = Path(arguments.local_dir).glob("model_world_size_*_rank_0.pt")
target = Path(arguments.target_dir)
target.mkdir(parents=True, exist_ok=True)
(target / "model.safetensors").write_text(saved.read_text())
(target / "config.json").write_text(json.dumps({"model_type": "qwen3_vl"}))
