"""Do verdicts travel? Baselines of `scenes` in float32, judged in other dtypes, kernels and start noise.

    python tools/travel.py --out DIR [--cases pr] [--only WORDS]

Measures the cases in float32, and again in every setting that stands for another machine, in fresh processes. DIR keeps
the records, so an interrupted run goes on. Then judges every setting against float32, as the gate does: first unchanged
code, which must not be red, then planted defects, which must be. Prints Markdown. See docs/measurements/travel.md.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import noise
from noise import FIRST, Rung, measure
from records import PLANTED

from harness.cli.errors import guarded
from harness.cli.parsers import of_tool, path
from harness.record import Record
from harness.results import read
from harness.verdict.baseline import Provenance
from harness.verdict.effect import Rules, anchor
from harness.verdict.judge import judge
from harness.verdict.quality import by_effect
from harness.verdict.repository import Repository
from harness.verdict.statistics import PASS, UNDERPOWERED
from harness.verdict.verdict import Verdict

SHIPPED = Path(__file__).resolve().parents[1] / "baselines.json"
ENOUGH = re.compile(r"about ([\d,]+) captions would decide")


def settings() -> list[Rung]:
    """Return the settings that stand for another machine."""
    default = {"ATEN_CPU_CAPABILITY": "default"}
    return [
        Rung("bfloat16", "dtype", options=("--dtype", "bfloat16")),
        Rung("ATEN_CPU_CAPABILITY=default", "kernels", 2, environment=default),
        Rung("ATEN_CPU_CAPABILITY=default, 1 thread", "kernels", 1, environment=default),
        *noise.noises(),
        Rung("float16", "dtype", options=("--dtype", "float16")),
    ]


@dataclass(frozen=True)
class Judged:
    """A case and its verdicts."""

    record: Record
    """The case in a setting."""
    verdict: Verdict
    """The verdict of the gate."""
    alone: Verdict | None
    """The verdict on the effect of pruning alone; None where the case is not judged by effect."""
    defect: str = ""
    """The planted defect."""

    @property
    def red(self) -> bool:
        """Return whether the case fails in CI."""
        return self.verdict.red(True, False)

    @property
    def captions(self) -> str:
        """Return the number of captions that would decide, "" where these do."""
        return _enough(self.verdict)

    @property
    def by_effect_alone(self) -> str:
        """Return the verdict on the effect in words."""
        if self.alone is None:
            return "the dense model has not moved"
        wanted = _enough(self.alone)
        return self.alone.kind + (f": {wanted} captions would decide" if wanted else "")


def _enough(verdict: Verdict) -> str:
    wanted = ENOUGH.search(verdict.reason)
    return wanted[1] if wanted else ""


def stored(*files: Path) -> Repository:
    """Return the shipped baselines with the records of some files in the place of their cases'."""
    shipped = Repository.open(SHIPPED)
    source = Provenance("0" * 12, datetime.date.today().isoformat(), "float32")
    records = list({result.record.case: result.record for file in files for result in read(file).cases}.values())
    return shipped.updated(records, shipped.baselines.workloads, (), source)


def judged(file: Path, repository: Repository, dense: Record | None = None) -> Iterator[Judged]:
    """Yield the verdicts on all cases of a file.

    Args:
        file: The records of a setting.
        repository: The baselines.
        dense: The dense model of the setting; None: it is in the file.
    """
    results = read(file).cases
    if dense is None:
        dense = next(result.record for result in results if result.record.case.is_dense)
    rules = Rules()
    for result in results:
        record, alone = result.record, None
        before, of_dense = (repository.find(r.case, r.workload, r.stack) for r in (record, dense))
        if before is not None and of_dense is not None:
            against = anchor(dense, of_dense, rules, record.case.moves_weights)
            if against is not None:
                said, _ = by_effect(record, before, repository, against, rules)
                alone = said or Verdict(PASS, "effect")
        yield Judged(record, judge(record, repository, dense, rules), alone, result.note)


