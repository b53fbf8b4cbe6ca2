"""One thread for small linear algebra."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import threadpool_limits


def one_thread() -> AbstractContextManager[Any]:
    """Hold BLAS to one thread inside a ``with`` block.

    Products of a few hundred rows gain little from a second thread, and lose much where another process has the core:
    BLAS threads wait for each other by spinning (a sweep of 1.4 s on one thread took 28 s on two, on a busy machine of
    two cores). Results no longer depend on the number of cores, either.
    """
    return threadpool_limits(1, user_api="blas")
