"""Flink's own Prometheus reporter in the embedded JobManager and TaskManager: on ports of their own, on the loopback.

The reporter takes a port and no address, and would listen everywhere. The JDK lets its HTTP server be replaced, so that a class of ours
binds it to the loopback. The compiler inside Flink's distribution makes it from source: nobody needs a JDK with one.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from stack.errors import PartFailed
from stack.flink_configuration import distribution, made_folder
from stack.java import COMPILE_QUICKLY

_SOURCE = Path(__file__).with_name("java") / "LoopbackHttp.java"
_OPENED = "--add-exports=jdk.httpserver/sun.net.httpserver=ALL-UNNAMED"
_COMPILER = "org.codehaus.commons.compiler.samples.CompilerDemo"
_REPORTER = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"


def compiled_loopback(folder: Path, java_home: Path) -> Path:
    """Return a folder below `folder` that holds the class, compiled if it is not there or older than its source.

    Raises:
        PartFailed: if it cannot be compiled.
    """
    classes = made_folder(folder / "classes")
    made = classes / f"{_SOURCE.stem}.class"
    if made.exists() and made.stat().st_mtime >= _SOURCE.stat().st_mtime:
        return classes
    (runtime,) = (distribution() / "lib").glob("flink-table-runtime-*.jar")
    java = [str(java_home / "bin" / "java"), *COMPILE_QUICKLY, _OPENED, "-cp", str(runtime)]
    result = subprocess.run([*java, _COMPILER, "-d", str(classes), str(_SOURCE)], capture_output=True, text=True, timeout=60, check=False)
    if result.returncode != 0 or not made.exists():
        raise PartFailed(f"{_SOURCE.name} cannot be compiled: {(result.stdout + result.stderr).strip()[-500:]}")
    return classes


def java_options() -> list[str]:
    """Return the options by which the JVM's HTTP servers listen on the loopback only."""
    return [_OPENED, f"-Dcom.sun.net.httpserver.HttpServerProvider={_SOURCE.stem}"]


def reporter_options(port: int) -> list[str]:
    """Return what a Flink process is told, so that its metrics are at `http://127.0.0.1:PORT/metrics`; 0: nowhere."""
    if not port:
        return []
    return ["-D", f"metrics.reporter.prometheus.factory.class={_REPORTER}", "-D", f"metrics.reporter.prometheus.port={port}"]
