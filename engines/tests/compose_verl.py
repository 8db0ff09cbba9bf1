"""Composes overrides against the veRL that is installed beside the running interpreter: JSON list on stdin -> resolved JSON on stdout."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

found = importlib.util.find_spec("verl")
assert found is not None and found.origin is not None
root = Path(found.origin).parent
with initialize_config_dir(str(root / "trainer" / "config"), version_base=None):
    config = compose("ppo_trainer", json.load(sys.stdin))
source = "\n".join(path.read_text() for path in root.rglob("*.py"))
json.dump({"config": OmegaConf.to_container(config, resolve=True, throw_on_missing=False), "source": source}, sys.stdout)
