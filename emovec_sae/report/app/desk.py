"""One thread does the model's work: a step of each job in turn, so that several people share one model fairly."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from emovec_sae.errors import EmovecError

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Jobs that take turns; more would make each of them too slow to read along."""
MOST_WAITING = 32


class Busy(EmovecError):
    """More people wait than can be served."""


@dataclass(eq=False)
class Job:
    """Work in steps, and who is told of each.

    Attributes
    ----------
    steps
        Each item is one step's result.
    told
        Called with ``("item", result)``, ``("waiting", jobs that wait before it)``, ``("error", exception)`` or
        ``("end", None)``, from the desk's thread (``waiting``: from the submitter's); after an error or end, no more.
    quick
        One short step: it does not wait for its turn.
    cancelled
        Set by `cancel`; the job ends before its next step.
    """

    steps: Iterator[Any]
    told: Callable[[str, Any], None]
    quick: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End the job before its next step; nobody is told any more."""
        self.cancelled.set()


class Desk:
    """A thread and its jobs; `close` ends both."""

    def __init__(self) -> None:
        self._quick: deque[Job] = deque()
        self._turns: deque[Job] = deque()
        self._waiting: deque[Job] = deque()
        self._running = self._taking = 0
        self._work = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="explorer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Job:
        """Put a job in.

        Raises
        ------
        Busy
            If too many wait already.
        """
        with self._work:
            self._waiting = deque(one for one in self._waiting if not one.cancelled.is_set())
            if len(self._waiting) + len(self._quick) >= MOST_WAITING:
                raise Busy(f"{MOST_WAITING} requests wait already; try again in a minute")
            if job.quick:
                self._quick.append(job)
            elif len(self._turns) + self._taking < AT_ONCE:
                self._turns.append(job)
            else:
                self._waiting.append(job)
                job.told("waiting", len(self._waiting) - 1)
            self._work.notify()
        return job

    @property
    def jobs(self) -> int:
        """Jobs that take turns or wait for one."""
        with self._work:
            return len(self._quick) + len(self._turns) + len(self._waiting) + self._running

    def close(self) -> None:
        """Let the thread end after its present step."""
        with self._work:
            self._closed = True
            self._work.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._work:
                while not (self._quick or self._turns or self._closed):
                    self._work.wait()
                if self._closed:
                    return
                job = self._quick.popleft() if self._quick else self._turns.popleft()
                self._running, self._taking = 1, int(not job.quick)
            more = self._step(job)
            with self._work:
                self._running = self._taking = 0
                if more:
                    (self._quick if job.quick else self._turns).append(job)
                while self._waiting and len(self._turns) < AT_ONCE:
                    self._turns.append(self._waiting.popleft())

    def _step(self, job: Job) -> bool:
        """Do one step; whether there is more to do."""
        if job.cancelled.is_set():
            close = getattr(job.steps, "close", None)
            if close is not None:
                close()
            return False
        try:
            item = next(job.steps)
        except StopIteration:
            job.told("end", None)
            return False
        except Exception as error:  # one job's failure is told to who asked, and is nobody else's
            if not isinstance(error, EmovecError):
                log.exception("a request failed")
            job.told("error", error)
            return False
        job.told("item", item)
        return True
