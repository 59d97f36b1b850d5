"""Baselines that are missing, truncated, of another schema, not finite or damaged: one message, and they stay."""

from __future__ import annotations

import re

import pytest

MAGNITUDE = "scenes-unet-magnitude-all-0.20"


def test_no_baseline_fails_and_says_what_to_run(project: pytest.Pytester) -> None:
    done = project.runpytest_subprocess("-k", "magnitude")
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines(["*NO BASELINE*store it with*--update-baselines*"])


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"schema": 99}', '{"schema": 2}', '{"schema": 3}', "\x00\xff"],
)
def test_broken_baselines_are_one_message(stored: pytest.Pytester, content: str) -> None:
    path = stored.path / "baselines.json"
    path.write_bytes(content.encode("latin1"))
    done = stored.runpytest_subprocess()
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in done.stderr.lines if line.startswith("ERROR")]
    assert len(errors) == 1 and "baselines.json" in errors[0] and "git checkout" in errors[0]
    assert path.read_bytes() == content.encode("latin1")


@pytest.mark.parametrize(("part", "wrong"), [("value", "NaN"), ("noise", "0.01")])
def test_a_figure_that_cannot_be_right_is_refused(stored: pytest.Pytester, part: str, wrong: str) -> None:
    path = stored.path / "baselines.json"
    text, count = re.subn(rf'("clip": {{.*?"{part}": )[^,}}]+', rf"\g<1>{wrong}", path.read_text(), count=1)
    assert count == 1
    path.write_text(text)
    done = stored.runpytest_subprocess()
    assert done.ret == pytest.ExitCode.USAGE_ERROR and "baselines.json" in done.stderr.str()


@pytest.mark.parametrize("damage", ["gone", "changed", "cut"])
def test_a_damaged_sidecar_is_one_message_of_its_case(stored: pytest.Pytester, damage: str) -> None:
    sidecar = next((stored.path / "baselines").glob(f"{MAGNITUDE}.*.json"))
    content = sidecar.read_text()
    if damage == "gone":
        sidecar.unlink()
    else:
        sidecar.write_text(content[:100] if damage == "cut" else content.replace("60", "61", 1))
    done = stored.runpytest_subprocess()
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines([f"{MAGNITUDE}*NO BASELINE (baseline)", f"NO BASELINE (baseline): *{MAGNITUDE}*"])
    assert "Traceback" not in done.stdout.str()
