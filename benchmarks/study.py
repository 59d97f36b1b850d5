"""The grid and the claims of the reference study (arXiv 2411.15113), for any target.

The study itself is on Stable Diffusion 2. The claims are about curves, so they can be tested on measured records and on
the study's published figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.case import Case
from harness.record import Measured
from harness.verdict.claims import Claim, Records
from harness.verdict.dropoff import STUDIED, Point, curve, dropoff, margins

STUDY = "arXiv 2411.15113"
LAYERS = "linear"
# The metrics that the study reports.
MARGINS = margins(STUDIED)

TEXT = (0.30, 0.40, 0.50, 0.55, 0.575, 0.60, 0.625, 0.65, 0.675, 0.70, 0.80)
UNET = (0.10, 0.20, 0.30, 0.35, 0.375, 0.40, 0.425, 0.45, 0.475, 0.50, 0.525, 0.55, 0.575, 0.60)
# (text encoder, U-Net). The text encoder is pruned by magnitude, with and without OWL; the U-Net by magnitude.
BOTH = (
    (0.18, 0.21), (0.27, 0.31), (0.35, 0.14), (0.35, 0.42), (0.425, 0.30), (0.44, 0.52), (0.45, 0.325), (0.475, 0.35),
    (0.50, 0.375), (0.525, 0.40), (0.53, 0.07), (0.53, 0.21), (0.53, 0.63), (0.55, 0.425), (0.575, 0.45), (0.60, 0.475),
    (0.625, 0.50), (0.71, 0.28), (0.80, 0.10), (0.89, 0.35),
)  # fmt: skip
BOTH_METHODS = ("magnitude", "owl_magnitude+magnitude")
OPERATING_POINT = (0.475, 0.35)
# (component, method) → levels. The study also writes about SparseGPT, and says that magnitude holds up to 47.5 % on the
# text encoder, but shows no figures of either.
GRID: dict[tuple[str, str], tuple[float, ...]] = {
    ("text_encoder", "magnitude"): (*TEXT, 0.475),
    ("text_encoder", "owl_magnitude"): TEXT,
    ("text_encoder", "wanda"): (*TEXT, 0.525),
    ("text_encoder", "owl_wanda"): TEXT,
    ("text_encoder", "sparsegpt"): TEXT,
    ("unet", "magnitude"): UNET,
}
# A drop is sudden when its steep part begins, or half of the loss is reached, at most this far above the last level at
# which quality holds.
SUDDEN = 0.20

Curves = Mapping[tuple[str, str], Sequence[Point]]


def study_cases(target: str, denoiser: str) -> list[Case]:
    """Return the study's grid on a target.

    Args:
        target: The target's name in ids.
        denoiser: The component that denoises: "unet" or "transformer".
    """
    cases = [
        Case(target, _named(component, denoiser), method, LAYERS, (level,))
        for (component, method), levels in GRID.items()
        for level in sorted(levels)
    ]
    if denoiser == "unet":
        cases += [Case(target, "both", method, LAYERS, pair) for method in BOTH_METHODS for pair in BOTH]
    return cases


def _named(component: str, denoiser: str) -> str:
    return denoiser if component == "unet" else component


@dataclass(frozen=True)
class Sentence:
    """A claim about curves."""

    name: str
    """The claim's name without "study-"."""
    needs: tuple[tuple[str, str], ...]
    """(component, method) of every curve that the claim reads."""
    against: Callable[[Curves], str]
    """Takes the curves, and returns a text that contradicts the claim, or "" where the claim holds."""


def holds_to(component: str, last: float) -> Callable[[Curves], str]:
    """Return claim C1 or C2: with magnitude, quality holds up to `last`, and then drops within 0.2."""

    def against(curves: Curves) -> str:
        drop = dropoff(curves[component, "magnitude"], MARGINS)
        if drop.last < last:
            return f"quality holds up to {drop.last:g} (95 % interval {drop.low:g} to {drop.high:g})"
        if not drop.last <= drop.knee <= drop.last + SUDDEN:
            return f"the steep part begins at {drop.knee:g}, quality holds up to {drop.last:g}"
        return ""

    return against


