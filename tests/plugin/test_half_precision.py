"""A pipeline of the SD2 family in float16, in real sessions: stored, its noise measured, green again, and red."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.reading import entries
from tests.plugin.real import gate

CASES = ("dense", "unet-magnitude-linear-0.50", "unet-sparsegpt-linear-0.50")
OPTIONS = ("--dtype=float16", "--captions=16", "--tier=full", "-k", " or ".join(CASES))
PLANTED = """
from harness.generation import call

right = call.latents
call.latents = lambda *given, **more: right(*given, **more) * 0.9
"""


def test_half_precision_from_the_first_run_to_a_red_one(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted defect is start noise of another size. The control: the same command without it is green."""
    own = (*OPTIONS, f"--baselines={tmp_path / 'half.json'}")
    first = gate(place, *own, "--update-baselines", "--baseline-reason=first")
    assert first.returncode == 0, first.stdout + first.stderr
    measured = gate(place, *own, "--batch-size=8", "--calibrate-noise=2", "--baseline-reason=noise")
    assert measured.returncode == 0, measured.stdout + measured.stderr
    stored = entries(tmp_path / "half.json")
    assert len(stored) == len(CASES)
    for entry in stored.values():
        assert entry.provenance.noise_runs == 2
        assert "threads 1, 2; batches of 8; one machine" in entry.provenance.noise_from
        assert all(3 * figure.noise <= figure.tolerance for figure in entry.quality.values())
    # Other batches and threads make half precision round in another way.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    green = gate(place, *own, "--batch-size=5")
    assert green.returncode == 0 and green.stdout.count(" PASS") >= len(CASES), green.stdout + green.stderr
    assert "tolerances are floors" not in green.stdout
    (tmp_path / "planted_defect.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    red = gate(place, *own, "--batch-size=5", "-p", "planted_defect")
    assert red.returncode == 1 and "the latent after step 1" in red.stdout, red.stdout + red.stderr
