"""Draw the reference pictures of `scenes` again, and store the statistics that FID compares with.

    python tools/scenes_reference.py [--weights DIR] [--pictures 10000]

Draws the scenes of the 1,000 held-out captions several times, each time with other random shifts, measures the features
of the reader, and writes reference/reference.safetensors in the weights folder. The tool compares the files of the
pipeline and of the scorers with digests.json first and refuses a changed one. It records a new digest of the reference
file alone. Users never need this tool.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from harness import digests
from harness.cli.errors import guarded
from harness.cli.measure_scenes import real_pictures
from harness.cli.parsers import of_tool, path
from harness.errors import HarnessError
from harness.scenes.weights import PARTS, WEIGHTS, check, sign

SEED = 31_000


def write(folder: Path, pictures: int) -> str:
    """Write the statistics and record their digest.

    Args:
        folder: The weights folder.
        pictures: Number of pictures, a multiple of the number of held-out captions.

    Returns:
        A line that says what was written.

    Raises:
        HarnessError: The number is wrong, or a file of the pipeline or of the scorers has changed. Then nothing is
            written.
    """
    import torch

    from harness.metrics import reference
    from harness.metrics.scorers.scenes import ScenesScorer
    from harness.scenes.captions import held_out

    check(folder, [part for part in PARTS if part != "reference"])
    scenes = [scene for _, scene in held_out()]
    if pictures < 1 or pictures % len(scenes):
        raise HarnessError(
            f"--pictures {pictures} does not show each of the {len(scenes)} captions equally often; give a multiple"
        )
    scorer = ScenesScorer(folder / "judges", torch.device("cpu"))
    features, drawn = [], []
    for i in range(pictures // len(scenes)):
        images = real_pictures(scenes, SEED + 1000 * i)
        features.append(scorer.features(images))
        drawn.append(digests.of_tensors([("pictures", images)]))
    path = folder / "reference" / "reference.safetensors"
    # Without the features: KID is no metric of `scenes`.
    reference.write(path, torch.cat(features), scorer.digest, digests.of_value(drawn), keep_features=False)
    sign(folder, "reference")
    return f"{path}: {pictures} pictures, {features[0].shape[1]} features"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--weights", type=path, default=WEIGHTS, metavar="DIR", help="default: the shipped weights")
    parser.add_argument("--pictures", type=int, default=10_000, metavar="N", help="default: 10000")

    def work() -> int:
        options = parser.parse_args(arguments)
        print(write(options.weights, options.pictures))
        return 0

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
