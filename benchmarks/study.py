"""The reference study's grid and its claims (arXiv 2411.15113), for any target: Stable Diffusion 2 is what it is about.

The logic is about curves, so that it runs on measured records and on the study's published figures alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.case import Case
from harness.record import Record
from harness.verdict.claims import Claim, Records
from harness.verdict.dropoff import MARGINS, Point, curve, dropoff

STUDY = "arXiv 2411.15113"
LAYERS = "linear"

TEXT = (0.30, 0.40, 0.50, 0.55, 0.575, 0.60, 0.625, 0.65, 0.675, 0.70, 0.80)
UNET = (0.10, 0.20, 0.30, 0.35, 0.375, 0.40, 0.425, 0.45, 0.475, 0.50, 0.525, 0.55, 0.575, 0.60)
# (text encoder, U-Net). The text encoder by magnitude, with and without OWL; the U-Net by magnitude.
BOTH = (
    (0.18, 0.21), (0.27, 0.31), (0.35, 0.14), (0.35, 0.42), (0.425, 0.30), (0.44, 0.52), (0.45, 0.325), (0.475, 0.35),
    (0.50, 0.375), (0.525, 0.40), (0.53, 0.07), (0.53, 0.21), (0.53, 0.63), (0.55, 0.425), (0.575, 0.45), (0.60, 0.475),
    (0.625, 0.50), (0.71, 0.28), (0.80, 0.10), (0.89, 0.35),
)  # fmt: skip
BOTH_METHODS = ("magnitude", "owl_magnitude+magnitude")
OPERATING_POINT = (0.475, 0.35)
# (component, method) → levels. The study has no result of SparseGPT, which it also writes about, and none of the text
# encoder at 47.5 %, up to which magnitude is said to hold.
GRID: dict[tuple[str, str], tuple[float, ...]] = {
    ("text_encoder", "magnitude"): (*TEXT, 0.475),
    ("text_encoder", "owl_magnitude"): TEXT,
    ("text_encoder", "wanda"): (*TEXT, 0.525),
    ("text_encoder", "owl_wanda"): TEXT,
    ("text_encoder", "sparsegpt"): TEXT,
    ("unet", "magnitude"): UNET,
}
# How far behind the last level that holds a drop may begin, or be half over, and be called sudden.
SUDDEN = 0.20

Curves = Mapping[tuple[str, str], Sequence[Point]]


def study_cases(target: str, denoiser: str) -> list[Case]:
    """Return the study's grid on a target whose denoiser is called so: `unet` or `transformer`."""
    found = [
        Case(target, _named(component, denoiser), method, LAYERS, (level,))
        for (component, method), levels in GRID.items()
        for level in sorted(levels)
    ]
    if denoiser == "unet":
        found += [Case(target, "both", method, LAYERS, pair) for method in BOTH_METHODS for pair in BOTH]
    return found


def _named(component: str, denoiser: str) -> str:
    return denoiser if component == "unet" else component


@dataclass(frozen=True)
class Sentence:
    """A claim about curves. needs: their keys. against: what contradicts it, "" where nothing does."""

    name: str
    needs: tuple[tuple[str, str], ...]
    against: Callable[[Curves], str]


def holds_to(component: str, last: float) -> Callable[[Curves], str]:
    """C1, C2: with magnitude, quality holds up to `last`, and the steep part begins within 0.2 behind it."""

    def against(curves: Curves) -> str:
        found = dropoff(curves[component, "magnitude"])
        if found.last < last:
            return f"quality holds up to {found.last:g} (95 % interval {found.low:g} to {found.high:g})"
        if not found.last <= found.knee <= found.last + SUDDEN:
            return f"the steep part begins at {found.knee:g}, quality holds up to {found.last:g}"
        return ""

    return against


def minimal_loss(curves: Curves) -> str:
    """C3: at 47.5 % and 35 %, the only point of this curve, no metric has lost more than its margin."""
    (point,) = curves["both", "magnitude"]
    return ", ".join(
        f"{name} has lost {lost:.2f} ± {se:.2f}, more than {MARGINS[name]:g}"
        for name, (lost, se) in point.losses.items()
        if lost > MARGINS[name]
    )


def beats(other: str) -> Callable[[Curves], str]:
    """C4: on the text encoder magnitude is at no common level the worse one, by either metric.

    Of levels at which less than half of all CLIP score that magnitude ever loses is lost: behind them nothing is left.
    """

    def against(curves: Curves) -> str:
        ours, theirs = ({p.level: p.losses for p in curves["text_encoder", m]} for m in ("magnitude", other))
        half = max(losses["clip"][0] for losses in ours.values()) / 2
        ours = {level: losses for level, losses in ours.items() if losses["clip"][0] < half}
        said = []
        for name in MARGINS:
            gaps = {
                level: (ours[level][name][0] - theirs[level][name][0], _both(ours[level][name], theirs[level][name]))
                for level in sorted(ours.keys() & theirs.keys())
            }
            worse = {level: gap for level, gap in gaps.items() if gap[0] > 0}
            if worse:
                most, se = max(worse.values())
                levels = ", ".join(f"{level:g}" for level in worse)
                said.append(f"{other} has the better {name} at {levels}, by {most:.2f} ± {se:.2f} at most")
        return "; ".join(said)

    return against


def unchanged_by_owl(method: str) -> Callable[[Curves], str]:
    """C5: up to the last level that holds, OWL's layer ratios move no metric by more than its margin."""

    def against(curves: Curves) -> str:
        plain = curves["text_encoder", method]
        last = dropoff(plain).last
        ours, theirs = (
            {p.level: p.losses for p in points} for points in (plain, curves["text_encoder", f"owl_{method}"])
        )
        return "; ".join(
            f"at {level:g} OWL moves {name} by {theirs[level][name][0] - ours[level][name][0]:+.2f}"
            for level in sorted(ours.keys() & theirs.keys())
            for name, margin in MARGINS.items()
            if level <= last and abs(theirs[level][name][0] - ours[level][name][0]) > margin
        )

    return against


