"""How much of each layer's output a pruning method loses, on the calibration captions of the embedded model.

    python tools/reconstruction.py [--sparsity 0.5]

Prints, per component and per kind of layer, the squared error of the outputs as a share of their energy:
Σ tr(ΔW G ΔWᵀ) / Σ tr(W G Wᵀ), G = XᵀX, summed over layers; and every layer where the order of the methods is not
sparsegpt < wanda < magnitude.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.cli.errors import guarded
from harness.cli.parsers import of_tool
from harness.components import BOTH
from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import nn

    from harness.pruning.calibration import Calibration
    from harness.targets.target import Target

METHODS = ("magnitude", "wanda", "sparsegpt", "owl_magnitude", "owl_wanda", "owl_sparsegpt")
ENERGY = "energy"


def kind(name: str, layer: nn.Module) -> str:
    """Return the kind of a layer, from its name in the model."""
    from torch import nn

    for part, word in (
        ("attn2", "cross-attention"), ("attn", "self-attention"), ("time_", "time embedding"),
        ("ff.", "feed-forward"), ("mlp", "feed-forward"), ("proj_", "attention's projection"),
    ):  # fmt: skip
        if part in name:
            return word
    return "convolution" if isinstance(layer, nn.Conv2d) else "other linear"


def component_lines(target: Target, component: str, calibration: Calibration, sparsity: float) -> Iterator[str]:
    """Yield the lines on one component."""
    from harness.pruning.prune import prune_component
    from harness.surgery.layers import matrix, prunable

    statistics = calibration.components
    layers = prunable(target.components[component], "all")
    pruned = {m: prune_component(target, component, m, "all", [sparsity], statistics)[0] for m in METHODS}
    lost: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    odd: list[str] = []
    for name, layer in layers.items():
        stats, weight = statistics[component][name], matrix(layer).double()
        assert stats.gram is not None
        gram = stats.gram[0].double()
        errors = {ENERGY: float(((weight @ gram) * weight).sum())}
        for method in METHODS:
            change = pruned[method][name].weight.double() - weight
            errors[method] = float(((change @ gram) * change).sum())
        for part in ("all layers", kind(name, layer)):
            for what, error in errors.items():
                lost[part][what] += error
        if not errors["sparsegpt"] < errors["wanda"] < errors["magnitude"]:
            shares = ", ".join(f"{method} {errors[method] / errors[ENERGY]:.5f}" for method in METHODS[:3])
            odd.append(f"    {name}: {shares} (inputs {weight.shape[1]}, rows {stats.rows})")
    for part, sums in lost.items():
        yield f"{component + ': ' + part:<36}{_cells(sums)}"
    yield f"{component}: {len(odd)} of {len(layers)} layers in another order than sparsegpt < wanda < magnitude"
    yield from odd


def _cells(sums: Mapping[str, float]) -> str:
    return "".join(f"{sums[method] / sums[ENERGY]:>15.5f}" for method in METHODS)


def measure(sparsity: float) -> int:
    """Print the table.

    Raises:
        HarnessError: The sparsity is not between 0 and 1.
    """
    if not 0 < sparsity < 1:
        raise HarnessError(f"--sparsity {sparsity:g} is not between 0 and 1; give one, such as 0.5")
    import torch

    from harness.pruning.calibration import calibrate
    from harness.targets.resolve import load, resolve
    from harness.workloads.scenes import calibration_captions

    target, captions = load(resolve("scenes"), torch.device("cpu")), calibration_captions()
    calibration = calibrate(target, BOTH, "all", captions, gram=True)
    print(f"scenes, sparsity {sparsity}, {len(captions)} calibration captions; share of output energy lost")
    print(f"{'':<36}" + "".join(f"{method:>15}" for method in METHODS))
    for component in BOTH:
        for line in component_lines(target, component, calibration, sparsity):
            print(line, flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--sparsity", type=float, default=0.5, metavar="S", help="default: 0.5")
    return guarded(lambda: measure(parser.parse_args(arguments).sparsity))


if __name__ == "__main__":
    sys.exit(main())
