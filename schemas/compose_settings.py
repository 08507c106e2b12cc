"""What the container stack itself is told: ports, images, memory, the demo. Docker Compose reads it, `millrace prepare` checks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from schemas.settings import PREFIX, Positive, read_prefixed

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Memory = Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]*[mg]\\Z")]
Tag = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\\Z")]
Image = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][A-Za-z0-9._/:@-]{0,254}\\Z")]


class ComposeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `docker-compose.yml` reads. Every field is the variable MILLRACE_<NAME IN CAPITALS>.

    Attributes:
        version: tag of Millrace's images, which are built here or pulled.
        green_version: tag of the images of the profile `green`, another version beside the first.
        images: what the names of Millrace's images begin with, a registry's address included: `IMAGES-jobs`, `IMAGES-api` and
            `IMAGES-refresh`.
        torch: which torch the image of the refresh holds when it is built: `cuda` (works without a GPU as well) or `cpu` (4 GB smaller).
        build_network: network of the builds, `host` or `default`.
        publish: address on which API and Kafka are published; beyond loopback put TLS before them, and see docs/access.md.
        api_port: of API and dashboard.
        api_green_port: of the API of the profile `green`.
        kafka_port: of Kafka, for programs outside the containers.
        mlflow_port: of MLflow's pages.
        prometheus_port: of Prometheus (profile `observability`).
        alertmanager_port: of Alertmanager (profile `observability`).
        grafana_port: of Grafana (profile `observability`).
        taskmanagers: how many TaskManagers run.
        kafka_memory: memory limit of Kafka's container.
        redis_memory: of Redis.
        redis_maxmemory: what Redis may hold before it refuses writes; its snapshots need some room beside it.
        jobmanager_memory: of the JobManager.
        taskmanager_memory: of each TaskManager; `MILLRACE_TASKMANAGER_HEAP_MIB` is a part of it.
        jobs_memory: of the supervisor of the jobs and the client that submits them.
        api_memory: of the API.
        refresh_memory: of the refresh worker with the training that it starts.
        mlflow_memory: of MLflow.
        demo_folder: folder with the file that the profile `demo` replays.
        demo_file: its name; empty for a generated stream.
        demo_rate: events a second; 0 for as fast as possible.
        demo_events: length of the generated stream.
        demo_label_delay_s: a label comes so long after its event.
        prometheus_retention_time: how long Prometheus keeps what it has measured.
        prometheus_retention_size: how much of it, whichever is reached first.
        grafana_password: of Grafana's user `admin`; empty: nobody can log in, the pages can be read.
        docker_socket: Docker's socket, for cAdvisor.
        docker_folder: Docker's data root, for cAdvisor.
        containerd_folder: the folder of containerd's socket, for cAdvisor.
        alert_webhook: where Alertmanager sends alerts (POST); empty for nowhere. It may hold a secret.
    """

    version: Tag = "0.1.0"
    green_version: Tag = "0.1.0"
    images: Image = "millrace"
    torch: Literal["cuda", "cpu"] = "cuda"
    build_network: Literal["host", "default"] = "host"
    publish: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "127.0.0.1"
    api_port: Port = 8000
    api_green_port: Port = 8001
    kafka_port: Port = 9094
    mlflow_port: Port = 5000
    prometheus_port: Port = 9090
    alertmanager_port: Port = 9093
    grafana_port: Port = 3000
    taskmanagers: Positive = 1
    kafka_memory: Memory = "896m"
    redis_memory: Memory = "512m"
    redis_maxmemory: Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]*(mb|gb)\\Z")] = "384mb"
    jobmanager_memory: Memory = "768m"
    taskmanager_memory: Memory = "2048m"
    jobs_memory: Memory = "768m"
    api_memory: Memory = "576m"
    refresh_memory: Memory = "1280m"
    mlflow_memory: Memory = "640m"
    demo_folder: Annotated[str, msgspec.Meta(min_length=1)] = "./docker/demo"
    demo_file: str = ""
    demo_rate: Annotated[float, msgspec.Meta(ge=0)] = 200
    demo_events: Positive = 20_000
    demo_label_delay_s: Annotated[float, msgspec.Meta(ge=0)] = 2
    prometheus_retention_time: Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]*[hdwy]\\Z")] = "15d"
    prometheus_retention_size: Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]*(MB|GB)\\Z")] = "2GB"
    grafana_password: str = ""
    docker_socket: str = "/var/run/docker.sock"
    docker_folder: str = "/var/lib/docker"
    containerd_folder: str = "/run/containerd"
    alert_webhook: Annotated[str, msgspec.Meta(pattern="^(https?://[^/\\s]+[^\\s]*)?\\Z")] = ""


def read_compose_settings(environment: Mapping[str, str]) -> ComposeSettings:
    """Return what `docker-compose.yml` would read from `environment`; an empty variable counts as none, as there.

    Raises:
        SettingsError: naming every variable that is wrong, and why.

    >>> read_compose_settings({"MILLRACE_TASKMANAGERS": "2", "MILLRACE_API_PORT": ""}).taskmanagers
    2
    """
    return read_prefixed({name: value for name, value in environment.items() if value}, ComposeSettings, PREFIX)
