"""The embedded pipeline with few steps, and statistics of it that are good enough to prune by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.execution.bench import Workbench
from harness.pruning.calibration import Calibration, calibrate
from harness.pruning.packages import Recalibrate, recalibration
from harness.targets.target import Target
from harness.workloads.scenes import calibration_captions

CAPTIONS = calibration_captions()[:3]


@pytest.fixture(scope="session")
def target(bench: Workbench) -> Target:
    """The embedded pipeline at two steps."""
    return replace(bench.target, protocol=replace(bench.target.protocol, num_inference_steps=2))


@pytest.fixture(scope="session")
def calibration(target: Target) -> Calibration:
    """Statistics with Gram matrices and sums, of both components, on three captions."""
    return calibrate(target, ["text_encoder", "unet"], "all", CAPTIONS, gram=True, sums=True)


@pytest.fixture(scope="session")
def recalibrate(target: Target) -> Recalibrate:
    """Calibrates again on the same captions."""
    return recalibration(target, CAPTIONS)
