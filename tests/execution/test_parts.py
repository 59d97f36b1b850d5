"""Cases in shards of their captions are those in one piece. Real runs on a small pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.execution.levels import Solved
from harness.execution.outcome import Outcome
from harness.execution.parts import Part, outcome
from harness.execution.run import Caches, part, run, solve
from harness.record import REUSED
from harness.workloads.workload import Workload

CASES = [
    Case("tiny"),
    Case("tiny", "unet", "magnitude", "all", (0.5,)),
    Case("tiny", "text_encoder", "random", "all", (0.5,)),
    Case("tiny", "unet", "sparsegpt", "all", (0.7,)),
]


def quiet(_: str) -> None:
    """Show nothing."""


def in_shards(
    case: Case, bench: Workbench, dense: Outcome | None, size: int, caches: Caches, solved: Solved | None = None
) -> Outcome:
    """Run a case in shards, the last one first."""
    spans = [(first, min(first + size, len(bench.texts))) for first in range(0, len(bench.texts), size)]
    made = [part(case, bench, caches, quiet, "", span, solved, case.is_dense) for span in reversed(spans)]
    assert all(isinstance(one, Part) for one in made)
    return outcome([one for one in made if isinstance(one, Part)], bench, dense, caches.store)


def same(ours: Outcome, theirs: Outcome) -> None:
    a, b = ours.record, theirs.record
    assert (a.case, a.workload, a.keep, a.components, a.degenerate) == (b.case, b.workload, b.keep, b.components, 0)
    assert a.trace.weights == b.trace.weights and a.trace.stages.keys() == b.trace.stages.keys()
    assert ours.row == theirs.row and len(ours.evidence) == len(theirs.evidence)
    for name, figure in a.quality.items():
        assert b.quality[name].value == pytest.approx(figure.value, rel=1e-4, abs=1e-4), (a.case.id, name)
        assert b.paired[name] == pytest.approx(a.paired[name], rel=1e-3, abs=1e-3), (a.case.id, name)


@pytest.mark.parametrize("size", [4, 8])
def test_shards_give_what_one_piece_gives(workload: Callable[..., Workload], size: int) -> None:
    """12 captions. The case with data shares its pruned weights, as workers of a cluster do."""
    bench = Workbench(Setup(workload(12), "cpu", 2, metrics=("psnr",), keeps_pictures=True))
    caches = Caches.of(bench, CASES)
    dense: Outcome | None = None
    for case in CASES:
        whole = run(case, bench, dense, caches, quiet)
        solved = solve(case, bench, caches, quiet) if case.needs else None
        sharded = in_shards(case, bench, dense, size, caches, solved)
        same(whole, sharded)
        assert whole.pictures is not None and sharded.pictures is not None
        assert torch.equal(whole.pictures, sharded.pictures)
        cost = sharded.record.cost
        assert cost.seconds and cost.generate_seconds and cost.tensor_megabytes is None
        assert whole.record.cost.tensor_megabytes and "memory not measured: shards of" in cost.note
        dense = dense or sharded


def test_shards_with_other_weights_are_refused(workload: Callable[..., Workload]) -> None:
    bench = Workbench(Setup(workload(6), "cpu", 3))
    caches = Caches.of(bench)
    other = solve(CASES[2], bench, caches, quiet)
    made = [part(CASES[1], bench, caches, quiet, "", (0, 3)), part(CASES[1], bench, caches, quiet, "", (3, 6), other)]
    parts: Sequence[Part] = [one for one in made if isinstance(one, Part)]
    with pytest.raises(
        HarnessError, match=r"tiny-unet-magnitude-all-0\.50: its shards were made with different pruned"
    ):
        outcome(parts, bench, None)


def test_shards_of_an_interrupted_run_resume_in_another_size(
    tmp_path: Path, workload: Callable[..., Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends after the second of four batches. The next one has other shards, and keeps both batches."""
    bench = Workbench(Setup(workload(8), "cpu", 2, store=tmp_path / "store"))
    caches = Caches.of(bench)
    for span in ((0, 2), (4, 6)):
        part(CASES[1], bench, caches, quiet, "", span)
    sizes: list[int] = []
    call = type(bench.target.pipeline).__call__

    def counted(self: object, latents: torch.Tensor, **more: object) -> object:
        sizes.append(len(latents))
        return call(self, latents=latents, **more)

    dense = run(CASES[0], bench, None, caches, quiet)
    with monkeypatch.context() as patch:
        patch.setattr(type(bench.target.pipeline), "__call__", counted)
        resumed = in_shards(CASES[1], bench, dense, 4, caches)
    assert sizes == [2, 2] and resumed.record.cost.note == REUSED
    same(run(CASES[1], Workbench(Setup(workload(8), "cpu", 2)), dense, Caches.of(bench), quiet), resumed)
    assert run(CASES[1], bench, dense, caches, quiet).record.quality == resumed.record.quality and len(sizes) == 2
