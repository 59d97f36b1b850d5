"""The rows of a layer's inputs, over which calibration sums, for Linear and for every kind of Conv2d."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruners.stats import collect, sum_of_squares, working
from pruners.types import LayerStats


def padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return the input with the layer's own padding around it, `[n, c, h, w]`."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)


def rows(layer: nn.Module, x: Tensor) -> Tensor:
    """Return a layer's input as rows. The product of rows and the weight's matrix is the output before the bias.

    Args:
        layer: A Linear or Conv2d layer.
        x: The layer's input: `[..., in]`, or `[n, c, h, w]` for a convolution.

    Returns:
        One row per token `[rows, in]`, or one per patch of each group of channels `[groups, rows, in]`.
    """
    if not isinstance(layer, nn.Conv2d):
        return x.reshape(-1, x.shape[-1])
    patches = _patches(layer, x)
    by_group = patches.view(len(x), layer.groups, -1, patches.shape[-1])
    return by_group.permute(1, 0, 3, 2).reshape(layer.groups, -1, by_group.shape[2])


def _patches(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return the patches as columns, `[n, groups * in, patches]`."""
    # `unfold` pads with zeros itself if both sides have equally many, so no copy of the input is needed.
    around = layer.padding if layer.padding_mode == "zeros" and not isinstance(layer.padding, str) else None
    x = padded(layer, x) if around is None else x
    return functional.unfold(x, layer.kernel_size, layer.dilation, around or 0, layer.stride)


def statistics(layer: nn.Module, x: Tensor, gram: bool, sums: bool = False) -> LayerStats:
    """Return the statistics of one input of a layer.

    Args:
        layer: A Linear or Conv2d layer.
        x: The layer's input: `[..., in]`, or `[n, c, h, w]` for a convolution.
        gram: Whether the Gram matrix is wanted. Rows and squares do not depend on it.
        sums: Whether sums are wanted.

    Raises:
        ValueError: An input is too small or too large for its square to be a float64.
    """
    if not isinstance(layer, nn.Conv2d):
        return collect(rows(layer, x), gram, sums)
    x = x.to(working(x.dtype))
    # Taking patches is linear, so sum up the squares of all pictures first.
    squares = _patches(layer, sum_of_squares(x, 0)[None])
    added = _patches(layer, x.sum(0, dtype=torch.float64)[None]).sum(-1).view(layer.groups, -1) if sums else None
    product = None
    if gram and _shifts_pay(layer, x):
        product = gram_by_shifts(x)[None]
    elif gram:
        patches = rows(layer, x)
        product = patches.mT @ patches
    return LayerStats(len(x) * squares.shape[-1], squares.sum(-1).view(layer.groups, -1), product, added)


def _shifts_pay(layer: nn.Conv2d, x: Tensor) -> bool:
    """Return whether `gram_by_shifts` applies to the layer, and is faster at this size according to measurements."""
    plain = (3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros"
    geometry = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode
    pixels, channels = len(x) * x.shape[2] * x.shape[3], x.shape[1]
    return geometry == plain and min(x.shape[2:]) >= 3 and pixels >= 512 and pixels * channels > 2**16


_LINES = {"all": slice(None), "first": slice(0, 1), "last": slice(-1, None)}


def gram_by_shifts(x: Tensor) -> Tensor:
    """Return the Gram matrix of the 3×3 patches of a picture, with stride 1 and padding 1.

    Two kernel places k and k' see pictures that are shifted by d = k' - k. All pairs with one d share the product of
    the channels with the shifted channels; they differ only in the rows and columns that a place does not see. 13 of
    the 25 shifts are enough, because the others are transposes. So 13 products of `[c, c]` and thin corrections replace
    81 products.

    Args:
        x: `[n, c, h, w]`, float32 or float64.

    Returns:
        `[9 c, 9 c]` in the same dtype.
    """
    _, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).contiguous()
    gram = x.new_empty(c, 3, 3, c, 3, 3)
    for dy in range(3):
        for dx in range(-2, 3):
            if dy == 0 and dx < 0:
                continue

            here = pixels[:, : h - dy, max(0, -dx) : w - max(0, dx)]
            there = pixels[:, dy:, max(0, dx) : w + min(0, dx)]
            products: dict[tuple[str, str], Tensor] = {}

            def product(
                ys: str,
                xs: str,
                here: Tensor = here,
                there: Tensor = there,
                products: dict[tuple[str, str], Tensor] = products,
            ) -> Tensor:
                """Sum pixel times shifted pixel over the overlap, or over one line or corner of it."""
                if (ys, xs) not in products:
                    part = slice(None), _LINES[ys], _LINES[xs]
                    products[ys, xs] = here[part].reshape(-1, c).T @ there[part].reshape(-1, c)
                return products[ys, xs]

            for ky in range(3 - dy):
                # A place in the kernel's upper row does not see the last row of pixels, and one in the lower row does
                # not see the first. A shift in that direction has left the row out already. Columns work the same way.
                ys = {0: "last", 2: "first"}.get(ky) if dy == 0 else None
                for kx in range(max(0, -dx), 3 - max(0, dx)):
                    xs = {0: "last", 2: "first"}.get(kx) if dx == 0 else None
                    value = product("all", "all")
                    if ys:
                        value = value - product(ys, "all")
                    if xs:
                        value = value - product("all", xs)
                    if ys and xs:
                        value = value + product(ys, xs)
                    gram[:, ky, kx, :, ky + dy, kx + dx] = value
                    gram[:, ky + dy, kx + dx, :, ky, kx] = value.T
    return gram.view(9 * c, 9 * c)
