"""The names of a pipeline's prunable parts and of kinds of layers, and how an id writes several parts."""

from __future__ import annotations

from collections.abc import Iterable

# In the order in which ids, levels and reports name them.
COMPONENTS = ("text_encoder", "text_encoder_2", "text_encoder_3", "unet", "transformer")
DENOISERS = ("unet", "transformer")
BOTH = ("text_encoder", "unet")
SELECTIONS = (*COMPONENTS, "both")
# Kinds of layers and places in the network. A `Family` says which layers belong to them.
KINDS = (
    "attention", "cross_attention", "self_attention", "feed_forward", "convolution", "time_embedding", "resnet", "down",
    "mid", "up",
)  # fmt: skip


def selection(components: Iterable[str]) -> str:
    """Return how an id names some components.

    Args:
        components: Names from `COMPONENTS`, in any order.

    Returns:
        The names in the order of `COMPONENTS`, each once, joined by "+"; "both" for the text encoder and the U-Net.
    """
    chosen = set(components)
    names = tuple(name for name in COMPONENTS if name in chosen)
    return "both" if names == BOTH else "+".join(names)


def denoiser_of(components: Iterable[str]) -> str:
    """Return the name of the component that denoises: "transformer" where there is one, else "unet"."""
    return "transformer" if "transformer" in components else "unet"