def unchanged(given: Sequence[tuple[Rung, Sequence[Judged]]]) -> Iterator[str]:
    """Yield the table of unchanged code, and the cases that are red or cannot be decided."""
    yield "| setting | cases | judged by effect | PASS | UNDERPOWERED, a warning | red |"
    yield "|---|---|---|---|---|---|"
    for rung, cases in given:
        kinds = [one.verdict.kind for one in cases]
        effects = sum(one.verdict.by_effect for one in cases)
        red = sum(one.red for one in cases)
        yield (
            f"| {rung.name} | {len(cases)} | {effects} | {kinds.count(PASS)} | {kinds.count(UNDERPOWERED)} | {red} |"
        )
    yield "\n| case | settings in which 64 captions do not decide | captions that would, at most |\n|---|---|---|"
    undecided: dict[str, list[int]] = {}
    for _, cases in given:
        for one in cases:
            if one.verdict.kind == UNDERPOWERED and one.captions:
                undecided.setdefault(one.record.case.id, []).append(int(one.captions.replace(",", "")))
    for case, wanted in undecided.items():
        yield f"| {case} | {len(wanted)} | {max(wanted):,} |"
    for rung, cases in given:
        for one in cases:
            if one.red:
                yield f"\nRED: {rung.name}: {one.record.case.id}: {one.verdict.kind}: {one.verdict.reason}"


def planted(given: Sequence[tuple[Rung, Sequence[Judged]]]) -> Iterator[str]:
    """Yield the table of planted defects."""
    yield "| defect | case | setting | verdict of the gate | the effect alone |\n|---|---|---|---|---|"
    for rung, cases in given:
        for one in cases:
            gate = f"{one.verdict.kind} ({one.verdict.gate})"
            yield f"| {one.defect} | {one.record.case.id} | {rung.name} | {gate} | {one.by_effect_alone} |"
    missed = sum(not caught(one) for _, cases in given for one in cases)
    yield f"\n{missed} of {sum(len(cases) for _, cases in given)} defects were not red."


def caught(one: Judged) -> bool:
    """Return whether a planted defect is red by a comparison. A case without baseline is red too, and shows nothing."""
    return one.red and one.verdict.gate != "baseline"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, judge and print; return 1 where unchanged code is red or a defect is not."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder of the records")
    parser.add_argument("--cases", default="pr", metavar="WORDS", help="as tools/records.py takes them (default: pr)")
    parser.add_argument("--only", metavar="WORDS", help="settings whose names have one of these words")

    def work() -> int:
        given = parser.parse_args(arguments)
        words = given.only.split(",") if given.only else [""]
        chosen = [rung for rung in settings() if any(word in rung.name for word in words)]
        return _print(given.out, given.cases, chosen)

    return guarded(work)


def _print(out: Path, cases: str, chosen: Sequence[Rung]) -> int:
    out.mkdir(parents=True, exist_ok=True)
    first = Rung(FIRST, "first")
    beside = replace(first, name=f"{FIRST}, cases of the planted defects")
    # The defects have cases of their own, which --cases may lack.
    ids = ",".join(dict.fromkeys(case for _, case in PLANTED))
    repository = stored(measure(beside, out, ids), measure(first, out, cases))
    green, red = [], []
    for rung in chosen:
        file = measure(rung, out, cases)
        green.append((rung, list(judged(file, repository))))
        dense = next(one.record for one in green[-1][1] if one.record.case.is_dense)
        named = replace(rung, name=f"{rung.name}, planted", options=(*rung.options, "--planted"))
        red.append((rung, list(judged(measure(named, out, cases), repository, dense))))
    for line in (*unchanged(green), "", *planted(red)):
        print(line)
    false = any(one.red for _, cases in green for one in cases)
    return 1 if false or any(not caught(one) for _, cases in red for one in cases) else 0


if __name__ == "__main__":
    sys.exit(main())
