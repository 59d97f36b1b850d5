"""Ten planted defects, each at another stage of a case, and the stage that the red line names.

    python tools/explained.py [--captions 16]

Prints a Markdown table: what was planted, where it begins, the verdict, and the stage that the red line names. Every
defect is planted in this process, on the embedded model, and compared with records of the same code without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from harness.case import Case
from harness.cli.errors import guarded
from harness.cli.parsers import count, of_tool

if TYPE_CHECKING:
    from harness.verdict.verdict import Verdict

BOTH = Case("scenes", "both", "magnitude", "all", (0.475, 0.35))
STEP = 4
# What is replaced: an object, the name of its attribute, and the wrong thing in its place.
Change = tuple[Any, str, Any]


class Defect(NamedTuple):
    """One planted defect."""

    what: str
    """What is wrong, in words."""
    stage: str
    """The stage at which it begins, as `harness.verdict.stages` calls it; "" for what no stage shows."""
    changes: Callable[[], Change]
    """Returns what to replace."""


def one_weight_too_many() -> Change:
    """Prune one weight more in every layer."""
    from pruners import select

    right = select.count
    return select, "count", lambda sparsity, size: right(sparsity, size) + 1


def survivors_scaled() -> Change:
    """Scale the surviving weights by 10 %."""
    from harness.execution.levels import Levels
    from pruners.types import Pruned

    right = Levels.prune

    def scaled(self: Levels, case: Case, statistics: Any) -> tuple[Any, int]:
        pruning, levels = right(self, case, statistics)
        return {c: {n: Pruned(p.keep, 1.1 * p.weight) for n, p in by.items()} for c, by in pruning.items()}, levels

    return Levels, "prune", scaled


def prompts_in_another_order() -> Change:
    """Encode every caption for its neighbour's picture."""
    from harness.generation import prompts

    right = prompts.encode
    return prompts, "encode", lambda target, captions: right(target, [*captions[1:], captions[0]])


def noise_scaled() -> Change:
    """Scale the start noise by 1 %."""
    from harness.generation import call

    right = call.latents
    return call, "latents", lambda target, captions: 1.01 * right(target, captions)


def late_steps_scaled() -> Change:
    """Scale what the denoiser predicts by 20 % from one denoising step on."""
    from diffusers import DDIMScheduler

    right = DDIMScheduler.step

    def wrong(self: Any, output: Any, time: Any, *rest: Any, **more: Any) -> Any:
        late = self.timesteps.tolist().index(int(time)) + 1 >= STEP
        return right(self, 1.2 * output if late else output, time, *rest, **more)

    return DDIMScheduler, "step", wrong


def pictures_cut() -> Change:
    """Cut pixels to 4 bits instead of rounding them to 8."""
    from harness.generation import generate

    right = generate.quantised
    return generate, "quantised", lambda images: right(images) // 16 * 16


def features_scaled() -> Change:
    """Scale the features of the reader by 1 %."""
    from harness.scenes.judges import Reader

    right = Reader.forward

    def wrong(self: Reader, pixels: Any) -> Any:
        features, logits = right(self, pixels)
        return 1.01 * features, logits

    return Reader, "forward", wrong


def captions_scored_in_another_order() -> Change:
    """Score every picture against its neighbour's caption."""
    from harness.metrics import clip

    right = clip.clip_scores
    return clip, "clip_scores", lambda seen, said: right(seen, said.roll(-1, 0))


def scores_scaled() -> Change:
    """Multiply the scores by 101 instead of 100."""
    from harness.metrics import clip

    right = clip.clip_scores
    return clip, "clip_scores", lambda seen, said: 1.01 * right(seen, said)


def distance_scaled() -> Change:
    """Compute FID from features that are 1 % too small."""
    from harness.metrics import frechet

    right = frechet.resampled
    return frechet, "resampled", lambda features, *rest: right(0.99 * features, *rest)


DEFECTS = (
    Defect("one weight too many is pruned in every layer", "masks", one_weight_too_many),
    Defect("surviving weights are scaled by 1.1", "weights", survivors_scaled),
    Defect("captions are encoded in another order", "text", prompts_in_another_order),
    Defect("the start noise is scaled by 1.01", "latent 1", noise_scaled),
    Defect(f"the denoiser's output is scaled by 1.2 from step {STEP} on", f"latent {STEP}", late_steps_scaled),
    Defect("pixels are cut to 4 bits", "picture", pictures_cut),
    Defect("the features of FID are scaled by 1.01", "features", features_scaled),
    Defect("scores are 101·cos", "scores", scores_scaled),
    Defect("pictures are scored against captions in another order", "scores", captions_scored_in_another_order),
    Defect("FID is computed from features times 0.99", "", distance_scaled),
)


class Bench:
    """The embedded model with few captions, and baselines that were measured in this process."""

    def __init__(self, captions: int) -> None:
        """Load the model and store the baselines in memory.

        Args:
            captions: How many captions.
        """
        from harness.execution.bench import Workbench
        from harness.execution.executor import Setup
        from harness.execution.run import Caches, run
        from harness.verdict.baseline import Provenance
        from harness.verdict.repository import Repository
        from harness.workloads.scenes import scenes

        self.bench = Workbench(Setup(scenes(captions), "cpu", 32))
        caches = Caches.of(self.bench)
        self.dense = run(Case("scenes"), self.bench, None, caches, _silent)
        pruned = run(BOTH, self.bench, self.dense, caches, _silent)
        facts = self.bench.facts(BOTH)
        origin = Provenance("none", "2026-01-01", "without a defect")
        self.repository = Repository(Path("explained.json")).updated(
            [self.dense.record, pruned.record], {facts.key: facts}, (), origin
        )

    def verdict(self, defect: Defect | None) -> tuple[Verdict, str]:
        """Return the verdict on a case with a defect, and the first stage that differs. None: without a defect."""
        from harness.execution.run import Caches, run
        from harness.verdict.judge import judge
        from harness.verdict.stages import first_difference

        with ExitStack() as planted:
            if defect is not None:
                planted.enter_context(mock.patch.object(*defect.changes()))
            record = run(BOTH, self.bench, self.dense, Caches.of(self.bench), _silent).record
        # Times and memory are not at stake.
        record = replace(record, cost=replace(record.cost, tensor_megabytes=None))
        before = self.repository.find(BOTH, record.workload, record.stack)
        assert before is not None
        return judge(record, self.repository, self.dense.record), first_difference(before, record)


def _silent(text: str) -> None:
    """Say nothing."""


def rows(captions: int) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: defect, stage, verdict, named stage, the end of the red line."""
    bench = Bench(captions)
    for defect in DEFECTS:
        verdict, first = bench.verdict(defect)
        named = verdict.reason.rpartition("; ")[2]
        right = "right" if first == defect.stage and not verdict.passed else "**wrong**"
        yield defect.what, defect.stage or "none", f"{verdict.kind} ({verdict.gate})", right, named


def measure(captions: int) -> int:
    """Print the table."""
    made = list(rows(captions))
    print("| planted | begins at | verdict | named | the red line says |\n|---|---|---|---|---|")
    for row in made:
        print(f"| {' | '.join(row)} |")
    print(f"\n{sum(row[3] == 'right' for row in made)} of {len(made)} name the right stage.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--captions", type=count, default=16, metavar="N", help="captions of the case (default: 16)")
    return guarded(lambda: measure(parser.parse_args(arguments).captions))


if __name__ == "__main__":
    sys.exit(main())
