"""The baselines of one file and its sidecars. They are read strictly, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from harness import digests, files
from harness.case import Case
from harness.errors import HarnessError
from harness.facts import Stack, WorkloadFacts
from harness.metrics import METRICS
from harness.record import LatencyRecord, Record
from harness.verdict import layout, noises, sidecar, update
from harness.verdict.baseline import Baseline, Baselines, Entry, LatencyFigure, Provenance


class Damaged(HarnessError):
    """A sidecar is missing, or is not the one that was stored. Its case has no baseline until it is stored again."""


# From the id of a case, or "" for all cases of a run, to the command that stores them, in backticks.
Command = Callable[[str], str]


def command(case: str = "") -> str:
    """Return the command that stores a case, or all cases, again: where nobody knows how the run was started."""
    return f'`pytest benchmarks --update-baselines --baseline-reason "why"{f" -k {case!r}" if case else ""}`'


@dataclass(frozen=True)
class Repository:
    """The content of one baselines file, with changes that `write` will store."""

    path: Path
    """The baselines file. Its sidecars are in the folder of the same name without ".json"."""
    baselines: Baselines = field(default_factory=Baselines)
    """The content of the file, changes included."""
    changes: tuple[Callable[[Baselines], Baselines], ...] = ()
    """The changes to store, in order. `write` applies them to the file as it is by then."""
    sidecars: Mapping[str, bytes] = field(default_factory=dict)
    """Name → content of the new sidecars."""
    command: Command = command
    """Makes the command that messages advise."""

    @staticmethod
    def open(path: Path, command: Command = command) -> Repository:
        """Read and check a baselines file. A missing file holds no case. Sidecars are read later, case by case.

        Args:
            path: The file.
            command: As the field of the name.

        Raises:
            HarnessError: The name does not end in ".json", or the file cannot be read, has another schema, or holds an
                impossible value. The message names the value.
        """
        _check_name(path)
        mend = f"Restore it with `git checkout -- {_shown(path)}`, or move it away and run {command('')}"
        try:
            return Repository(path, layout.parse(files.read(path, pipes=False).decode()), command=command)
        except FileNotFoundError:
            return Repository(path, command=command)
        except IsADirectoryError as error:
            raise HarnessError(f"--baselines {path} is a folder; name a file, such as {path / path.name}") from error
        except UnicodeDecodeError as error:
            raise HarnessError(f"{path} is no text in UTF-8 ({error}). {mend}") from error
        except OSError as error:
            raise HarnessError(f"{path} cannot be read ({error.strerror or error}). {mend}") from error
        except ValueError as error:
            raise HarnessError(f"{path}: {error}. {mend}") from error

    def entries(self, case: Case) -> tuple[Entry, ...]:
        """Return all entries of a case: of every workload and every stack."""
        return self.baselines.cases.get(case.id, ())

    def entry(self, case: Case, workload: str, stack: Stack) -> Entry | None:
        """Return the entry that a run compares with: this stack's, else the newest one of another stack, else None."""
        alike = [entry for entry in self.entries(case) if entry.workload == workload]
        newest = max(alike, key=lambda entry: (entry.provenance.date, entry.stack), default=None)
        return self._own(case, workload, stack) or newest

    def _own(self, case: Case, workload: str, stack: Stack) -> Entry | None:
        """Return the newest entry of a case that was measured on a stack, or None."""
        alike = [entry for entry in self.entries(case) if entry.workload == workload]
        ours = [entry for entry in alike if not self.baselines.stacks[entry.stack].differences(stack)]
        return max(ours, key=lambda entry: (entry.provenance.date, entry.stack), default=None)

    def find(self, case: Case, workload: str, stack: Stack) -> Baseline | None:
        """Return the baseline that a run compares with, with its keep masks and paired values.

        Args:
            case: The case.
            workload: The key of the workload.
            stack: The machine and software of the run.

        Returns:
            The baseline of `entry`, or None where nothing is stored.

        Raises:
            Damaged: The sidecar is missing, or is not the one that was stored.
        """
        entry = self.entry(case, workload, stack)
        if entry is None:
            return None
        name = sidecar.name_of(case.id, entry.sidecar)
        place = sidecar.folder_of(self.path) / name
        mend = f"Restore it with `git checkout -- {_shown(place)}`, or store the case again: {self.command(case.id)}"
        try:
            content = self.sidecars[name] if name in self.sidecars else files.read(place, pipes=False)
            return sidecar.decoded(content, case, entry, self.baselines.stacks[entry.stack])
        except OSError as error:
            raise Damaged(f"{place} cannot be read ({error.strerror or error}). {mend}") from error
        except ValueError as error:
            raise Damaged(f"{place} {error}. {mend}") from error

    def latency(self, case: Case, stack: Stack) -> LatencyFigure | None:
        """Return the stored ratio of latencies of a case on a stack, or None."""
        by_stack = self.baselines.latency.get(case.id, {})
        same = [key for key in by_stack if not self.baselines.stacks[key].differences(stack)]
        return by_stack[max(same, key=lambda key: (by_stack[key].provenance.date, key))] if same else None

    @cached_property
    def comparisons(self) -> int:
        """Return the number of comparisons that share the chance of a false alarm: two directions per stored figure.

        A run measures one set of captions, so this counts the figures of the set that has the most. A figure that is
        stored for several stacks counts once. At least 2.
        """
        figures: dict[str, set[tuple[str, str]]] = {}
        for case, entries in self.baselines.cases.items():
            for entry in entries:
                captions = self.baselines.workloads[entry.workload].captions
                figures.setdefault(captions, set()).update((case, metric) for metric in entry.quality)
        return 2 * max([1, *map(len, figures.values())])

    def updated(
        self,
        records: Sequence[Record],
        facts: Mapping[str, WorkloadFacts],
        latencies: Sequence[LatencyRecord],
        provenance: Provenance,
    ) -> Repository:
        """Return the repository with records and latencies put in; `write` stores them. No sidecar is read.

        Args:
            records: Cases to store. Each replaces the entry of its workload and stack.
            facts: Key → facts of the records' workloads.
            latencies: Ratios to store.
            provenance: The origin of all of them.

        Raises:
            HarnessError: A metric is unknown, or nobody knows the facts of a workload.
        """
        named = {}
        for record in records:
            content = update.content_of(record)
            named[sidecar.name_of(record.case.id, digests.of_bytes(content))] = content
        cases = partial(update.with_records, records=records, facts=facts, provenance=provenance)
        ratios = partial(update.with_latencies, latencies=latencies, provenance=provenance)
        return replace(self._changed(cases)._changed(ratios), sidecars={**self.sidecars, **named})

    def _changed(self, change: Callable[[Baselines], Baselines]) -> Repository:
        return replace(self, baselines=change(self.baselines), changes=(*self.changes, change))

    def described(self, records: Sequence[Record], latencies: Sequence[LatencyRecord]) -> Iterator[str]:
        """Yield a line per record and latency: the stored values → the values that `updated` puts in their place."""
        for record in records:
            key = f"{record.workload}@{record.conditions.stack.key}"
            before = next((entry for entry in self.entries(record.case) if entry.key == key), None)
            known = before.quality if before else {}
            parts = [
                f"{name} {known[name].value:.4g} → {now.value:.4g}" if name in known else f"{name} {now.value:.4g}"
                for name, now in record.quality.items()
            ]
            parts += [f"{name} no longer stored" for name in known if name not in record.quality]
            if record.degenerate:
                parts.append(f"degenerate {f'{before.degenerate} → ' if before else ''}{record.degenerate}")
            yield f"{record.case.id:<46} {'' if before else 'new: '}{', '.join(parts)}"
        for latency in latencies:
            old = self.latency(latency.case, latency.stack)
            ratio = f"{latency.ratio.value:.3f}"
            moved = f"latency {old.figure.value:.3f} → {ratio}" if old else f"new: latency {ratio}"
            yield f"{latency.case.id:<46} {moved} of dense"

    def with_noise(
        self, runs: Sequence[Sequence[Record]], provenance: Provenance
    ) -> tuple[Repository, list[tuple[str, bool]]]:
        """Return the repository with the noise of cases, and the tolerances that follow from it.

        A tolerance is the metric's own, or three times the noise if that is more.

        Args:
            runs: The records of each run, two runs or more, all on one stack.
            provenance: The origin of the noise. The origin of the values stays as it is.

        Returns:
            The repository for `write`; and for every case a line, and whether its noise is stored. The noise of a case
            stays as it is where this stack has no baseline of it, and where a run lacks it.
        """
        by_case = [{record.case: record for record in run} for run in runs]
        repository, lines = self, []
        for case in {case: None for run in by_case for case in run}:
            records = [run[case] for run in by_case if case in run]
            entry = self._own(case, records[0].workload, records[0].stack)
            if entry is None or len(records) < len(runs):
                why = "a run did not measure it" if entry else "it has no baseline on this stack; store one first"
                lines.append((f"{case.id:<46} not stored: {why}", False))
                continue
            names = [m for m in METRICS if m in entry.quality and all(m in record.quality for record in records)]
            noise = {m: noises.between(METRICS[m], records) for m in names}
            covered = replace(provenance, reason=f"{provenance.reason} ({noises.covered(records)})")
            change = partial(
                update.with_noise, case=case, key=entry.key, noise=noise, runs=len(runs), provenance=covered
            )
            repository = repository._changed(change)
            lines.append((noises.line(case, entry, noise, records), True))
        return repository, lines

    def write(self, path: Path | None = None) -> None:
        """Store the changes. Whoever reads the file, even after a kill, sees the old baselines or the new ones.

        New sidecars are written first, then the file; last, sidecars that the file no longer names are removed. Nothing
        else is removed. Baselines that another process has stored in the meantime stay.

        Args:
            path: Another file, for a copy of everything with the changes put in. A damaged sidecar is copied as it is.
                None: the file itself.

        Raises:
            HarnessError: Another process holds the file, the file was damaged in the meantime, or something cannot be
                written. The old file then stays as it was.
        """
        target = path or self.path
        _check_name(target)
        with files.locked(target):
            if target == self.path:
                before = Repository.open(target).baselines
                after = before
                for change in self.changes:
                    after = change(after)
            else:
                before, after = _previous(target), self.baselines
            text = layout.render(after)
            try:
                layout.parse(text)
            except ValueError as error:
                raise HarnessError(f"{target} stays as it was: what was measured cannot be stored ({error})") from error
            folder, named = sidecar.folder_of(target), sidecar.names(after)
            new = [name for name in sorted(named) if not (folder / name).exists()]
            try:
                for name in sorted(named):
                    self._put(name, folder)
                files.write(target, text)
            except HarnessError:
                for name in new:
                    with suppress(OSError):
                        (folder / name).unlink()
                raise
            for name in sorted(sidecar.names(before) - named):
                # A file that stays behind does no harm.
                with suppress(OSError):
                    (folder / name).unlink()

    def _put(self, name: str, folder: Path) -> None:
        """Write a sidecar: a new one, or one that a copy of the file lacks."""
        content = self.sidecars.get(name)
        if content is None:
            source = sidecar.folder_of(self.path) / name
            if source == folder / name or not source.is_file():
                return
            content = source.read_bytes()
        place = folder / name
        if not place.is_file() or place.read_bytes() != content:
            files.write(place, content)


def _previous(path: Path) -> Baselines:
    """Return the content of a file that a copy replaces; nothing if it is unreadable, so that its sidecars stay."""
    try:
        return Repository.open(path).baselines
    except HarnessError:
        return Baselines()


def _shown(path: Path) -> str:
    """Return a path as a person in the current folder types it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _check_name(path: Path) -> None:
    if path.suffix != ".json":
        raise HarnessError(f"--baselines {path} does not end in .json; name a file such as baselines.json")
