"""Reads weights, and checks what was just loaded: every tensor of the network has one in the files, all are finite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, reason

if TYPE_CHECKING:
    import torch

# Number of tensors that a message names.
NAMED = 3


@dataclass(frozen=True)
class Fit:
    """How the tensors of files fit a network."""

    missing: Collection[str]
    """Tensors of the network that no file holds."""
    unexpected: Collection[str]
    """Tensors of the files that the network does not have."""
    misshapen: Collection[tuple[str, Sequence[int], Sequence[int]]]
    """Name, shape in the file and shape in the network of tensors whose shapes differ."""

    @staticmethod
    def of(info: Any) -> Fit:
        """Return the fit that `from_pretrained(…, output_loading_info=True)` of diffusers or transformers reports."""
        return Fit(info["missing_keys"], info["unexpected_keys"], info["mismatched_keys"])

    def check(self, what: str) -> None:
        """Raise HarnessError where a tensor does not fit. The message names it.

        Args:
            what: The name of the loaded network, such as its folder. The message starts with it.
        """
        wrong = [
            f"{len(names)} {kind} ({named(names)})"
            for kind, names in (
                ("missing", sorted(self.missing)),
                ("not part of the network", sorted(self.unexpected)),
                ("of another shape", [_shapes(*shapes) for shapes in sorted(self.misshapen)]),
            )
            if names
        ]
        if wrong:
            raise HarnessError(
                f"{what} does not fit its configuration: of its tensors, {', '.join(wrong)}; save or download it again"
            )


def _shapes(name: str, stored: Sequence[int], wanted: Sequence[int]) -> str:
    return f"{name}: {list(stored)} instead of {list(wanted)}"


def named(names: Sequence[str]) -> str:
    """Return the first names of a list, joined by commas."""
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def check_finite(modules: Mapping[str, torch.nn.Module], what: str, advice: str = "save or download it again") -> None:
    """Raise HarnessError where a stored tensor holds NaN or Inf. One pass over the weights, where they are.

    Args:
        modules: Name of the component → the loaded module; "" where there is one only.
        what: The name of the loaded network, such as its folder. The message starts with it.
        advice: The end of the message.
    """
    import torch

    for component, module in modules.items():
        state = {name: tensor.detach() for name, tensor in module.state_dict().items() if _is_checked(tensor)}
        if not state:
            continue
        # The smallest and the largest value are NaN or Inf where any value is. Ask the device once, not per tensor.
        ends = torch.stack([torch.stack(torch.aminmax(tensor)).double().isfinite().all() for tensor in state.values()])
        wrong = [name for name, finite in zip(state, ends.tolist(), strict=True) if not finite]
        if wrong:
            dtype = str(state[wrong[0]].dtype).removeprefix("torch.")
            raise HarnessError(
                f"{what}: {component and f'{component} has '}NaN or Inf in {len(wrong)} of {len(state)} tensors, "
                f"as {dtype} ({named(wrong)}); {advice}"
            )


def _is_checked(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.numel() > 0


def unpickled(path: Path, device: torch.device | str = "cpu") -> Any:
    """Return what `torch.save` wrote: tensors and plain values. A file that holds anything else runs no code.

    Args:
        path: The file.
        device: Where the tensors go.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file holds anything else, or nonsense.
    """
    import torch

    try:
        return torch.load(path, device, weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # On nonsense, the unpickler fails with errors of any kind.
        raise ValueError(reason(error)) from error
