"""A layer's inputs as rows, against the layer's own forward and against an explicit loop over patches."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from harness.surgery.inputs import gram_by_shifts, rows, statistics
from harness.surgery.layers import matrix

GEOMETRIES = [
    {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    for kernel, stride, padding, dilation, groups in itertools.product((1, 3, (2, 3)), (1, 2), (0, 1), (1, 2), (1, 2))
] + [
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 3, "padding": "valid"},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": (2, 1), "padding_mode": "circular"},
    {"kernel_size": 4, "groups": 4, "stride": (2, 3)},
]


def patches(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return `[groups, rows, in]` by an explicit loop over pictures, places, channels and kernel places."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    pad = layer._reversed_padding_repeated_twice
    x = nn.functional.pad(x, pad, mode=mode)
    (kh, kw), (sy, sx), (dy, dx) = layer.kernel_size, layer.stride, layer.dilation
    per_group = layer.in_channels // layer.groups
    found: list[list[list[float]]] = [[] for _ in range(layer.groups)]
    for picture in x:
        for top in range(0, x.shape[2] - dy * (kh - 1), sy):
            for left in range(0, x.shape[3] - dx * (kw - 1), sx):
                for g in range(layer.groups):
                    found[g].append(
                        [
                            float(picture[g * per_group + c, top + i * dy, left + j * dx])
                            for c in range(per_group)
                            for i in range(kh)
                            for j in range(kw)
                        ]
                    )
    return torch.tensor(found, dtype=x.dtype)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_convolution_rows_are_the_patches(geometry: dict[str, object]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, bias=False, dtype=torch.float64, **geometry)  # type: ignore[arg-type]
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64)
    found = rows(layer, x)
    wanted = patches(layer, x)
    assert torch.equal(found, wanted)
    by_rows = (found @ matrix(layer).view(layer.groups, -1, found.shape[2]).mT).permute(0, 2, 1).flatten(0, 1)
    torch.testing.assert_close(by_rows, layer(x).permute(1, 0, 2, 3).flatten(1))
    stats = statistics(layer, x, gram=True, sums=True)
    torch.testing.assert_close(stats.gram, wanted.mT @ wanted)
    torch.testing.assert_close(stats.sums, wanted.sum(1))
    torch.testing.assert_close(stats.squares, wanted.square().sum(1))
    assert stats.rows == wanted.shape[1]


def test_linear_rows_are_the_tokens() -> None:
    x = torch.randn(2, 5, 7, 3)
    assert torch.equal(rows(nn.Linear(3, 4), x), x.view(70, 3))


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_squares_of_patches_hold_over_the_range_of_float32(scale: float) -> None:
    layer = nn.Conv2d(2, 1, 3, padding=1)
    x = torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(3)) * scale
    found = statistics(layer, x, gram=False)
    wanted = patches(layer, x.double()).square().sum(1)
    torch.testing.assert_close(found.squares, wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(1, 2, 3, 3), (2, 3, 4, 7), (3, 5, 9, 4), (2, 1, 5, 5)])
def test_gram_by_shifts_is_the_gram_of_the_patches(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = patches(nn.Conv2d(shape[1], 1, 3, padding=1, dtype=torch.float64), x)[0]
    torch.testing.assert_close(gram_by_shifts(x), wanted.T @ wanted, atol=1e-12, rtol=0)


def test_the_shorter_way_is_taken_and_agrees() -> None:
    layer = nn.Conv2d(32, 8, 3, padding=1)
    x = torch.randn(2, 32, 16, 16, generator=torch.Generator().manual_seed(2))
    plain = rows(layer, x)
    found = statistics(layer, x, gram=True)
    assert found.rows == plain.shape[1] == 512
    torch.testing.assert_close(found.gram, plain.mT @ plain, atol=2e-3, rtol=1e-5)
    torch.testing.assert_close(found.squares, plain.double().square().sum(1), rtol=1e-5, atol=1e-3)
