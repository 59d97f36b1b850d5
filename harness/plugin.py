"""pytest hooks: the `gate` fixture, live progress, lines and tables, and the update of baselines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import options
from harness.case import LAYERS, SELECTIONS, Case
from harness.errors import HarnessError
from harness.gate import Gate
from harness.verdict import baselines as stored
from pruners import METHODS

if TYPE_CHECKING:
    from harness.engine import Engine
    from harness.record import Record
    from harness.report.page import Result


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; they select cases or scale the work."""
    options.declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything is loaded, and set up the session's state."""
    options.check(config)
    config.stash[_SESSION] = Session(config)


class Session:
    """What one pytest process knows: options, paths, and on the controlling process the results so far."""

    def __init__(self, config: pytest.Config) -> None:
        """Take the options from pytest's."""
        self.config = config
        option = config.option
        self.report = Path(option.report or config.rootpath / "prunegate-report").absolute()
        self.baselines = Path(option.baselines or config.rootpath / "baselines.json").absolute()
        self.results: list[Result] = []
        self.latencies: list[dict[str, Any]] = []
        self.notes: dict[str, int] = {}
        self.warnings: list[str] = []
        self.workloads: dict[str, Any] = {}
        # By target.
        self.dense: dict[str, Record] = {}
        self.captions: dict[str, list[str]] = {}
        self.shown = False
        self.deselected = False

    def progress(self, text: str) -> None:
        """Show what is being done in place, on a terminal; say nothing elsewhere."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        capture: Any = self.config.pluginmanager.get_plugin("capturemanager")
        if reporter is None or not reporter.isatty:
            return
        with capture.global_and_fixture_disabled():
            reporter._tw.write(f"\r\x1b[K{text[:100]}", flush=True)
        self.shown = True

    def line(self, text: str) -> None:
        """Print a line of our own between pytest's."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        writer = reporter._tw
        if self.shown:
            writer.write("\r\x1b[K")
            self.shown = False
        elif writer.width_of_current_line:
            writer.line()
        writer.line(text)


_SESSION = pytest.StashKey[Session]()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remember whether cases of ours were left out by `-k`."""
    if _CONTROLLER is not None and any("gate" in getattr(item, "fixturenames", ()) for item in items):
        _CONTROLLER.stash[_SESSION].deselected = True


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check what the cases need before the first of them runs."""
    if session.config.option.collectonly or hasattr(session.config, "workerinput"):
        return
    if any("gate" in getattr(item, "fixturenames", ()) for item in session.items):
        _prepare(session.config)


def _prepare(config: pytest.Config) -> None:
    """Read the baselines and see that folders can be written to. Raises UsageError where one cannot be used."""
    ours = config.stash[_SESSION]
    try:
        stored.load(ours.baselines)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    output = getattr(config.option, "benchmark_json", None)
    folders = {"--report": ours.report, "--images": config.option.images, "--store": config.option.store}
    folders["--benchmark-json"] = Path(output).parent if output else None
    writes = config.option.update_baselines or config.option.calibrate_noise
    folders["--baselines"] = ours.baselines.parent if writes else None
    for option, folder in folders.items():
        if folder is None:
            continue
        probe = folder.absolute() / f".probe-{os.getpid()}"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            reason = f"nothing can be written to {probe.parent} ({error.strerror})"
            raise pytest.UsageError(f"{reason}; name another folder with {option}") from error


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """With `--calibrate-noise`, measure the selected cases in processes of their own instead of here."""
    config = session.config
    option = config.option
    if not option.calibrate_noise or not session.items or option.collectonly or hasattr(config, "workerinput"):
        return None
    from harness import closing, noise

    ours = config.stash[_SESSION]
    arguments = [str(argument) for argument in config.invocation_params.args]
    try:
        runs = noise.measure(
            arguments, config.invocation_params.dir, option.calibrate_noise, option.batch_size, ours.line
        )
        settings = noise.settings(option.calibrate_noise, option.batch_size)
        about = {"threads_and_batches": settings, **closing.provenance_of(option.baseline_reason)}
        ours.line("standard deviations between runs:")
        for line, accepted in noise.store(ours.baselines, runs, about):
            ours.line(line)
            session.testsfailed += not accepted
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    return True


