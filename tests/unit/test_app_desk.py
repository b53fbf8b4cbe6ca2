"""The explorer's queue: jobs take turns, quick ones go first, a failure or a cancelled job is nobody else's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from emovec_sae.errors import ConfigError
from emovec_sae.report.app import desk as room
from emovec_sae.report.app.desk import Busy, Desk, Job


@pytest.fixture
def desk() -> Iterator[Desk]:
    found = Desk()
    yield found
    found.close()


class Listener:
    """Collects what a job tells, with its name, into a common list."""

    def __init__(self, name: str, heard: list[tuple[str, str, Any]]) -> None:
        self.name = name
        self.heard = heard
        self.over = threading.Event()

    def __call__(self, kind: str, item: Any) -> None:
        self.heard.append((self.name, kind, item))
        if kind in ("end", "error"):
            self.over.set()

    def wait(self) -> None:
        assert self.over.wait(20), f"{self.name} never ended"


def held(gate: threading.Event, steps: int) -> Iterator[int]:
    """Steps whose first waits for the gate."""
    gate.wait(20)
    yield from range(steps)


def test_jobs_take_turns_and_quick_ones_go_first(desk: Desk) -> None:
    gate, heard = threading.Event(), list[tuple[str, str, Any]]()
    one, other, quick = (Listener(name, heard) for name in ("one", "other", "quick"))
    desk.submit(Job(held(gate, 3), one))
    desk.submit(Job(iter(range(3)), other))
    desk.submit(Job(iter(["now"]), quick, quick=True))
    gate.set()
    for listener in (one, other, quick):
        listener.wait()
    told = [(name, item) for name, kind, item in heard if kind == "item"]
    assert ("quick", "now") in told[:2], "the quick job waited for longer ones"
    turns = [name for name, _ in told if name != "quick"]
    assert turns == ["one", "other"] * 3
    assert [item for name, item in told if name == "one"] == [0, 1, 2]


def test_more_jobs_wait_and_are_told_so(desk: Desk) -> None:
    gate, heard = threading.Event(), list[tuple[str, str, Any]]()
    listeners = [Listener(str(number), heard) for number in range(room.AT_ONCE + 2)]
    for listener in listeners:
        desk.submit(Job(held(gate, 2), listener))
    assert [(name, item) for name, kind, item in heard if kind == "waiting"] == [("4", 0), ("5", 1)]
    gate.set()
    for listener in listeners:
        listener.wait()
    first = {name: heard.index((name, "item", 0)) for name in map(str, range(room.AT_ONCE + 2))}
    last = {name: heard.index((name, "end", None)) for name in first}
    assert first["4"] > min(last[name] for name in ("0", "1", "2", "3"))


def test_too_many_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_WAITING", 1)
    gate, heard = threading.Event(), list[tuple[str, str, Any]]()
    listeners = [Listener(str(number), heard) for number in range(room.AT_ONCE + 1)]
    jobs = [desk.submit(Job(held(gate, 1), listener)) for listener in listeners]
    with pytest.raises(Busy, match="1 requests wait already"):
        desk.submit(Job(iter([]), Listener("late", heard)))
    jobs[-1].cancel()
    late = Listener("instead", heard)
    desk.submit(Job(iter(["came in"]), late))
    gate.set()
    late.wait()
    assert ("instead", "item", "came in") in heard


@pytest.mark.parametrize("error", [ConfigError("refused"), ZeroDivisionError("a bug")])
def test_a_failure_is_told_to_who_asked_and_to_nobody_else(
    desk: Desk, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[str, str, Any]] = []

    def failing() -> Iterator[int]:
        yield 1
        raise error

    bad, good = Listener("bad", heard), Listener("good", heard)
    with caplog.at_level(logging.ERROR):
        desk.submit(Job(failing(), bad))
        desk.submit(Job(iter(range(3)), good))
        bad.wait()
        good.wait()
    assert ("bad", "error", error) in heard
    assert [item for name, kind, item in heard if name == "good" and kind == "item"] == [0, 1, 2]
    assert bool(caplog.records) is isinstance(error, ZeroDivisionError), "a bug is logged, a refusal is not"


def test_a_cancelled_job_ends_before_its_next_step(desk: Desk) -> None:
    heard: list[tuple[str, str, Any]] = []
    closed, began = threading.Event(), threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                began.set()
                yield 0
        finally:
            closed.set()

    job = desk.submit(Job(endless(), Listener("endless", heard)))
    assert began.wait(20)
    job.cancel()
    assert closed.wait(20), "the generator was not closed"
    done = Listener("done", heard)
    desk.submit(Job(iter([]), done))
    done.wait()
    assert ("endless", "end", None) not in heard
