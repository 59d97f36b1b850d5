"""LPIPS without its extra: one message, before anything is generated. Its figures: tests/vision/test_lpips.py."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.metrics import METRICS


def test_a_missing_torchvision_is_said_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.metrics.metric.find_spec", lambda _: None)
    with pytest.raises(HarnessError) as error:
        METRICS["lpips"].check()
    install = "run `pip install -e '.[vision]'` in the clone of PruneGate"
    assert str(error.value) == f"--metrics lpips needs torchvision, which is not installed; {install}"
