"""`--scorer` and `--features` by name: what is wrong with a name is said before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.errors import HarnessError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from harness.quality.vision import Judge

OPEN_CLIP = "open_clip:ARCH:WEIGHTS"
PICKLES = (".pt", ".pth", ".bin", ".ckpt")


class Extractor(Protocol):
    """Whatever FID and KID take their features from. digest: of all that they depend on."""

    digest: str

    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        """Return features of pictures, uint8 `[3, h, w]` each: float32 `[n, d]` on the CPU."""


def check_scorer(name: str) -> None:
    """Raise HarnessError for a `--scorer` that is neither a folder nor `open_clip:ARCH:WEIGHTS` with what it needs."""
    kind, colon, _ = name.partition(":")
    if not colon or Path(name).exists():
        if not Path(name).exists():
            raise HarnessError(f"--scorer {name} does not exist")
        return
    if kind != "open_clip":
        raise HarnessError(f"--scorer {name}: there is no scorer {kind!r}, wanted a folder or {OPEN_CLIP}")
    _, weights = _open_clip(name)
    path = Path(weights)
    if path.suffix in PICKLES:
        raise HarnessError(f"--scorer {name}: {path.suffix} is a pickle and may run code; give safetensors")
    if not path.is_file() and (path.suffix == ".safetensors" or "/" in weights):
        raise HarnessError(f"--scorer {name}: the weights {weights} do not exist")
    _installed("open_clip", f"--scorer {name}")


def check_features(name: str) -> None:
    """Raise HarnessError for `--features` other than clip, inception and `inception:FILE`."""
    kind, colon, file = name.partition(":")
    if name != "clip" and kind != "inception":
        raise unknown("--features", name, ("clip", "inception", "inception:FILE"))
    if colon and not Path(file).is_file():
        raise HarnessError(f"--features {name}: the weights {file} do not exist")
    if kind == "inception":
        _installed("torch_fidelity", f"--features {name}")


def _open_clip(name: str) -> tuple[str, str]:
    _, _, rest = name.partition(":")
    architecture, _, weights = rest.partition(":")
    if not (architecture and weights):
        raise HarnessError(f"--scorer {name}: wanted {OPEN_CLIP}, such as open_clip:ViT-B-32:weights.safetensors")
    return architecture, weights


def _installed(package: str, what: str) -> None:
    if find_spec(package) is None:
        raise HarnessError(f"{what} wants {package}, which is not installed: pip install 'prunegate[vision]'")


def load_scorer(name: str, device: torch.device) -> Judge:
    """Return the CLIP that `--scorer` names. Raises HarnessError where it cannot be loaded."""
    check_scorer(name)
    if Path(name).exists():
        from harness.quality.vision import ClipJudge

        return ClipJudge(Path(name), device)
    from harness.quality.openclip import OpenClipJudge

    return OpenClipJudge(*_open_clip(name), device)


def load_extractor(name: str, scorer: Judge | None, device: torch.device) -> Extractor:
    """Return what `--features` names; clip: the scorer itself. Raises HarnessError where it cannot be loaded."""
    check_features(name)
    if name == "clip":
        if scorer is None:
            raise HarnessError("--features clip wants a --scorer")
        return scorer
    from harness.quality.inception import Inception

    _, _, file = name.partition(":")
    return Inception(Path(file) if file else None, device)
