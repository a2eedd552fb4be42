"""How the demo speaks: each line says what was tried and what came back, and checks that it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console

from partywall import PartywallError

E = TypeVar("E", bound=PartywallError)

PATIENCE = 10.0
"""Seconds to wait for what should happen at once."""


class NotAsToldError(Exception):
    """Something came out otherwise than the demo says."""


class Stage:
    """Prints the story; the first line that does not come out as told ends it."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._steps = 0
        self.started = time.monotonic()

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._steps += 1
        self._console.print(f"\n[bold]{self._steps}. {title}[/bold]")

    def line(self, tried: str, came: object, *, good: bool = True) -> None:
        """Say what was tried and what came back; ``good`` is whether it is what should have."""
        mark = "[green]✓[/green]" if good else "[red]✗[/red]"
        self._console.print(f"  {mark} {tried}", soft_wrap=True)
        self._console.print(f"      → {came}", style="cyan", markup=False, soft_wrap=True)
        if not good:
            raise NotAsToldError(tried)

    def refused(self, tried: str, error: type[E], call: Callable[[], object], *, because: str = "") -> E:
        """Something that must be refused with one kind of error, whose text must say why."""
        try:
            result = call()
        except error as refusal:
            self.line(tried, f"{type(refusal).__name__}: {refusal}", good=because in str(refusal))
            return refusal
        self.line(tried, f"not refused: {result!r}", good=False)
        raise AssertionError

    def wait_for(self, what: Callable[[], bool]) -> float:
        """Wait until something holds; returns the milliseconds that it took."""
        begun = time.monotonic()
        while not what():
            if time.monotonic() - begun > PATIENCE:
                raise NotAsToldError("waited in vain")
            time.sleep(0.002)
        return (time.monotonic() - begun) * 1000

    @contextmanager
    def story(self) -> Iterator[None]:
        """The whole demo; says how it went."""
        yield
        seconds = time.monotonic() - self.started
        self._console.print(f"\n[bold green]All {self._steps} steps came out as told, in {seconds:.1f} s.[/bold green]")
