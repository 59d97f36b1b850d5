"""`prunegate explain` as a person calls it: on a finished run, and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.facts import WorkloadFacts
from harness.record import Record, Trace
from harness.results import Result, Results, write
from harness.verdict.baseline import Provenance
from harness.verdict.repository import Repository
from tests.cli.conftest import Command
from tests.report.made_up import cases, results

STAGES = {"weights": [1.0, 2.0], "text": [1.0, 2.0], **{f"latent {i}": [1.0, 2.0] for i in (1, 2, 3, 4)}}
STAGES |= {"picture": [100.0, 120.0], "features": [1.0, 2.0], "scores": [90.0, 91.0]}
CASE = "scenes-unet-magnitude-all-0.40"


def traced(record: Record, moved: dict[str, float], sketch: str = "f0") -> Record:
    """Return a record with stages. moved: stage → what its first number moves by, as a share of the stage's size."""
    stages = {
        name: [of[0] + moved.get(name, 0.0) * (of[0] ** 2 + of[1] ** 2) ** 0.5, of[1]] for name, of in STAGES.items()
    }
    return replace(record, trace=Trace(sketch, "a" * 64, stages))


def measured(workload: str, shift: float = 0.0) -> tuple[Record, Record]:
    """Return the records of a dense case and of a pruned one, with stages. shift: moves the figures of the pruned."""
    made = results(*cases("unet", "magnitude", [0.4]), shift=shift).cases[0].record
    dense = results(*cases("unet", "magnitude", [0.4])).dense["scenes"]
    return replace(traced(dense, {}, ""), workload=workload), replace(traced(made, {}), workload=workload)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with baselines of a dense case and of one pruned case."""
    monkeypatch.chdir(tmp_path)
    facts = WorkloadFacts("scenes", "m", "c", 64, 10, 7.5, 0, "s", "j", "j", None)
    origin = Provenance("abc", "2026-01-01", "made up")
    made = Repository(tmp_path / "baselines.json").updated(measured(facts.key), {facts.key: facts}, (), origin)
    made.write()
    return tmp_path


def run_file(place: Path, moved: dict[str, float], shift: float = 0.0, sketch: str = "f0") -> Path:
    """Write a run in which the pruned case's stages have moved and its figures have shifted."""
    (key,) = Repository.open(place / "baselines.json").baselines.workloads
    dense, pruned = measured(key, shift)
    pruned = traced(pruned, moved, sketch)
    write(place / "run.json", Results((Result(pruned, "REGRESSION (quality)"),), dense={"scenes": dense}))
    return place / "run.json"


def test_a_latent_that_differs_from_a_step_on(command: Command, place: Path) -> None:
    run = run_file(place, {"latent 2": 7.2e-6, "latent 3": 3.6e-4, "latent 4": 2e-3, "picture": 2e-3}, shift=-1)
    done = command("explain", CASE, "--run", run)
    assert done.code == 0 and not done.err
    lines = done.out.splitlines()
    assert lines[:2] == [f"{CASE}: REGRESSION (quality)", "first difference: the latent after step 3"]
    said = dict(line.split(maxsplit=1) for line in lines[: lines.index("")] if line.startswith("  "))
    assert said["masks"] == said["weights"] == said["text"] == "equal"
    assert said["latent"] == "differs from step 3 on (0.8 σ → 40 σ)"
    assert said["picture"] == "differs (40 σ)" and said["features"] == "equal"
    assert any(line.startswith("  CLIP score") and "(-1.000 ±" in line for line in lines)
    dense = lines[lines.index("the dense model, scenes-none-dense-none-0.00") + 1 :]
    assert dense[0] == "no recorded stage differs" and dense[-1] == "no figure moved"


def test_masks_that_differ(command: Command, place: Path) -> None:
    done = command(
        "explain", "--run", run_file(place, {"weights": 0.3}, sketch="0f"), CASE, "--baselines", "baselines.json"
    )
    assert (
        "first difference: the masks" in done.out and "  masks     differs (100.00% of the sampled places)" in done.out
    )


def test_nothing_differs(command: Command, place: Path) -> None:
    out = command("explain", CASE, "--run", run_file(place, {})).out
    assert out.count("no recorded stage differs") == 2 and out.count("no figure moved") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scenes-unet",), "CASE 'scenes-unet' is no id, such as scenes-unet-magnitude-all-0.50"),
        ((CASE, "--run", "gone.json"), "gone.json cannot be read"),
        ((CASE, "--run", "run.json", "--tier", "full"), "--run reads a finished run, and --tier applies to a new one"),
        (
            (CASE.replace("0.40", "0.45"), "--run", "run.json"),
            "--run run.json has no case scenes-unet-magnitude-all-0.45",
        ),
        ((CASE, "--run", "run.json", "--baselines", "other.json"), "other.json has no baseline of " + CASE),
        ((CASE, "--run", "run.json", "--baselines", "run.txt"), "run.txt"),
        (
            (CASE.replace("magnitude", "magnitud"),),
            f"baselines.json has no baseline of {CASE.replace('magnitude', 'magnitud')}; did you mean {CASE}?",
        ),
        ((CASE, "--baselines", "other.json"), f"other.json has no baseline of {CASE}; store one: "),
        ((CASE, "--run"), "--run: expected one argument"),
        ((CASE, "--no-such-option"), f"{CASE}: `pytest benchmarks` measured nothing; it says: "),
        ((), "the following arguments are required: CASE"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_wrong_input_is_one_message(command: Command, place: Path, words: tuple[str, ...], said: str) -> None:
    run_file(place, {})
    assert said in command("explain", *words).refused


def test_baselines_without_stages_are_one_message(command: Command, place: Path) -> None:
    run = run_file(place, {})
    (key,) = Repository.open(place / "baselines.json").baselines.workloads
    old = [replace(record, trace=Trace()) for record in measured(key)]
    repository = Repository.open(place / "baselines.json")
    repository.updated(old, repository.baselines.workloads, (), Provenance("abc", "2026-01-02", "old")).write()
    assert "baselines.json has no stages of " + CASE in command("explain", CASE, "--run", run).refused
