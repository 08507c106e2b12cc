"""The report of a refresh: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from batch_model import report_parts as parts
from batch_model.outcome import Outcome, confused_pairs, confusion
from online_model import charts

PAIRS = 12
_MIB = 1024 * 1024


def write_report(path: Path, outcome: Outcome) -> None:
    """Write the report."""
    path.write_text(page(outcome), encoding="utf-8")


def page(outcome: Outcome) -> str:
    """Return the report; texts, labels and names in it are text, never markup."""
    candidates = parts.ranked(outcome.candidates)
    return (
        _environment()
        .get_template("report.html")
        .render(
            outcome=outcome,
            manifest=outcome.manifest,
            gate=outcome.manifest.gate,
            parts=parts,
            class_rows=parts.class_rows(outcome),
            candidates=candidates,
            columns=sorted({name for candidate in candidates for name in candidate.validation}),
            curves=parts.training_curves(candidates),
            calibrations=parts.calibrations(outcome),
            confusion=charts.confusion_map(confusion(outcome.compared, "challenger")),
            confusions=parts.confusion_maps(outcome),
            pairs=confused_pairs(outcome.compared, PAIRS),
            settings=msgspec.to_builtins(outcome.settings),
        )
    )


def _environment() -> Environment:
    loader = ChoiceLoader([PackageLoader("batch_model", ""), PackageLoader("online_model", "")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["charts"] = charts
    environment.filters.update(percent=_percent, points=_points, signed=_signed, whole=_whole, size=_size, when=_when, figure=_figure)
    return environment


def _percent(share: float) -> str:
    return parts.percent(share, 1)


def _points(change: float) -> str:
    """Return a difference of shares in percentage points, with its sign.

    >>> _points(0.0123), _points(-0.5), _points(-0.00001)
    ('+1.2', '−50.0', '0.0')
    """
    return _with_minus(f"{change * 100:+.1f}")


def _signed(change: float) -> str:
    return _with_minus(f"{change:+.3f}")


def _figure(name: str, value: float) -> str:
    r"""Return a measurement as its name asks for it.

    >>> _figure("accuracy", 0.5), _figure("log_loss", 0.25), _figure("seconds", 12.0)
    ('50.0\xa0%', '0.250', '12.000')
    """
    return _percent(value) if "accuracy" in name or "f1" in name else f"{value:.3f}"


def _with_minus(text: str) -> str:
    return text[1:] if not text.strip("+-0.") else text.replace("-", "−")


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def _size(size_bytes: float) -> str:
    return f"{size_bytes / _MIB:,.2f} MiB"


def _when(time_ms: int) -> str:
    """Return a time for readers.

    >>> _when(0)
    '1970-01-01 00:00 UTC'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
