"""LPIPS: how different a picture and the dense model's picture look, by the features of AlexNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, install, reason
from harness.loaded import check_finite, unpickled
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.pairs import compared
from harness.metrics.weight_files import downloaded

if TYPE_CHECKING:
    from torch import Tensor

# Smaller pictures vanish before AlexNet's last layer.
LEAST = 31


def network(device: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function that measures LPIPS (Zhang et al., arXiv 1801.03924, eq. 1) of pairs of pictures.

    torchmetrics computes it, with its own weights of the layers' channels. The weights of AlexNet are torchvision's;
    they are downloaded once.

    Args:
        device: Where the network runs, in float32.

    Returns:
        A function that takes pictures and the dense model's pictures, uint8 `[n, 3, h, w]` each, and returns float32
        `[n]` on the CPU.

    Raises:
        HarnessError: torchvision cannot be imported, or the weights of AlexNet cannot be downloaded or read, or are not
            finite.
    """
    try:
        from torchvision.models import AlexNet_Weights
    except (ImportError, RuntimeError) as error:
        raise HarnessError(
            f"--metrics lpips: torchvision cannot be imported ({error}); {install('vision')}, with torch and "
            "torchvision from the same index"
        ) from error
    net = _load(AlexNet_Weights.DEFAULT.url).to(device)

    def lpips(pictures: Tensor, dense: Tensor) -> Tensor:
        pair = (images.to(device).float() / 255 for images in (pictures, dense))
        distances: Tensor = net(*pair)
        return distances.reshape(-1).cpu()

    return lpips


def _load(url: str) -> Any:
    """Return torchmetrics' network with the AlexNet weights of a URL. Raises HarnessError as `network` does."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    path = downloaded(
        url,
        lambda error, place: (
            f"--metrics lpips: the weights of AlexNet cannot be downloaded ({error}); fetch {url} on another machine "
            f"and place the file at {place}"
        ),
    )
    try:
        # torchvision unpickles its file and would run code in it. A file that `weights_only` reads can run nothing.
        unpickled(path)
        net = LearnedPerceptualImagePatchSimilarity(net_type="alex", reduction="none", normalize=True)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise HarnessError(
            f"--metrics lpips: {path} does not hold AlexNet's weights ({reason(error)}); remove the file, and the next "
            "run downloads it again"
        ) from error
    check_finite({"": net}, f"--metrics lpips: {path}", "remove the file, and the next run downloads it again")
    return net


def measure(sample: Sample) -> Values:
    """Return the mean LPIPS to the dense model's pictures, and LPIPS per caption."""
    return compared("lpips", sample, network(sample.device), least=LEAST)


# Tolerance and noise are choices. Nobody has measured them, because AlexNet's weights are not part of the project; so
# another stack does not judge LPIPS. The noise covers convolutions on a GPU, whose TF32 rounds to three digits.
METRIC = Metric(
    name="lpips",
    label="LPIPS to dense",
    summary="distance to the dense model's picture of the same caption and start noise, by features of AlexNet; "
    "0: equal",
    measure=measure,
    direction="lower",
    decimals=3,
    pairing="caption",
    takes=frozenset({"pictures", "dense"}),
    tolerance=0.005,
    noise=2e-4,
    default=False,
    packages=("torchvision",),
    extra="vision",
    short="perceived distance to the dense model's picture",
)
