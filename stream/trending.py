"""Trending names: what is counted of the texts of predictions in windows of Kafka's time, in the JVM; docs/trending.md."""

from __future__ import annotations

from pyflink.common import Types
from pyflink.datastream import DataStream

from schemas.settings import Settings
from stream.operators import java_operator
from stream.rows import BYTES

_FILES = ("Trends", "Windows", "Names")
_UPDATE = Types.ROW([Types.STRING(), BYTES, *[Types.STRING()] * 4, *[Types.LONG()] * 2])


def count_names(updates: DataStream, settings: Settings) -> DataStream:
    """Return updates of the read model as they come, and an encoded `Trending` for each window that closes.

    Args:
        updates: rows of `read_model.UPDATE_COLUMNS`. Those of predictions have, beside their record, the task, as `start_ms` Kafka's time,
            and as `total` the partition.
        settings: the windows, and how much may be kept.
    """
    return java_operator(
        _FILES,
        updates,
        _UPDATE,
        "publish-trends",
        settings.trending_slide_s,
        settings.trending_window_slides,
        settings.trending_top,
        settings.trending_lateness_ms,
        settings.trending_idle_ms,
        settings.trending_names,
        len(settings.tasks),
        settings.topic_partitions,
    )
