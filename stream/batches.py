"""Batches made in the JVM: crossing to Python costs as much for one row as for hundreds.

A batch is what arrives within an interval. It waits in Flink's state, so that a crash neither loses nor repeats it.
"""

from __future__ import annotations

from pyflink.table import StreamTableEnvironment, Table


def batches(tables: StreamTableEnvironment, records: Table, columns: list[str], *, interval_ms: int, name: str) -> Table:
    """Return a table with an array of each column, a row an interval in which anything arrived; nulls stay in place.

    Args:
        tables: the environment.
        records: a table with these columns, and with `arrived` (processing time).
        columns: the columns to collect.
        interval_ms: length of the interval.
        name: of the view that is made of `records`.
    """
    tables.create_temporary_view(name, records)
    arrays = ", ".join(f"ARRAY_AGG({column}) AS {column}" for column in columns)
    return tables.sql_query(
        f"SELECT {arrays} FROM TABLE(TUMBLE(TABLE {name}, DESCRIPTOR(arrived),"
        f" INTERVAL '{interval_ms / 1000:.3f}' SECOND)) GROUP BY window_start, window_end"
    )
