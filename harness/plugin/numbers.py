"""Options that hold a number per metric, such as `--budget clip=0.5,fid=2`."""

from __future__ import annotations

import math

from harness.errors import HarnessError, unknown
from harness.metrics import METRICS


def numbers(option: str, text: str | None) -> dict[str, float]:
    """Return metric → positive number.

    Args:
        option: The option's name, for messages.
        text: "METRIC=NUMBER", several joined by commas; None: the option was not given.

    Raises:
        HarnessError: A part has another form, a metric does not exist or is named twice, or a number is not positive.
    """
    given: dict[str, float] = {}
    for part in text.split(",") if text is not None else ():
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise HarnessError(f"{option} {part}: write METRIC=NUMBER, such as clip=1.5")
        if name not in METRICS:
            raise unknown(option, name, METRICS)
        if name in given:
            raise HarnessError(f"{option} names {name} twice; give it once")
        try:
            given[name] = float(number)
        except ValueError:
            given[name] = 0.0
        if not 0 < given[name] < math.inf:
            raise HarnessError(f"{option} {part}: {number!r} is no positive number; give one, such as {name}=1.5")
    return given
