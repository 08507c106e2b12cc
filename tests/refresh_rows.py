"""Labelled texts for tests of the refresh: generated ones, and real ones where there are some."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parents[2] / "shared" / "data"
