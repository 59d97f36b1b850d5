"""A workload of a tiny pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.targets import TARGETS
from harness.targets.resolve import resolve
from harness.workloads.user import user
from harness.workloads.workload import Workload
from tests.pipelines import save_clip_scorer, save_coco


@pytest.fixture
def workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Workload]:
    """Return a function that makes a workload of a tiny pipeline: a number of the 80 captions, further options."""
    monkeypatch.setitem(TARGETS, "tiny", "tests.pipelines:tiny")
    save_coco(tmp_path / "captions.json", 40)
    save_clip_scorer(tmp_path / "scorer")

    def make(captions: int, target: str = "tiny", dtype: str | None = None, file: Path | None = None) -> Workload:
        spec = resolve(target, dtype=dtype)
        scorer = str(tmp_path / "scorer")
        return user(spec, file or tmp_path / "captions.json", captions, scorer=scorer, steps=1)

    return make
