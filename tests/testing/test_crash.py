"""Crash injection does what a dying process does."""

import threading
from contextlib import suppress

import pytest

from anybatch.effects import Probe, effect
from anybatch.testing import Crash, CrashAt, Watch


def program(probe: Probe, done: list[str]) -> None:
    """Two effects, and a third on the way out."""
    try:
        with effect("journal.write", probe):
            done.append("written")
        with effect("http.send", probe):
            done.append("sent")
    finally:
        with effect("lease.release", probe):
            done.append("released")


def test_a_watch_lists_every_boundary_in_order() -> None:
    watch = Watch()

    program(watch, [])

    assert watch.crossings == (
        ("journal.write", "before"),
        ("journal.write", "after"),
        ("http.send", "before"),
        ("http.send", "after"),
        ("lease.release", "before"),
        ("lease.release", "after"),
    )


def test_a_watch_can_look_at_some_effects_only() -> None:
    watch = Watch(only="journal.*")

    program(watch, [])

    assert watch.crossings == (("journal.write", "before"), ("journal.write", "after"))


@pytest.mark.parametrize(
    ("k", "done"),
    [
        (1, []),
        (2, ["written"]),
        (3, ["written"]),
        (4, ["written", "sent"]),
        (5, ["written", "sent"]),
        (6, ["written", "sent", "released"]),
    ],
)
def test_a_crash_leaves_what_was_done_before_it_and_nothing_more(k: int, done: list[str]) -> None:
    probe, seen = CrashAt(k), list[str]()

    with pytest.raises(Crash):
        program(probe, seen)

    assert seen == done


def test_each_boundary_of_a_watched_run_can_be_died_at() -> None:
    watch = Watch()
    program(watch, [])

    died = []
    for k in range(1, len(watch.crossings) + 1):
        probe = CrashAt(k)
        with pytest.raises(Crash):
            program(probe, [])
        died.append(probe.at)

    assert tuple(died) == watch.crossings


def test_a_crash_beyond_the_last_boundary_does_not_happen() -> None:
    probe = CrashAt(7)

    program(probe, [])

    assert not probe.crashed


def test_counting_only_some_effects_still_stops_all_of_them() -> None:
    probe, done = CrashAt(1, only="http.*"), list[str]()

    with pytest.raises(Crash):
        program(probe, done)

    assert probe.at == ("http.send", "before")
    assert done == ["written"]


def test_a_crash_is_not_caught_as_an_exception() -> None:
    assert not issubclass(Crash, Exception)


def test_crossings_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        CrashAt(0)


def test_of_many_threads_none_has_an_effect_after_the_crash() -> None:
    probe, passes = CrashAt(500), list[int]()

    def cross() -> None:
        passed = 0
        with suppress(Crash):
            while True:
                probe("journal.write", "before")
                passed += 1
        passes.append(passed)

    threads = [threading.Thread(target=cross) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(passes) == 4
    assert sum(passes) == 499
