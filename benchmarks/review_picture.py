"""The picture of `python -m benchmarks review`: test accuracy over the number of labels, a panel for each file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Curves = Sequence[Sequence[tuple[int, float]]]

COLOURS = {"random": "#666666", "uncertain": "#d55e00", "diverse": "#0072b2", "new": "#009e73", "mix": "#000000"}
"""Okabe and Ito's, which people who do not see all colours can tell apart."""


def draw(path: Path, files: Mapping[str, Mapping[str, Curves]]) -> None:
    """Draw the mean over the seeds of each policy, with a band of one standard deviation."""
    import matplotlib as mpl  # noqa: PLC0415 - a second to import, for one benchmark

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    columns = min(2, len(files))
    rows = -(-len(files) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.5 * columns, 4 * rows), layout="constrained", squeeze=False)
    for axis, (name, policies) in zip(axes.flat, files.items(), strict=False):
        for policy, curves in policies.items():
            labels = [mark for mark, _ in min(curves, key=len)]
            accuracies = 100 * np.array([[accuracy for _, accuracy in curve[: len(labels)]] for curve in curves])
            mean, spread = accuracies.mean(axis=0), accuracies.std(axis=0)
            width = 2.2 if policy in ("random", "mix") else 1.2
            axis.plot(labels, mean, label=policy, color=COLOURS[policy], linewidth=width, linestyle="--" if policy == "random" else "-")
            axis.fill_between(labels, mean - spread, mean + spread, color=COLOURS[policy], alpha=0.1, linewidth=0)
        axis.set_title(name, loc="left")
        axis.set_xlabel("labels")
        axis.set_ylabel("accuracy on the test part, %")
        axis.grid(alpha=0.3)
    axes.flat[0].legend(loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
