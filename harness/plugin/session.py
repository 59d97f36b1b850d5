"""The one object of the plugin: all hooks except the first two, and the fixtures."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import pytest

from harness.case import LAYERS, Case
from harness.components import SELECTIONS
from harness.errors import HarnessError
from harness.plugin import closing, commands, places, plan, summary
from harness.plugin.gate import Gate
from harness.plugin.remaining import Remaining
from harness.plugin.results import UNUSABLE, Collected, speaks
from harness.plugin.running import Targets
from harness.plugin.settings import Settings
from harness.plugin.terminal import Terminal
from harness.report.terminal import introduction
from harness.targets import resolve
from harness.verdict.repository import Repository
from pruners import METHODS

# The name under which pytest knows the object.
NAME = "prunegate-session"
# Category, letter and word of a test, see pytest's hook `pytest_report_teststatus`.
Status = tuple[str, str, str | tuple[str, Mapping[str, bool]]]


def of(config: pytest.Config) -> Session:
    """Return the session of a configuration. Raises UsageError where the plugin is not loaded."""
    session = config.pluginmanager.get_plugin(NAME)
    if not isinstance(session, Session):
        raise pytest.UsageError("the plugin harness.plugin is not loaded; add it to pytest_plugins, or give -p")
    return session


class Session:
    """One pytest process. The controlling process collects the results; workers of xdist only measure and judge."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        """Take the settings. Loads nothing, and writes nothing.

        Args:
            config: pytest's configuration.
            settings: The parsed options.
        """
        self.settings = settings
        self._config, self._terminal = config, Terminal(config)
        worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._is_worker = worker is not None
        # The command that started the run. A worker was started by xdist, and is told.
        self._typed = tuple(worker[NAME]) if worker else commands.typed(config.invocation_params.args)
        # With xdist the workers collect the tests, so that the controlling process never sees an item.
        self._shares_out = worker is None and config.getoption("dist", "no") != "no"
        self._remaining = Remaining()
        self._targets = Targets(settings, self._progress, worker["workercount"] if worker else 1)
        self._components: dict[str, tuple[str, ...]] = {}
        self._repositories: dict[str, Repository] = {}
        self._collected = Collected(settings.budget)
        self._lines: list[closing.Line] = []
        self._ran = self._left_out = self._introduced = False

    def _progress(self, text: str) -> None:
        """Show the current work, and how much of the run is left."""
        self._terminal.progress(f"{text}{self._remaining}")

    def components(self, target: str) -> tuple[str, ...]:
        """Return the prunable components of a target, given by its name in ids."""
        if target not in self._components:
            self._components[target] = resolve.components(self.settings.target(target))
        return self._components[target]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Read the components of all targets. They decide which cases exist."""
        try:
            for spec in self.settings.targets:
                self.components(spec.name)
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist how the run was started: its messages name the command."""
        node.workerinput[NAME] = list(self._typed)

    def pytest_sessionstart(self) -> None:
        """Under xdist, check on the controlling process what the cases need."""
        if self._shares_out and not self._config.option.collectonly:
            self._prepare([spec.name for spec in self.settings.targets])

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Remember whether `-k` left cases out."""
        self._left_out = self._left_out or any(map(_measures, items))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Check what the cases need before the first one runs."""
        self._remaining = Remaining.of(session.items)
        if not self._config.option.collectonly and not self._is_worker:
            self._prepare(list(dict.fromkeys(self.target_of(item) for item in session.items if _measures(item))))

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        """Explain the lines of the cases before the first one runs."""
        return self._introduction() if any(map(_measures, items)) else []

    def _introduction(self) -> list[str]:
        """Return the explanation of the lines of cases, once."""
        option = self._config.option
        runs = not (option.collectonly or self.settings.calibrate or self.settings.plan)
        if self._introduced or not runs or getattr(option, "verbose", -1) < 0:
            return []
        self._introduced = True
        return introduction(self.settings.headlines)

    def _prepare(self, targets: Sequence[str]) -> None:
        """Read captions and baselines, and test all output places. Raises UsageError for the first unusable one."""
        if not targets:
            return
        if not self._config.pluginmanager.hasplugin("benchmark"):
            raise pytest.UsageError("-p no:benchmark: the cases are timed by pytest-benchmark. Leave it out.")
        try:
            for target in targets:
                self._targets.workload(target)
                self._repository(target)
            places.check(self.settings, targets)
            if self.settings.benchmark_json is not None:
                # pytest-benchmark makes no folder, and would fail after the last case.
                self.settings.benchmark_json.parent.mkdir(parents=True, exist_ok=True)
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error

    def _repository(self, target: str) -> Repository:
        if target not in self._repositories:
            self._repositories[target] = Repository.open(self.settings.baselines_of(target), self._storing)
        return self._repositories[target]

    def _storing(self, case: str) -> str:
        return f"`{commands.storing(self._typed, case)}`"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Remember that the run reached its tests. With `--calibrate-noise` they run in processes of their own."""
        if self._config.option.collectonly or self._is_worker:
            return None
        if self.settings.plan:
            plan.show(self.settings, [_case(item) for item in session.items if _measures(item)], self._terminal.line)
            return True
        if not (self.settings.calibrate and session.items):
            self._ran = True
            return None
        from harness.plugin import noise

        invocation = self._config.invocation_params
        try:
            for line, stored in noise.calibrate(self.settings, invocation.args, invocation.dir, self._terminal.line):
                self._terminal.line(line)
                session.testsfailed += not stored
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error
        return True

    def target_of(self, item: pytest.Item) -> str:
        """Return the name of a test's target: of its first parameter that has one, else of the run's first target."""
        named = (getattr(value, "target", "") for value in _parameters(item).values())
        return next(filter(None, named), self.settings.targets[0].name)

    @pytest.fixture
    def gate(self, request: pytest.FixtureRequest) -> Gate:
        """Measure cases and judge them: `outcome = gate.run(case)`, then `gate.judge(outcome)`."""
        item: pytest.Item = request.node
        target = self.target_of(item)
        # A worker does not know which cases the others take; preparing for all of them would mostly be wasted.
        planned = [case for case in map(_case, request.session.items) if case is not None]
        try:
            running = self._targets.get(target, [] if self._is_worker else [c for c in planned if c.target == target])
        except HarnessError as error:
            if self._is_worker:
                item.user_properties.append((UNUSABLE, str(error)))
                raise
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
        if (case := _case(item)) and not case.is_dense:
            # Here, so that pytest-benchmark does not count the dense model's time as the first case's.
            _ = running.dense

        def tell(name: str, value: object) -> None:
            item.user_properties.append((name, value))

        timed = request.getfixturevalue("benchmark") if "benchmark" in request.fixturenames else None

        def keep_beside_time(name: str, value: object) -> None:
            if timed is not None:
                timed.extra_info[name] = value

        return Gate(running, self._repository(target), self.settings, tell, keep_beside_time, planned)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Tell pytest-benchmark that a measurement was interrupted. It does not notice Ctrl-C itself."""
        try:
            return (yield)
        except BaseException:
            timed = getattr(item, "funcargs", {}).get("benchmark")
            if timed is not None and not timed.stats:
                timed.has_error = True
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show a HarnessError without a traceback, because its message is for the user."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, HarnessError):
            report.longrepr = str(call.excinfo.value)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logstart(self) -> Generator[None, None, None]:
        """Notice where pytest begins a line."""
        with self._terminal.watched():
            yield

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the result of a report and print its line. Under xdist the controlling process does so.

        It ends the run where a worker cannot load the target, because all other cases would fail with it.
        """
        if self._is_worker:
            return
        for name, text in report.user_properties:
            if name == UNUSABLE:
                pytest.exit(str(text), returncode=pytest.ExitCode.USAGE_ERROR)
        if report.when == "teardown":
            self._remaining.ended(report.nodeid)
        lines = self._collected.add(report)
        for line in [*(self._introduction() if lines else []), *lines]:
            self._terminal.line(line)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Generator[None, Status, Status]:
        """Leave out pytest's letter for a test that has a line of its own."""
        category, letter, word = yield
        if speaks(report):
            letter = ""
        self._terminal.will_write(letter, word)
        return category, letter, word

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int | pytest.ExitCode
    ) -> Generator[None, None, None]:
        """Release the target and write all files of the run, before other plugins write theirs.

        A file that another plugin cannot write costs that file alone: the terminal shows the tables all the same.
        """
        self._targets.close()
        if self._ran:
            # The dense model anchors every verdict, so it is judged although its own case did not run.
            red = [result for result in self._collected.unselected if result.red and not self.settings.update]
            session.testsfailed += len(red)
            if red and exitstatus == pytest.ExitCode.OK:
                exitstatus = session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._lines = closing.close(self.settings, self._collected, exitstatus, self._typed)
        try:
            yield
        except OSError as error:
            self._lines.append(closing.not_ours(self._config.option, error))
        failed = [line.text for line in self._lines if line.failed]
        if failed:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        if not self._config.pluginmanager.hasplugin("terminalreporter"):
            sys.stderr.writelines(f"{text}\n" for text in failed)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int | pytest.ExitCode
    ) -> None:
        """Print the closing tables and the names of the files."""
        if self._left_out and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            terminalreporter.write_line(
                f"-k matches no case. An id is target-component-method-layers-level; components: "
                f"{', '.join(SELECTIONS)}; methods: {', '.join(sorted(METHODS))}; layers: {', '.join(LAYERS)}. "
                f"`{commands.listing(self._typed)}` lists all ids."
            )
        summary.write(terminalreporter, self.settings, self._collected, self._lines)


def _measures(item: pytest.Item) -> bool:
    return "gate" in getattr(item, "fixturenames", ())


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return dict(item.callspec.params) if hasattr(item, "callspec") else {}


def _case(item: pytest.Item) -> Case | None:
    case = _parameters(item).get("case")
    return case if isinstance(case, Case) else None
