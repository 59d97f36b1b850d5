"""Measure cases of `scenes` in this process under given settings, and write their records as `--json` does.

    python tools/records.py OUT [--cases ladder|smoke|pr|full|ID,ID] [--dtype bfloat16] [--start-noise 7]

`tools/noise.py` and `tools/travel.py` start this script in fresh processes, with threads and CPU kernels in the
environment. `--pretended-torch` and `--start-noise` change what the records say of their stack, and the noise that
pictures start from, while the workload keeps its key: so pictures move although nothing is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from harness.cli.errors import guarded
from harness.cli.parsers import count, of_tool, path
from harness.errors import unknown
from harness.results import Result, Results, write

if TYPE_CHECKING:
    from torch import Tensor

    from harness.case import Case
    from harness.execution.bench import Workbench
    from harness.metrics.kid import KidReference
    from harness.pruning.calibration import Calibration
    from harness.record import Record
    from harness.targets.target import Target
    from pruners.types import LayerStats

LADDER = (
    "scenes-none-dense-none-0.00",
    "scenes-unet-magnitude-all-0.30", "scenes-unet-magnitude-all-0.50", "scenes-unet-magnitude-all-0.60",
    "scenes-text_encoder-magnitude-all-0.50", "scenes-text_encoder-magnitude-all-0.80",
    "scenes-both-magnitude-all-0.475+0.35",
    "scenes-unet-wanda-all-0.50", "scenes-unet-wanda-all-0.70", "scenes-unet-wanda-all-2:4",
    "scenes-text_encoder-wanda-all-0.60", "scenes-unet-owl_wanda-all-0.60",
    "scenes-unet-sparsegpt-all-0.50", "scenes-unet-sparsegpt-all-0.60", "scenes-unet-sparsegpt-all-0.70",
    "scenes-text_encoder-sparsegpt-all-0.60", "scenes-text_encoder-sparsegpt-all-0.80",
    "scenes-text_encoder-owl_sparsegpt-all-0.80",
)  # fmt: skip
"""The dense model, and cases of every family of methods before and behind the drop-off."""
TIERS = ("smoke", "pr", "full")
DTYPES = ("float32", "float16", "bfloat16")
CAPTIONS = 64
EVERY = 3
"""`--again` measures one of so many cases a second time."""
DRAWN = 31_000
"""The seed of the real pictures that KID compares with."""


@dataclass(frozen=True)
class Settings:
    """The settings of one process."""

    batch_size: int = 32
    """Pictures generated at once."""
    dtype: str | None = None
    """The dtype of the model; None: float32, as `scenes` is stored."""
    start_noise: int | None = None
    """The seed of the start noise in place of the protocol's; None: the protocol's."""
    pretended_torch: str | None = None
    """The version of torch that the records name in place of the installed one; None: the installed one."""
    captions: int = CAPTIONS
    """Captions per case."""
    metrics: tuple[str, ...] = ("ssim", "psnr")
    """Metrics to measure besides the default ones."""
    device: str = "cpu"
    """The device, as `--torch-device` names it."""


def chosen(words: str) -> list[Case]:
    """Return the cases that `--cases` names. Raises HarnessError for an unknown id."""
    from benchmarks.matrix import quality_cases

    known = {case.id: case for case in quality_cases("scenes", ("text_encoder", "unet"), "full")}
    known |= {case.id: case for case in quality_cases("scenes", ("text_encoder", "unet"), "smoke")}
    if words in TIERS:
        return quality_cases("scenes", ("text_encoder", "unet"), words)
    names = LADDER if words == "ladder" else tuple(words.split(","))
    for name in names:
        if name not in known:
            raise unknown("--cases", name, known)
    return [known[name] for name in names]


def measured(
    cases: Sequence[Case], settings: Settings, say: Callable[[str], None], defects: Sequence[str] = ()
) -> list[Record]:
    """Measure cases. The dense model, which they are compared with, runs first.

    Args:
        cases: The cases; the dense model need not be among them.
        settings: The settings of this process.
        say: Called with a line per finished case.
        defects: A name of `DEFECTS` for every case, planted while the case runs; none: nothing is planted. The dense
            model never has one.

    Raises:
        HarnessError: A case cannot run.
    """
    from harness.case import Case
    from harness.execution import statistics
    from harness.execution.bench import Workbench
    from harness.execution.executor import Setup
    from harness.execution.run import Caches, run
    from harness.facts import Stack, WorkloadFacts
    from harness.metrics.reference import Reference
    from harness.workloads.scenes import scenes

    class Elsewhere(Workbench):
        """A workbench whose records can name another stack, with features of real pictures, which KID compares.

        Its workload keeps its key.
        """

        @cached_property
        def stack(self) -> Stack:
            own = super().stack
            return replace(own, torch=settings.pretended_torch) if settings.pretended_torch else own

        @cached_property
        def reference(self) -> Reference | None:
            shipped = super().reference
            return None if shipped is None else replace(shipped, kid=_features(self))

        @cached_property
        def _facts(self) -> WorkloadFacts:
            return replace(super()._facts, latent_seed=plain.protocol.latent_seed)

    plain = scenes(settings.captions)
    workload = replace(plain, target=replace(plain.target, dtype=settings.dtype))
    if settings.start_noise is not None:
        workload = replace(workload, protocol=replace(plain.protocol, latent_seed=settings.start_noise))
    bench = Elsewhere(Setup(workload, settings.device, settings.batch_size, settings.metrics))
    caches, dense = Caches.of(bench, cases), run(Case("scenes"), bench, None, Caches.of(bench), lambda _: None)
    records = []
    right = statistics.calibrate
    # Start noise is drawn on the CPU from a seed, so every machine calibrates on the same noise.

    def as_everywhere(target: Target, *words: Any, **more: Any) -> Calibration:
        return right(replace(target, protocol=plain.protocol), *words, **more)

    calibrate = mock.patch.object(statistics, "calibrate", as_everywhere)
    for number, case in enumerate(cases):
        if case.is_dense:
            record = dense.record
        elif not defects:
            with calibrate:
                record = run(case, bench, dense, caches, lambda _: None).record
        else:
            other, planted = DEFECTS[defects[number]](case)
            with calibrate, planted:
                record = replace(run(other, bench, dense, Caches.of(bench), lambda _: None).record, case=case)
        records.append(record)
        say(case.id)
    return records


def _features(bench: Workbench) -> KidReference:
    """Return features of a drawn picture of every held-out caption. The shipped reference has sums of them only."""
    from harness.cli.measure_scenes import real_pictures
    from harness.metrics import kid
    from harness.scenes.captions import held_out

    return kid.reference(bench.extractor.features(real_pictures([scene for _, scene in held_out()], DRAWN)))


Planted = tuple["Case", AbstractContextManager[object]]


def _higher(case: Case) -> Planted:
    """Prune ten points more than the case says."""
    return replace(case, levels=tuple(level + 0.1 for level in case.levels)), nullcontext()


def _left_dense(case: Case) -> Planted:
    """Prune the U-Net only, where the case prunes the text encoder too."""
    level = case.levels[-1]
    return replace(case, component="unet", method=case.methods["unet"], levels=(level,)), nullcontext()


def _on_nothing(case: Case) -> Planted:
    """Calibrate on empty captions, while the facts of the workload stay as they are."""
    from harness.execution.bench import Workbench
    from harness.execution.statistics import Calibrations

    right = Calibrations._take

    def on_empty(self: Calibrations, *wanted: Any) -> Calibration:
        empty = [""] * len(self._bench.workload.calibration)
        with mock.patch.object(Workbench, "calibration", lambda _: empty):
            return right(self, *wanted)

    return case, mock.patch.object(Calibrations, "_take", on_empty)


def _wrong_axis(case: Case) -> Planted:
    """Multiply weights by the norms of outputs in place of inputs, where a layer has as many of both."""
    from pruners import wanda

    right = wanda.norms

    def by_output(weight: Tensor, stats: LayerStats) -> Tensor:
        norms = right(weight, stats)
        return norms.reshape(1, -1, 1) if weight.shape[0] == weight.shape[1] else norms

    return case, mock.patch.object(wanda, "norms", by_output)


DEFECTS = {
    "sparsity 10 points high": _higher,
    "wrong axis": _wrong_axis,
    "a component left dense": _left_dense,
    "calibration on nothing": _on_nothing,
}
"""Name → the defect, for the case that it fits."""
PLANTED = (
    ("sparsity 10 points high", "scenes-unet-magnitude-all-0.50"),
    ("sparsity 10 points high", "scenes-text_encoder-magnitude-all-0.80"),
    ("wrong axis", "scenes-unet-wanda-all-0.50"),
    ("wrong axis", "scenes-text_encoder-wanda-all-0.60"),
    ("a component left dense", "scenes-both-magnitude-all-0.475+0.35"),
    ("calibration on nothing", "scenes-unet-wanda-all-0.50"),
    ("calibration on nothing", "scenes-text_encoder-wanda-all-0.60"),
)
"""The strong defects, and the cases that they are planted in: `--planted` measures them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("out", type=path, metavar="OUT", help="the file to write")
    parser.add_argument("--cases", default="ladder", metavar="WORDS", help="ladder (default), a tier, or ids")
    parser.add_argument("--batch-size", type=count, default=32, metavar="N", help="default: 32")
    parser.add_argument("--captions", type=count, default=CAPTIONS, metavar="N", help=f"default: {CAPTIONS}")
    parser.add_argument("--dtype", choices=DTYPES, help="default: as stored")
    parser.add_argument("--start-noise", type=int, metavar="SEED", help="default: the protocol's")
    parser.add_argument("--pretended-torch", metavar="VERSION", help="the version that the records name")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="default: cpu")
    parser.add_argument("--again", type=path, metavar="FILE", help="measure every third case again, and write it here")
    parser.add_argument("--planted", action="store_true", help="measure PLANTED in place of --cases")

    def work() -> int:
        given = parser.parse_args(arguments)
        settings = Settings(given.batch_size, given.dtype, given.start_noise, given.pretended_torch, given.captions,
                            device=given.device)  # fmt: skip
        defects = [defect for defect, _ in PLANTED] if given.planted else []
        cases = chosen(",".join(case for _, case in PLANTED) if given.planted else given.cases)
        _write(given.out, cases, settings, defects)
        if given.again is not None:
            _write(given.again, cases[::EVERY], settings, defects[::EVERY])
        return 0

    return guarded(work)


def _write(out: Path, cases: Sequence[Case], settings: Settings, defects: Sequence[str]) -> None:
    records = measured(cases, settings, lambda line: print(line, flush=True), defects)
    notes = defects or [""] * len(records)
    write(out, Results(tuple(Result(record, "", note=note) for record, note in zip(records, notes, strict=True))))


if __name__ == "__main__":
    sys.exit(main())
