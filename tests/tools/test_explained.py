"""Ten planted defects at ten places: the red line names the stage at which each begins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tools.loading import load

TOOL: Any = load("explained")


@pytest.fixture(scope="module")
def bench() -> Any:
    return TOOL.Bench(8)


def test_control_without_a_defect_is_green_and_names_no_stage(bench: Any) -> None:
    verdict, first = bench.verdict(None)
    assert verdict.passed and first == "", verdict.reason


@pytest.mark.parametrize("defect", TOOL.DEFECTS, ids=lambda defect: defect.changes.__name__)
def test_the_red_line_names_the_stage(bench: Any, defect: Any) -> None:
    from harness.verdict.stages import named

    verdict, first = bench.verdict(defect)
    assert not verdict.passed and first == defect.stage, verdict.reason
    wanted = f"the first stage that differs: {named(first)}" if first else "no recorded stage differs"
    assert wanted in verdict.reason


def test_the_defects_are_at_all_stages() -> None:
    kinds = {defect.stage.partition(" ")[0] for defect in TOOL.DEFECTS}
    assert kinds == {"masks", "weights", "text", "latent", "picture", "features", "scores", ""}
    assert len(TOOL.DEFECTS) == 10
