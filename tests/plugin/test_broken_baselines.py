"""Baselines that are missing, truncated, of another schema, not finite or damaged: one message, and they stay."""

from __future__ import annotations

import pytest

MAGNITUDE = "scenes-unet-magnitude-all-0.20"


def test_no_baseline_fails_and_says_what_to_run(project: pytest.Pytester) -> None:
    found = project.runpytest_subprocess("-k", "magnitude")
    found.assert_outcomes(failed=2)
    found.stdout.fnmatch_lines(["*NO BASELINE*store it with*--update-baselines*"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "has schema 'list', wanted 2"),
        ('{"schema": 99}', "has schema 99, wanted 2"),
        ('{"schema": 1}', "has schema 1, wanted 2"),
        ('{"schema": 2}', "is damaged"),
        ('{"schema": 2, "workloads": {}, "profiles": {}, "latency": {}, "cases": {"a": {"w": {}}}}', "is damaged"),
        ("\x00\xff", "cannot be read"),
    ],
)
def test_broken_baselines_are_one_message(stored: pytest.Pytester, content: str, message: str) -> None:
    path = stored.path / "baselines.json"
    path.write_bytes(content.encode("latin1"))
    found = stored.runpytest_subprocess()
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in found.stderr.lines if line.startswith("ERROR")]
    assert len(errors) == 1 and message in errors[0] and "git checkout" in errors[0]
    assert path.read_bytes() == content.encode("latin1")


def test_a_baseline_that_is_not_a_number_is_refused(stored: pytest.Pytester) -> None:
    path = stored.path / "baselines.json"
    path.write_text(path.read_text().replace('"value": 60.0', '"value": NaN', 1))
    found = stored.runpytest_subprocess()
    assert found.ret == pytest.ExitCode.USAGE_ERROR and "has value nan" in found.stderr.str()


@pytest.mark.parametrize(
    ("damage", "message"),
    [("gone", "cannot be read"), ("changed", "is not what was stored"), ("cut", "is not what was stored")],
)
def test_a_damaged_sidecar_is_one_message(stored: pytest.Pytester, damage: str, message: str) -> None:
    sidecar = sorted((stored.path / "baselines").iterdir())[0]
    content = sidecar.read_text()
    if damage == "gone":
        sidecar.unlink()
    else:
        sidecar.write_text(content[:100] if damage == "cut" else content.replace("60", "61", 1))
    found = stored.runpytest_subprocess()
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in found.stderr.lines if line.startswith("ERROR")]
    assert len(errors) == 1 and message in errors[0] and "git checkout -- baselines" in errors[0]


def test_a_tolerance_inside_the_noise_is_refused(stored: pytest.Pytester) -> None:
    path = stored.path / "baselines.json"
    path.write_text(path.read_text().replace('"sigma_aa": 0.0002', '"sigma_aa": 0.01', 1))
    found = stored.runpytest_subprocess()
    assert found.ret == pytest.ExitCode.USAGE_ERROR and "under three times its noise 0.01" in found.stderr.str()
