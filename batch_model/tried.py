"""The candidates of a training, as the report and the registry list them."""

from __future__ import annotations

from collections.abc import Sequence

from batch_model.challenger import flat
from batch_model.checkpoints import Epoch
from batch_model.fit import Fitted
from batch_model.outcome import Candidate
from schemas.log import Metrics

_ACCURACY, _LOSS = "validation_accuracy.", "validation_log_loss."


def candidates_of(fitted: Fitted) -> list[Candidate]:
    """Return every candidate and every blend of them that was measured on the validation part; the first network's passes stand for all."""
    names = [name.removeprefix(_ACCURACY) for name in fitted.metrics if name.startswith(_ACCURACY)]
    names += [name for name in fitted.epochs if name not in names]
    return [_candidate(name, fitted) for name in names]


def _candidate(name: str, fitted: Fitted) -> Candidate:
    networks = fitted.epochs.get(name, [])
    found = {"accuracy": fitted.metrics.get(_ACCURACY + name), "log_loss": fitted.metrics.get(_LOSS + name)}
    return Candidate(
        name=name,
        parameters=flat(fitted.parameters.get(name, {})),
        epochs=_passes(networks[0]) if networks else [],
        validation={measure: value for measure, value in found.items() if value is not None},
        seconds=sum(epoch.seconds for epochs in networks for epoch in epochs),
        chosen=name == fitted.candidate,
    )


def _passes(epochs: Sequence[Epoch]) -> list[Metrics]:
    return [
        {
            name: value
            for name, value in (
                ("train_loss", epoch.train_loss),
                ("validation_loss", epoch.loss),
                ("validation_accuracy", epoch.accuracy),
                ("seconds", epoch.seconds),
            )
            if value is not None
        }
        for epoch in epochs
    ]