class _Engines:
    """The engine of the target that is measured now: of several targets one at a time is in memory."""

    def __init__(self, session: pytest.Session) -> None:
        self.session, self.name = session, ""
        self.engine: Engine | None = None
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        if workers > 1:
            import torch

            # Workers with as many threads each as there are cores wait for each other most of the time.
            torch.set_num_threads(max(1, torch.get_num_threads() // workers))

    def get(self, name: str) -> Any:
        """Return the engine of the target called so. A target that cannot be loaded ends the session."""
        if name != self.name:
            self.name, self.engine = "", None
            self.engine = self._load(next(c for c in options.targets(self.session.config) if c.name == name))
            self.name = name
        return self.engine

    def _load(self, chosen: options.Chosen) -> Engine:
        from harness.engine import Engine
        from harness.external import ExternalEngine, Source

        option, ours = self.session.config.option, self.session.config.stash[_SESSION]
        common = option.device, option.captions, option.batch_size, ours.progress
        try:
            if chosen.external:
                captions = option.caption_file or option.coco_annotations
                source = Source(
                    captions, option.scorer, option.reference, option.protocol, option.steps, option.features or "clip",
                    option.caption_subset, option.dtype, bool(option.channels_last),
                )  # fmt: skip
                engine: Engine = ExternalEngine(chosen.name, chosen.folder, source, *common)
            else:
                engine = Engine(chosen.name, *common, option.weights)
            cases = [_case(item) for item in self.session.items]
            engine.planned = [case for case in cases if case is not None and case.target == chosen.name]
            engine.warm_up()
        except HarnessError as error:
            if hasattr(self.session.config, "workerinput"):
                raise
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
        return engine


def _case(item: pytest.Item) -> Case | None:
    found: Case | None = item.callspec.params.get("case") if hasattr(item, "callspec") else None
    return found


def _target(item: pytest.Item) -> str:
    """Return the target that an item is about: that of its first parameter that has one, else the session's first."""
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    named = [getattr(value, "target", "") for value in parameters]
    return next(filter(None, named), options.targets(item.config)[0].name)


@pytest.fixture(scope="session")
def _engines(request: pytest.FixtureRequest) -> _Engines:
    return _Engines(request.session)


@pytest.fixture
def _engine(_engines: _Engines, request: pytest.FixtureRequest) -> Any:
    return _engines.get(_target(request.node))


@pytest.fixture(scope="session")
def _baselines(request: pytest.FixtureRequest) -> stored.Baselines:
    return stored.load(request.config.stash[_SESSION].baselines)


@pytest.fixture
def gate(_engine: Any, _baselines: stored.Baselines, request: pytest.FixtureRequest) -> Iterator[Gate]:
    """Measure cases and judge them: `record = gate.measure(case)`, then `gate.judge(record)`."""
    ours = request.config.stash[_SESSION]
    option = request.config.option
    yield Gate(
        _engine,
        _baselines,
        ours.report,
        option.images,
        option.store,
        option.update_baselines,
        option.allow_improvements,
        option.ci,
        request.node.user_properties,
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A HarnessError is a message to the user: show it without a traceback."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, HarnessError):
        report.longrepr = str(call.excinfo.value)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print the case's line and remember its record; under xdist this runs on the controlling process."""
    properties: dict[str, Any] = dict(report.user_properties)
    if report.when != "call" or _CONTROLLER is None:
        return
    ours = _CONTROLLER.stash[_SESSION]
    if "prunegate-line" in properties:
        ours.line(properties["prunegate-line"])
    for name in ("prunegate", "prunegate-latency"):
        if name in properties:
            _remember(ours, report, properties[name])


def _remember(ours: Session, report: pytest.TestReport, facts: dict[str, Any]) -> None:
    if facts["note"]:
        ours.notes[facts["note"]] = ours.notes.get(facts["note"], 0) + 1
    if facts["reason"] and not facts["red"]:
        ours.warnings.append(f"{report.nodeid}: {facts['verdict']}: {facts['reason']}")
    if "ratio" in facts:
        ours.latencies.append(facts)
        return
    from harness.record import Record
    from harness.report.page import Result
    from harness.report.terminal import case_line

    record = Record.from_json(facts["record"])
    ours.workloads |= facts["workload"]
    target = record.case.partition("-")[0]
    ours.captions[target] = facts["captions"]
    if facts["dense"]:
        ours.dense[target] = Record.from_json(facts["dense"])
    ours.results.append(Result(record, facts["verdict"], facts["reason"], facts["red"]))
    ours.line(case_line(record, facts["verdict"]))


_CONTROLLER: pytest.Config | None = None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember the configuration for the one hook that is not given it."""
    global _CONTROLLER
    _CONTROLLER = None if hasattr(session.config, "workerinput") else session.config
    if _CONTROLLER is not None and getattr(session.config.option, "numprocesses", None):
        # Under xdist the controlling process collects nothing, so it cannot wait for a case to turn up.
        _prepare(session.config)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Leave out pytest's own dot for a case that printed a line."""
    if report.when == "call" and {"prunegate", "prunegate-line"} & dict(report.user_properties).keys():
        return report.outcome, "", report.outcome.upper()
    return None


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print the closing tables, write the contact sheets, and store baselines when asked to."""
    ours = config.stash.get(_SESSION, None)
    if ours is not None and ours.deselected and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        terminalreporter.write_line(
            f"no case matches -k; an id is target-component-method-layers-level, with the components "
            f"{', '.join(SELECTIONS)}, the methods {', '.join(sorted(METHODS))} and the layers {', '.join(LAYERS)}; "
            "`pytest benchmarks --collect-only -q` lists them all"
        )
    if ours is None or not (ours.results or ours.latencies):
        return
    from harness import closing, files
    from harness.report.page import page
    from harness.report.terminal import tables

    terminalreporter.section("pruning")
    for line in tables([(result.record, result.verdict) for result in ours.results], ours.dense):
        terminalreporter.write_line(line)
    for note, cases in ours.notes.items():
        terminalreporter.write_line(f"\nof {cases} cases {note}")
    for warning in ours.warnings:
        terminalreporter.write_line(f"WARNING: {warning}", yellow=True)
    records = [result.record for result in ours.results]
    red = [result.record for result in ours.results if result.red]
    try:
        if config.option.update_baselines and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            reason = config.option.baseline_reason
            for line in closing.update(ours.baselines, records, ours.workloads, ours.latencies, reason):
                terminalreporter.write_line(line)
        elif config.option.update_baselines:
            terminalreporter.write_line("\nthe run did not come to its end: the baselines are as they were")
        if red:
            path = closing.candidate(ours.baselines, red, ours.workloads, ours.report)
            terminalreporter.write_line(
                f"\nwhat the baselines of the {len(red)} red cases would become: {os.path.relpath(path)}"
            )
            terminalreporter.write_line(f"to see the pictures: pytest benchmarks -k '{red[0].case}' --images pictures")
        for path in closing.contact_sheets(records, ours.dense, ours.captions, ours.report):
            terminalreporter.write_line(f"contact sheet: {os.path.relpath(path)}")
        path = ours.report / "index.html"
        files.write(path, page(ours.results, ours.latencies, ours.dense, ours.captions))
        terminalreporter.write_line(f"report: {os.path.relpath(path)}")
    except HarnessError as error:
        terminalreporter.write_line(f"ERROR: {error}", red=True)
        terminalreporter._session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
