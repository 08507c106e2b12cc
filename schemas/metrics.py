"""The metrics: every name, what it is and which labels it has. The one place that knows them.

Nothing that a user wrote is in a label: no text, no id, no label of the model, no name of a key. What labels hold is of a closed list:
tasks, topics, parts, route templates, states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]


class Metric(msgspec.Struct, frozen=True):
    """A metric: its name, what kind it is, what it says, and its labels."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


_WINDOW = Metric("millrace_window_accuracy", "gauge", "Accuracy of the served predictions over the sliding window.", ("task",))
_ALARMS = Metric("millrace_drift_alarms_total", "counter", "Drift alarms so far.", ("task",))

API: Final = (
    # What the API measures of itself. `route` is the template (`/v1/predictions/{event_id}`), `none` for a path that is no route.
    Metric("millrace_api_requests_total", "counter", "Requests that were answered.", ("route", "method", "status")),
    Metric("millrace_api_request_seconds", "histogram", "From the head of a request to the end of its answer.", ("route", "method")),
    Metric("millrace_api_requests_in_flight", "gauge", "Requests being answered."),
    Metric("millrace_api_live_clients", "gauge", "Clients of the live stream."),
    Metric("millrace_api_rate_limited_total", "counter", "Requests that were refused because their sender had sent too many."),
    Metric("millrace_api_records_total", "counter", "Records written to Kafka.", ("topic",)),
    # What it knows of the parts it needs, and of the age of what it serves.
    Metric("millrace_api_part_up", "gauge", "1 if the part is ready, as in `GET /readyz`; left out if that is not known.", ("part",)),
    Metric("millrace_api_part_last_seen_timestamp_seconds", "gauge", "When the part last answered, or gave a sign of life.", ("part",)),
    Metric("millrace_api_model_log_seq", "gauge", "Seq of the last entry of the model log that the API has read.", ("task",)),
    Metric("millrace_api_model_log_records_behind", "gauge", "Records of the model log that Kafka has and the API has not read."),
    Metric("millrace_api_index_predictions", "gauge", "Predictions in the index of the newest ones, which searches look in.", ("task",)),
    Metric("millrace_api_index_behind_seconds", "gauge", "How far the newest is behind Redis, or how long Redis is away.", ("task",)),
    # What it shows: from Redis, left out while that is away or has nothing.
    Metric("millrace_model_seq", "gauge", "Seq of the model that the published scores belong to.", ("task",)),
    Metric("millrace_model_age_seconds", "gauge", "Time since that model last learned.", ("task",)),
    _WINDOW,
    Metric("millrace_overall_accuracy", "gauge", "Accuracy of all served predictions that were scored.", ("task",)),
    _ALARMS,
    Metric("millrace_label_states", "gauge", "Labels that are in each state.", ("task", "state")),
)
"""At `GET /metrics` of the API."""

JOBS: Final = (
    # Written by the operators through Flink, whose reporter shows every counter as a gauge that begins anew with each start of a job.
    Metric("millrace_events", "counter", "Events read by classify."),
    Metric("millrace_predictions", "counter", "Predictions made by classify.", ("task",)),
    Metric("millrace_dead_letters", "counter", "Records that were refused.", ("reason",)),
    Metric("millrace_labels", "counter", "Changes of labels' states made by learn.", ("task", "state")),
    Metric("millrace_learner_seq", "gauge", "Seq of the last entry that learn has put into the model log.", ("task",)),
    Metric("millrace_learn_microseconds", "counter", "Time spent on scoring and learning labels.", ("task",)),
    Metric("millrace_snapshots", "counter", "Snapshots written by learn.", ("task",)),
    Metric("millrace_drift_alarms", "counter", "Drift alarms raised by learn.", ("task",)),
    Metric("millrace_redis_writes", "counter", "Batches that publish has written to Redis."),
    Metric("millrace_redis_write_microseconds", "counter", "Time spent on making and writing them."),
)
"""At the metrics port of Flink's TaskManager, with `JOBS_PREFIX` and the names of the labels before the name."""

JOBS_PREFIX: Final = "flink_taskmanager_job_task_operator_"

REFRESH: Final = (
    # Times are seconds since 1970, as Prometheus wants them.
    Metric("millrace_refresh_runs_total", "counter", "Refreshes that ended; `outcome` is done or failed, `trigger` what began them.",
           ("task", "outcome", "trigger")),
    Metric("millrace_refresh_running", "gauge", "1 while a refresh runs.", ("task",)),
    Metric("millrace_refresh_seconds", "gauge", "How long the last refresh took.", ("task",)),
    Metric("millrace_refresh_last_done_timestamp_seconds", "gauge", "When the last refresh that did not fail ended.", ("task",)),
    Metric("millrace_refresh_failures_in_a_row", "gauge", "Refreshes that failed since the last one that did not.", ("task",)),
    Metric("millrace_refresh_new_labels", "gauge", "Labels in the model log that no refresh has seen.", ("task",)),
    Metric("millrace_last_label_timestamp_seconds", "gauge", "When the last label was learned.", ("task",)),
    _WINDOW,
    _ALARMS,
    Metric("millrace_alert", "gauge", "1 while an alert is raised; `alert` is refresh_failed, labels_stale or refresh_stale.",
           ("task", "alert")),
    Metric("millrace_alerts_sent_total", "counter", "Messages to the webhook; `outcome` is sent, or given_up after all tries.",
           ("task", "outcome")),
    Metric("millrace_worker_up", "gauge", "1 if Kafka answered when it was last asked."),
)  # fmt: skip
"""At the port of the refresh worker."""


def metric(known: tuple[Metric, ...], name: str) -> Metric:
    """Return the metric of that name.

    Raises:
        KeyError: if the list has none.

    >>> metric(JOBS, "millrace_predictions").labels
    ('task',)
    """
    found = next((one for one in known if one.name == name), None)
    if found is None:
        raise KeyError(name)
    return found


def shown_by_flink(one: Metric) -> str:
    """Return the name under which Flink's reporter shows a metric of the jobs.

    >>> shown_by_flink(metric(JOBS, "millrace_labels"))
    'flink_taskmanager_job_task_operator_task_state_millrace_labels'
    """
    return JOBS_PREFIX + "".join(f"{label}_" for label in one.labels) + one.name


def metrics_page() -> str:
    """Return the page of the metrics: for each process a table of names, kinds, labels and meanings."""
    return "\n".join(
        [
            "# Metrics",
            "",
            "<!-- Generated from the code by `make docs`; a test fails when it is stale. -->",
            "",
            "`millrace status` says where each process shows its metrics, and [observability.md](observability.md) how to read them.",
            "No label holds anything that a user wrote: no text, no id, no class, no key.",
            "",
            "## API: `GET /metrics`",
            "",
            *_table(API, lambda one: one.name),
            "",
            "## Jobs: the TaskManager's port",
            "",
            "Flink's reporter puts the labels before the name, adds its own (`job_name`, `operator_name`, …), and shows counters as gauges",
            "that begin anew when a job is started. Beside these are Flink's and Kafka's own.",
            "",
            *_table(JOBS, shown_by_flink),
            "",
            "## Refresh worker",
            "",
            *_table(REFRESH, lambda one: one.name),
            "",
        ]
    )


def _table(known: tuple[Metric, ...], shown: Callable[[Metric], str]) -> list[str]:
    rows = [f"| `{shown(one)}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.help} |" for one in known]
    return ["| name | kind | labels | meaning |", "|---|---|---|---|", *rows]