def minimal_loss(curves: Curves) -> str:
    """Test claim C3: at 47.5 % and 35 %, the only point of the curve, no metric has lost more than its margin."""
    (point,) = curves["both", "magnitude"]
    return ", ".join(
        f"{name} has lost {lost:.2f} ± {se:.2f}, more than {MARGINS[name]:g}"
        for name, (lost, se) in point.losses.items()
        if name in MARGINS and lost > MARGINS[name]
    )


def beats(other: str) -> Callable[[Curves], str]:
    """Return claim C4: on the text encoder, magnitude is at least as good as the other method.

    It must be so at every common level and by every metric. A level counts only if magnitude has lost less than half of
    the CLIP score that it ever loses: above such levels, too little quality is left to compare.
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
    """Return claim C5: while quality holds, OWL's sparsities move no metric by more than its margin."""

    def against(curves: Curves) -> str:
        plain = curves["text_encoder", method]
        last = dropoff(plain, MARGINS).last
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
    """Return claim C6: half of the largest loss of CLIP score is reached within 0.2 above the last level that holds."""

    def against(curves: Curves) -> str:
        points = curves[component, "magnitude"]
        last, most = dropoff(points, MARGINS).last, max(p.losses["clip"][0] for p in points)
        behind = [p for p in points if p.level <= last + SUDDEN + 1e-9]
        lost = max(p.losses["clip"][0] for p in behind)
        if 2 * lost >= most:
            return ""
        return f"{lost:.2f} of {most:.2f} points of CLIP score are lost up to {max(p.level for p in behind):g}"

    return against


def hurts_first(component: str, first: str) -> Callable[[Curves], str]:
    """Return claim C7: metric `first` leaves its margin at a lower level than the other metric."""

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
    """Test the number of claim C3: the share of zeros among all parameters.

    Args:
        sizes: Component → number of its parameters.
        zeros: Component → number of its zeros.
        wanted: The claimed share, ± 0.005.
    """
    share = sum(zeros.values()) / sum(sizes.values())
    return "" if abs(share - wanted) < 5e-3 else f"{share:.1%} of the parameters are zero, not {wanted:.1%}"


def study_claims(target: str, denoiser: str) -> list[Claim]:
    """Return the study's claims about a target, on the study's grid. Some claims need a U-Net.

    Args:
        target: The target's name in ids.
        denoiser: The component that denoises: "unet" or "transformer".
    """
    cases = study_cases(target, denoiser)
    dense = Case(target)
    claims = []
    for sentence in SENTENCES:
        keys = {(_named(component, denoiser), method) for component, method in sentence.needs}
        chosen = tuple(
            case
            for case in cases
            if (case.component, case.method) in keys and (case.component != "both" or case.levels == OPERATING_POINT)
        )
        if keys == {(case.component, case.method) for case in chosen}:
            holds = _on_records(sentence, dense, chosen, denoiser)
            claims.append(Claim(f"study-{sentence.name}", STUDY, (dense, *chosen), holds, ("clip", "fid")))
    pair = next((case for case in cases if case.levels == OPERATING_POINT), None)
    if pair is not None:
        both: Case = pair

        def share(records: Records) -> str:
            counts = records[both].components
            return share_of_parameters(
                {name: c.parameters for name, c in counts.items()}, {name: c.zeros for name, c in counts.items()}
            )

        claims.append(Claim("study-c3-is-38.5-of-parameters", STUDY, (both,), share))
    return claims


def _on_records(sentence: Sentence, dense: Case, cases: Sequence[Case], denoiser: str) -> Callable[[Records], str]:
    def holds(records: Records) -> str:
        curves: dict[tuple[str, str], Sequence[Point]] = {}
        for component, method in sentence.needs:
            key = _named(component, denoiser), method
            measured: list[Measured] = [records[case] for case in cases if (case.component, case.method) == key]
            curves[component, method] = curve(records[dense], measured)
        return sentence.against(curves)

    return holds
