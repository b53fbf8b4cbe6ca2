"""Tell how the stages of a run go: a bar each on a terminal, a line each elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from emovec_sae.studies.stage import Progress as Report


class StageBars:
    """A reporter for people; use as a context manager.

    Attributes
    ----------
    seconds
        Stage -> seconds that it took (now, or when it was done).
    cached
        Stages that were found done.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description:<44}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
        )
        self._bars = Progress(*columns, console=self.console, disable=not self.console.is_terminal, transient=True)
        self._task: TaskID | None = None
        self._about = ""
        self.seconds: dict[str, float] = {}
        self.cached: list[str] = []

    def __enter__(self) -> StageBars:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, name: str, about: str) -> Report:
        """Open a bar."""
        self._about = about
        task = self._task = self._bars.add_task(about, total=None)
        if not self.console.is_terminal:
            self.console.print(f"{name}: {about} ...")

        def update(done: int, total: int) -> None:
            """Move the stage's bar."""
            self._bars.update(task, completed=done, total=total)

        return update

    def end(self, name: str, *, seconds: float, cached: bool) -> None:
        """Close it and leave a line."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self.seconds[name] = seconds
        if cached:
            self.cached.append(name)
        self.console.print(f"{name + ':':<16} {'done before' if cached else 'done'} ({seconds:.1f} s)")
