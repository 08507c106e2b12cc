"""The settings of the refresh: frozen, read once from a mapping, all errors reported at once. Units are in the names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from schemas.log import Mode, Share
from schemas.settings import PREFIX, Positive, read_prefixed, to_environment

REFRESH_PREFIX = f"{PREFIX}REFRESH_"

FromZero = Annotated[int, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(gt=0, lt=0.5)]
Part = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class RefreshSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a refresh needs to know beside `Settings`. Every field is the environment variable MILLRACE_REFRESH_<NAME IN CAPITALS>.

    Attributes:
        folder: where reports, the registry and unfinished work lie; empty for `refresh` beside the artifact folder.
        window_labels: train on so many of the newest labels only; 0 for all.
        window_s: train only on labels so much younger than the newest; 0 for all.
        validation_share: share of the training labels, the newest, that choose among candidates and end their training.
        gate_least_labels: so many of the newest labels, at least, are held out to compare champion and challenger.
        gate_share: … or this share of all labels, if that is more.
        gate_margin: by how much of those labels the challenger must be right more often than the champion.
        gate_error: the probability that a challenger that is no better passes the tests by chance.
        gate_class_fall: by how much the F1 of any class may fall.
        gate_class_support: … of which so many labels at least were seen.
        gate_class_error: a class has not fallen where chance alone does as much with a probability above this.
        cases: file of behavioural cases (docs/refresh.md); empty for none.
        mode: what a release is brought in for: to serve at once, as shadow, or to serve a share of the events.
        share: that share, in mode `split`.
        variant: how the table is stored.
        prune_share: this share of the table's rows, those with the smallest weights, is left out.
        search_seconds: how long hyper-parameters are searched for; 0 for the defaults.
        search_sampler: of Optuna: one that learns from its trials, a random one, or a grid.
        device: where the network is trained; `auto` takes a GPU if there is one.
        seed: of everything random in the training.
        answer_timeout_s: how long the learner's answer to a release is waited for.
        registry: where MLflow keeps what people look up: the address of a server (`http://HOST:PORT`) or of a database
            (`sqlite:////PATH`); empty for an SQLite store in `registry` of the folder; `none` for no registry.
        experiment: what the runs belong to in MLflow; a task's model is called `EXPERIMENT-TASK`.
    """

    folder: str = ""
    window_labels: FromZero = 0
    window_s: FromZero = 0
    validation_share: Annotated[float, msgspec.Meta(ge=0.01, le=0.5)] = 0.2
    gate_least_labels: Positive = 200
    gate_share: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.2
    gate_margin: Part = 0.002
    gate_error: Probability = 0.05
    gate_class_fall: Part = 0.05
    gate_class_support: Positive = 20
    gate_class_error: Probability = 0.1
    cases: str = ""
    mode: Mode = "serve"
    share: Share = 0.1
    variant: Literal["full", "float16", "int8"] = "full"
    prune_share: Part = 0.0
    search_seconds: FromZero = 0
    search_sampler: Literal["tpe", "random", "grid"] = "tpe"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: FromZero = 0
    answer_timeout_s: Positive = 300
    registry: Annotated[str, msgspec.Meta(pattern="^(none|https?://.+|(sqlite|postgresql|mysql|mssql)[^:]*:.+)?\\Z")] = ""
    experiment: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,100}\\Z")] = "millrace"


def read_refresh_settings(environment: Mapping[str, str]) -> RefreshSettings:
    """Return the settings of the refresh in `environment` (keys with the prefix MILLRACE_REFRESH_).

    Raises:
        SettingsError: naming every variable that is wrong, and why.

    >>> read_refresh_settings({"MILLRACE_REFRESH_MODE": "shadow"}).mode
    'shadow'
    """
    return read_prefixed(environment, RefreshSettings, REFRESH_PREFIX)


def refresh_environment(settings: RefreshSettings) -> dict[str, str]:
    """Return the settings as environment variables; `read_refresh_settings` gives them back.

    >>> read_refresh_settings(refresh_environment(RefreshSettings(window_s=60))).window_s
    60
    """
    return to_environment(settings, REFRESH_PREFIX)
