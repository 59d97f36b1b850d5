"""The queue of a cluster, in virtual time: nothing lost, nothing twice, and little idle time. By properties."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.case import Case
from harness.execution.jobs import CALIBRATE, OUTCOME, PART, PRUNE, Job, shard_of, units
from harness.execution.queue import RETRIES, Queue, Unit, simulate
from tests.tools.loading import load

COSTS = st.lists(st.floats(0.1, 10), min_size=1, max_size=40)


def of(*units: Unit, workers: int = 2) -> Queue:
    queue = Queue(workers)
    for unit in units:
        queue.add(unit)
    return queue


def all_of(queue: Queue, worker: object) -> list[object]:
    """Return the names of all units that a worker can take, in its order."""
    return [unit.name for unit in iter(lambda: queue.take(worker), None)]


def test_the_longest_of_the_next_units_comes_first() -> None:
    queue = of(*(Unit(i, cost) for i, cost in enumerate((1.0, 3.0, 2.0, 1.0, 9.0))))
    assert all_of(queue, "a") == [1, 4, 2, 0, 3], "9 lies behind the next four until one of them is gone"


def test_a_short_unit_that_others_wait_for_comes_before_long_ones() -> None:
    queue = of(Unit("long", 9.0), Unit("short", 1.0, urgent=True))
    assert all_of(queue, "a") == ["short", "long"]


def test_a_unit_waits_for_what_it_needs() -> None:
    queue = of(Unit("case", needs=("dense",)), Unit("dense"))
    assert all_of(queue, "a") == ["dense"] and queue.take("b") is None
    queue.done("dense")
    assert all_of(queue, "b") == ["case"]


def test_a_worker_prefers_units_whose_data_it_holds() -> None:
    queue = of(Unit(1, 1.0, reads="statistics"), Unit(2, 9.0), Unit(3, 2.0, reads="statistics"), workers=9)
    assert queue.take("a") == Unit(2, 9.0)
    assert queue.take("a") == Unit(3, 2.0, reads="statistics")
    queue.add(Unit(4, 9.0, reads="others"))
    assert queue.take("a") == Unit(1, 1.0, reads="statistics")


def test_a_group_stays_with_its_worker_until_that_dies() -> None:
    queue = of(Unit(1, stays="g"), Unit(2, stays="g"), Unit(3))
    assert queue.take("a") == Unit(1, stays="g")
    assert all_of(queue, "b") == [3]
    queue.lost("a")
    assert all_of(queue, "b") == [1, 2]


def test_a_unit_is_given_up_after_its_retries() -> None:
    queue = of(Unit("case"), Unit("other"))
    for death in range(RETRIES + 1):
        assert queue.take(death) == Unit("case")
        assert queue.lost(death) == ([Unit("case")] if death == RETRIES else [])
    assert all_of(queue, "a") == ["other"]


def test_a_lost_result_is_made_again_before_what_needs_it() -> None:
    queue = of(Unit("statistics"), Unit("case", needs=("statistics",)), Unit("other"))
    queue.take("a")
    queue.done("statistics")
    queue.again("statistics")
    assert all_of(queue, "b") == ["statistics", "other"]
    queue.done("statistics")
    assert all_of(queue, "b") == ["case"]


def test_a_dropped_unit_is_handed_to_nobody() -> None:
    queue = of(Unit(1), Unit(2), Unit(3, needs=(1,)))
    queue.take("a")
    for name in (1, 2, 3):
        queue.drop(name)
    queue.done(1)
    assert queue.lost("a") == [] and queue.take("b") is None and queue.waiting == 0


@given(COSTS, st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_the_makespan_is_within_the_bound_of_greedy_lists(costs: list[float], workers: int) -> None:
    """Graham, 1969: at most total / workers plus the longest unit; and never below either of the two."""
    made = simulate([Unit(i, cost) for i, cost in enumerate(costs)], workers)
    assert max(max(costs), sum(costs) / workers) - 1e-9 <= made <= sum(costs) / workers + max(costs) + 1e-9


@given(COSTS, st.lists(st.integers(0, 3), max_size=30))
@settings(max_examples=100, deadline=None)
def test_every_unit_ends_once_whatever_dies(costs: list[float], deaths: list[int]) -> None:
    """Every third unit needs the one before."""
    made = [Unit(i, cost, (i - 1,) if i % 3 == 2 else ()) for i, cost in enumerate(costs)]
    queue = of(*made, workers=3)
    ended: Counter[object] = Counter()
    dying = iter(deaths)
    for worker in range(10 * len(costs) + 10 * len(deaths)):
        unit = queue.take(worker)
        if unit is None:
            break
        given_up = queue.lost(worker) if next(dying, 1) == 0 else [unit]
        for one in given_up:
            queue.done(one.name)
            ended[one.name] += 1
    assert ended == Counter(range(len(costs)))


def test_a_case_becomes_parts_and_an_outcome() -> None:
    dense, plain = Case("x"), Case("x", "unet", "magnitude", "all", (0.5,))
    wanda, solved = (Case("x", "unet", name, "all", (0.5,)) for name in ("wanda", "sparsegpt"))
    whole = {unit.name: unit for unit in units([plain, wanda, solved], 10, 10)}
    assert [name.kind for name in whole if isinstance(name, Job) and name.case == dense] == [OUTCOME, PART, CALIBRATE]
    assert whole[Job(OUTCOME, plain)].needs == (Job(PART, plain, 0, 10), Job(OUTCOME, dense))
    assert whole[Job(PART, wanda, 0, 10)].needs == (Job(CALIBRATE, dense),)
    assert whole[Job(PART, solved, 0, 10)].needs == (Job(PRUNE, solved),)
    sharded = {unit.name: unit for unit in units([plain, wanda, solved], 10, 4)}
    assert [name for name in sharded if name in {Job(PART, wanda, i, min(i + 4, 10)) for i in (0, 4, 8)}]
    assert sharded[Job(PART, wanda, 8, 10)].needs == (Job(PRUNE, wanda),), "all parts have the same weights"
    assert sharded[Job(PART, plain, 8, 10)].needs == ()


@pytest.mark.parametrize(("cases", "captions", "workers", "wanted"), [(35, 64, 2, 64), (5, 64, 8, 32), (1, 64, 1, 64)])
def test_shards_are_whole_batches(cases: int, captions: int, workers: int, wanted: int) -> None:
    assert shard_of(cases, captions, workers, 32) == wanted


@pytest.mark.parametrize(("workers", "most"), [(8, 1.10), (64, 1.10), (512, 1.25)])
def test_the_studys_grid_on_a_simulated_cluster(workers: int, most: float) -> None:
    """The shards that the executor chooses, with the times of the tool's table."""
    tool = load("cluster")
    options, cases = tool.parsed([]), tool.grid()
    work = sum(unit.cost for unit in units(cases, options.captions, options.captions, tool.costs(options)))
    shard = shard_of(len(cases), options.captions, workers, tool.BATCH)
    made = simulate(units(cases, options.captions, shard, tool.costs(options)), workers)
    assert len(cases) == 162 and work / workers <= made <= most * work / workers
