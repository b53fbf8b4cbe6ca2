"""nnsight gives every object a method `save`; classes that are made while it is there may stumble on it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def unmounted() -> Generator[None]:
    """Take nnsight's `save` off all objects meanwhile, where nnsight is loaded and has put it there."""
    nnsight, room = sys.modules.get("nnsight"), sys.modules.get("nnsight._c")
    if nnsight is None or room is None or room.unmount is None or not hasattr(object, "save"):
        yield
        return
    room.unmount("save")
    try:
        yield
    finally:
        room.mount(nnsight.save, "save")