def sudden(component: str) -> Callable[[Curves], str]:
    """C6: half of all CLIP score that is ever lost is lost within 0.2 behind the last level that holds."""

    def against(curves: Curves) -> str:
        points = curves[component, "magnitude"]
        last, most = dropoff(points).last, max(p.losses["clip"][0] for p in points)
        behind = [p for p in points if p.level <= last + SUDDEN + 1e-9]
        lost = max(p.losses["clip"][0] for p in behind)
        if 2 * lost >= most:
            return ""
        return f"{lost:.2f} of {most:.2f} points of CLIP score are lost up to {max(p.level for p in behind):g}"

    return against


def hurts_first(component: str, first: str) -> Callable[[Curves], str]:
    """C7: this metric leaves its margin at a lower level than the other does."""

    def against(curves: Curves) -> str:
        points = sorted(curves[component, "magnitude"], key=lambda p: p.level)
        gone = {
            name: next((p.level for p in points if p.losses[name][0] > margin), 1.0) for name, margin in MARGINS.items()
        }
        other = next(name for name in MARGINS if name != first)
        return (
            ""
            if gone[first] < gone[other]
            else f"{first} leaves its margin at {gone[first]:g}, {other} at {gone[other]:g}"
        )

    return against


def _both(a: tuple[float, float], b: tuple[float, float]) -> float:
    return float((a[1] ** 2 + b[1] ** 2) ** 0.5)


TEXT_MAGNITUDE, UNET_MAGNITUDE = ("text_encoder", "magnitude"), ("unet", "magnitude")
SENTENCES = (
    Sentence("c1-text_encoder-holds-to-0.475", (TEXT_MAGNITUDE,), holds_to("text_encoder", 0.475)),
    Sentence("c2-unet-holds-to-0.35", (UNET_MAGNITUDE,), holds_to("unet", 0.35)),
    Sentence("c3-both-lose-little", (("both", "magnitude"),), minimal_loss),
    Sentence("c4-magnitude-beats-wanda", (TEXT_MAGNITUDE, ("text_encoder", "wanda")), beats("wanda")),
    Sentence("c4-magnitude-beats-sparsegpt", (TEXT_MAGNITUDE, ("text_encoder", "sparsegpt")), beats("sparsegpt")),
    Sentence(
        "c5-owl-changes-nothing-for-magnitude",
        (TEXT_MAGNITUDE, ("text_encoder", "owl_magnitude")),
        unchanged_by_owl("magnitude"),
    ),
    Sentence(
        "c5-owl-changes-nothing-for-wanda",
        (("text_encoder", "wanda"), ("text_encoder", "owl_wanda")),
        unchanged_by_owl("wanda"),
    ),
    Sentence("c6-text_encoder-drops-suddenly", (TEXT_MAGNITUDE,), sudden("text_encoder")),
    Sentence("c6-unet-drops-suddenly", (UNET_MAGNITUDE,), sudden("unet")),
    Sentence("c7-text_encoder-hurts-clip-first", (TEXT_MAGNITUDE,), hurts_first("text_encoder", "clip")),
    Sentence("c7-unet-hurts-fid-first", (UNET_MAGNITUDE,), hurts_first("unet", "fid")),
)


def share_of_parameters(sizes: Mapping[str, int], zeros: Mapping[str, float], wanted: float = 0.385) -> str:
    """C3's number. sizes, zeros: component → its parameters, and how many of them are zero. wanted: their share."""
    share = sum(zeros.values()) / sum(sizes.values())
    return "" if abs(share - wanted) < 5e-3 else f"{share:.1%} of the parameters are zero, not {wanted:.1%}"


def study_claims(target: str, denoiser: str) -> list[Claim]:
    """Return the study's claims about a target, on its own grid; those about both components where there is a U-Net."""
    cases = study_cases(target, denoiser)
    dense = Case(target)
    found = []
    for sentence in SENTENCES:
        keys = {(_named(component, denoiser), method) for component, method in sentence.needs}
        chosen = tuple(
            case
            for case in cases
            if (case.component, case.method) in keys and (case.component != "both" or case.levels == OPERATING_POINT)
        )
        if keys == {(case.component, case.method) for case in chosen}:
            holds = _on_records(sentence, dense, chosen, denoiser)
            found.append(Claim(f"study-{sentence.name}", STUDY, (dense, *chosen), holds, ("clip", "fid")))
    pair = next((case for case in cases if case.levels == OPERATING_POINT), None)
    if pair is not None:
        both: Case = pair

        def share(records: Records) -> str:
            counts = records[both].exact["components"]
            return share_of_parameters(
                {name: c["parameters"] for name, c in counts.items()}, {name: c["zeros"] for name, c in counts.items()}
            )

        found.append(Claim("study-c3-is-38.5-of-parameters", STUDY, (both,), share))
    return found


def _on_records(sentence: Sentence, dense: Case, cases: Sequence[Case], denoiser: str) -> Callable[[Records], str]:
    def holds(records: Records) -> str:
        curves: dict[tuple[str, str], Sequence[Point]] = {}
        for component, method in sentence.needs:
            key = _named(component, denoiser), method
            measured: list[Record] = [records[case] for case in cases if (case.component, case.method) == key]
            curves[component, method] = curve(records[dense], measured)
        return sentence.against(curves)

    return holds
