"""From a pruned model to pictures.

The store's key of evidence covers the pruned weights and the imports of this module, see `sources.digest`. So this
module imports nothing that only decides which weights are pruned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from harness.execution.bench import Workbench
from harness.generation.generate import Kept, Pictures, generate
from harness.generation.prompts import Prompts
from harness.targets.target import Target


def prompts_of(bench: Workbench, target: Target, pruned: Collection[str]) -> Prompts:
    """Return the encoded captions for a pipeline as it is now.

    Args:
        bench: The loaded workload.
        target: Its target, dense or pruned, or a candidate in the target's place.
        pruned: The names of its pruned components; empty where it is dense, and for a candidate. If a text encoder is
            pruned or a candidate's, captions are encoded for this case. All other cases share captions that the dense
            text encoders have encoded.
    """
    dense_texts = target is bench.target and not any(name.startswith("text_encoder") for name in pruned)
    return bench.prompts if dense_texts else Prompts(target)


def make(
    target: Target,
    captions: Sequence[str],
    prompts: Prompts,
    batch_size: int,
    progress: Callable[[str], None],
    kept: Kept | None = None,
    before_step: Callable[[int], None] | None = None,
) -> Pictures:
    """Generate one picture per caption with a pipeline as it is now.

    Args:
        target: The pipeline.
        captions: The captions.
        prompts: Its encoded captions, see `prompts_of`.
        batch_size: Pictures generated at once; halved where they do not fit into memory.
        progress: Called with a short line after every denoising step.
        kept: Finished batches, see `generate`; None: all are made.
        before_step: Called with the number of every coming denoising step of a batch, see `generate`.

    Raises:
        HarnessError: One picture does not fit into memory.
    """
    return generate(target, captions, batch_size, progress, kept, prompts, before_step)
