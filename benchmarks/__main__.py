"""`python -m benchmarks NAME …`: runs a benchmark."""

from __future__ import annotations

import sys

from benchmarks import (
    backends,
    backlog,
    bounded,
    classify,
    dashboard,
    drift,
    fuzz,
    hostile,
    live_refresh,
    live_swap,
    model,
    publish,
    recent,
    review,
    review_cost,
    snapshots,
    swap,
)


def refresh(arguments: list[str]) -> None:
    """Run the benchmark of the refresh."""
    from benchmarks.refresh import main as run  # noqa: PLC0415 - it needs torch, which the others do without

    run(arguments)


BENCHMARKS = {
    "backlog": backlog.main,
    "model": model.main,
    "snapshots": snapshots.main,
    "dashboard": dashboard.main,
    "drift": drift.main,
    "backends": backends.main,
    "bounded": bounded.main,
    "fuzz": fuzz.main,
    "publish": publish.main,
    "classify": classify.main,
    "recent": recent.main,
    "hostile": hostile.main,
    "refresh": refresh,
    "live-refresh": live_refresh.main,
    "live-swap": live_swap.main,
    "review": review.main,
    "review-cost": review_cost.main,
    "swap": swap.main,
}
SHORT = ("backlog", "model", "snapshots")


def main(arguments: list[str]) -> int:
    """Run the benchmark that is named first, with the other arguments; without a name, the short ones."""
    if arguments and arguments[0] not in BENCHMARKS:
        print(f"there is no benchmark {arguments[0]!r}: choose from {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in arguments[:1] or SHORT:
        print(f"== {name}", flush=True)
        BENCHMARKS[name](arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
