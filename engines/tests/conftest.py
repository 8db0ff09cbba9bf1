"""Tests run side by side, and so do the engines that they start: OpenMP's threads sleep while they wait, as the platform has them."""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
