"""How much of each layer's output a pruning method loses, on the calibration inputs of the embedded model.

    python docs/measurements/reconstruction.py [SPARSITY]

Prints, per component and per kind of layer, the squared error of the outputs as a share of their energy:
Σ tr(ΔW G ΔWᵀ) / Σ tr(W G Wᵀ), G = XᵀX, summed over layers; and every layer where the order of the methods is not
sparsegpt < wanda < magnitude.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import torch
from torch import nn

from harness.calibration import calibrate
from harness.engine import calibration_captions
from harness.pruning import prune_component
from harness.surgery.layers import matrix, prunable
from harness.targets.base import load

METHODS = ("magnitude", "wanda", "sparsegpt", "owl_magnitude", "owl_wanda", "owl_sparsegpt")


def kind(name: str, layer: nn.Module) -> str:
    """Return what a layer does, from its name in the model."""
    for part, word in (
        ("attn2", "cross-attention"), ("attn", "self-attention"), ("time_", "time embedding"),
        ("ff.", "feed-forward"), ("mlp", "feed-forward"), ("proj_", "attention's projection"),
    ):  # fmt: skip
        if part in name:
            return word
    return "convolution" if isinstance(layer, nn.Conv2d) else "other linear"


def main(sparsity: float) -> None:
    """Measure and print."""
    target = load("scenes", torch.device("cpu"))
    statistics = calibrate(target, ["text_encoder", "unet"], "all", calibration_captions(), gram=True).components
    print(
        f"scenes, sparsity {sparsity}, {len(calibration_captions())} calibration captions; share of output energy lost"
    )
    print(f"{'':<36}" + "".join(f"{method:>15}" for method in METHODS))
    for component in ("text_encoder", "unet"):
        layers = prunable(target.components[component], "all")
        pruned = {m: prune_component(target, component, m, "all", [sparsity], statistics)[0] for m in METHODS}
        lost: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        odd = []
        for name, layer in layers.items():
            stats, weight = statistics[component][name], matrix(layer).double()
            assert stats.gram is not None
            gram = stats.gram[0].double()
            energy = float(((weight @ gram) * weight).sum())
            for group in ("all layers", kind(name, layer)):
                lost[group]["energy"] += energy
            share = {}
            for method in METHODS:
                change = pruned[method][name].weight.double() - weight
                error = float(((change @ gram) * change).sum())
                share[method] = error / energy
                for group in ("all layers", kind(name, layer)):
                    lost[group][method] += error
            if not share["sparsegpt"] < share["wanda"] < share["magnitude"]:
                note = f"inputs {weight.shape[1]}, rows {stats.rows}"
                odd.append((name, share, note))
        for group, sums in lost.items():
            cells = "".join(f"{sums[method] / sums['energy']:>15.5f}" for method in METHODS)
            print(f"{component + ': ' + group:<36}{cells}")
        print(f"{component}: {len(odd)} of {len(layers)} layers in another order than sparsegpt < wanda < magnitude")
        for name, share, note in odd:
            print(f"    {name}: " + ", ".join(f"{m} {share[m]:.5f}" for m in METHODS[:3]) + f" ({note})")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.5)
