"""Shows a running demo: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stack.measured_run import Moment, Watcher
from stack.replay import ProgressLines

RATE_WINDOW_S = 3.0
_REFRESH_PER_S = 4


class Rate:
    """Events a second over the last few seconds.

    >>> rate = Rate()
    >>> rate.add(0.0, 0), rate.add(1.0, 100), rate.add(4.0, 100)
    (0.0, 100.0, 0.0)
    """

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def add(self, seconds: float, total: int) -> float:
        """Take in a total at a time and return the rate."""
        self._points.append((seconds, total))
        while len(self._points) > 1 and seconds - self._points[0][0] > RATE_WINDOW_S:
            self._points.popleft()
        began, first = self._points[0]
        return (total - first) / (seconds - began) if seconds > began else 0.0


def numbers_table(moment: Moment, rate: float) -> Table:
    """Return the numbers of one moment."""
    status, sent = moment.status, moment.sent
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_row("time", f"{moment.seconds:.0f} s", "predictions a second", f"{rate:,.0f}")
    table.add_row("events sent", f"{sent.events:,}", "labels sent", f"{sent.labels:,}")
    table.add_row("predicted", f"{status.predictions:,}", "in Redis", f"{status.visible:,}")
    table.add_row("accuracy", percent(status.accuracy), "of the last 1,000 labels", percent(status.accuracy_window))
    table.add_row("model", f"{status.line or 'base'} · seq {status.seq:,}", "dead letters", f"{sum(status.dead_letters.values()):,}")
    table.add_row("labels", ", ".join(f"{n:,} {state}" for state, n in sorted(status.states.items())) or "none yet")
    return table


def latest_table(moment: Moment) -> Table:
    """Return the latest predictions."""
    table = Table(title="latest predictions", title_justify="left", expand=True, box=None, padding=(0, 2))
    table.add_column("label", no_wrap=True)
    table.add_column("confidence", justify="right")
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    for shown in reversed(moment.status.latest):
        # Text, not str: what people write is no markup.
        text = " ".join(shown.text.split())
        table.add_row(Text(shown.label or "—"), f"{shown.probability:.0%}" if shown.label else "", Text(text, overflow="ellipsis"))
    return table


def percent(value: float | None) -> str:
    """Return a share in words.

    >>> percent(0.9712), percent(None)
    ('97.1 %', '—')
    """
    return "—" if value is None else f"{value * 100:.1f} %"


@contextmanager
def shown(urls: Mapping[str, str], console: Console | None = None) -> Iterator[Watcher]:
    """Yield what shows each moment: a live table if the console is a terminal, a line a second if not."""
    console = console or Console()
    if not console.is_terminal:
        yield ProgressLines().show
        return
    rate = Rate()
    links = Text("  ".join(f"{name} {url}" for name, url in urls.items()) + "   Ctrl-C stops")
    with Live(console=console, refresh_per_second=_REFRESH_PER_S, transient=False) as live:

        def show(moment: Moment) -> None:
            numbers = numbers_table(moment, rate.add(moment.seconds, moment.status.predictions))
            live.update(Group(numbers, latest_table(moment), links))

        yield show
