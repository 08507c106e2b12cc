"""The jars of the broker and of Flink's Kafka connector: pinned by SHA-256 in `jars.lock`, fetched by Maven coordinate, kept in a cache.

`python -m stack.jars fetch` fills the cache (`connector`: with Flink's connector only); `python -m stack.jars lock` resolves the
coordinates again and rewrites the lock.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import msgspec
import requests
from jgo.maven import MavenContext

from stack.errors import StackError
from stack.folders import jar_cache, write_atomically

LOCK_FILE = Path(__file__).parent.parent / "jars.lock"
BROKER = "org.apache.kafka:kafka_2.13:4.1.1"
BROKER_LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
CONNECTOR = "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2"
NOT_NEEDED = ("org.scala-lang:scala-reflect",)
"""What Maven resolves for the broker, but the broker does not load (it is started and tested without it)."""
DOWNLOADS_AT_ONCE = 8
TIMEOUT_S = 60
TRIES = 3

Progress = Callable[[str], None]


class Jar(msgspec.Struct, frozen=True, order=True):
    """One jar: its coordinate `group:artifact:version`, and the SHA-256 of the file."""

    coordinate: str
    sha256: str

    @property
    def filename(self) -> str:
        """Its name in the cache.

        >>> Jar("a.b:c:1.2", "00").filename
        'c-1.2.jar'
        """
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def parse_lock(text: str) -> list[Jar]:
    r"""Return the jars in a lock file: lines of `coordinate sha256`, comments start with `#`.

    >>> parse_lock("# x\na:b:1 ff\n")
    [Jar(coordinate='a:b:1', sha256='ff')]
    """
    lines = (line.split("#")[0].split() for line in text.splitlines())
    return [Jar(*line) for line in lines if line]


def locked_jars() -> list[Jar]:
    """Return what `jars.lock` lists."""
    return parse_lock(LOCK_FILE.read_text(encoding="utf-8"))


def ensure_jars(progress: Progress = lambda _: None, *, cache: Path | None = None) -> Path:
    """Fetch what is missing in the cache and return the cache.

    Raises:
        StackError: if a jar cannot be fetched, or its bytes are not those of the lock.
    """
    folder = cache or jar_cache()
    missing = [jar for jar in locked_jars() if not _present(folder, jar)]
    if missing:
        _fetch(missing, folder, progress)
    return folder


def ensure_connector(progress: Progress = lambda _: None, *, cache: Path | None = None) -> Path:
    """Fetch Flink's Kafka connector if the cache lacks it, and return the cache: all that is needed where no broker is started.

    Raises:
        StackError: as `ensure_jars`.
    """
    folder = cache or jar_cache()
    missing = [jar for jar in locked_jars() if jar.coordinate == CONNECTOR and not _present(folder, jar)]
    if missing:
        _fetch(missing, folder, progress)
    return folder


def broker_classpath(cache: Path) -> list[Path]:
    """Return the broker's jars in the cache."""
    return [cache / jar.filename for jar in locked_jars() if jar.coordinate != CONNECTOR]


def connector_jar(cache: Path) -> Path:
    """Return Flink's Kafka connector in the cache."""
    return cache / Jar(CONNECTOR, "").filename


def _present(folder: Path, jar: Jar) -> bool:
    """Whether the cache has the jar; it was verified when it was put there, by a rename."""
    return (folder / jar.filename).is_file() and (folder / f".{jar.filename}.{jar.sha256[:16]}").exists()


def _fetch(missing: list[Jar], folder: Path, progress: Progress) -> None:
    started = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder))
    except OSError as error:
        raise StackError(f"The jar cache {folder} cannot be written ({error.strerror}). Choose another with MILLRACE_JARS.") from error
    context = _context(work)
    stop = threading.Event()
    try:
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            tasks = [pool.submit(_fetch_one, context, jar, folder, stop) for jar in missing]
            said = 0.0
            for done, task in enumerate(as_completed(tasks), 1):
                try:
                    task.result()
                except BaseException:
                    stop.set()
                    raise
                elapsed = time.monotonic() - started
                if elapsed - said > 1 or done == len(tasks):
                    progress(f"jars: {done} of {len(tasks)} fetched, {elapsed:.0f} s")
                    said = elapsed
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _context(work: Path) -> Any:
    """Return a Maven context that downloads into `work`, from the mirror in $MILLRACE_MAVEN if that is set."""
    mirror = os.environ.get("MILLRACE_MAVEN")
    return MavenContext(repo_cache=work, timeout=TIMEOUT_S, remote_repos={"mirror": mirror.rstrip("/")} if mirror else None)


def _fetch_one(context: Any, jar: Jar, folder: Path, stop: threading.Event) -> None:
    for attempt in range(1, TRIES + 1):
        if stop.is_set():
            return
        artifact = context.create_dependency(jar.coordinate).artifact
        try:
            path = Path(artifact.resolve())
        except (requests.RequestException, RuntimeError, OSError, ValueError) as error:
            Path(artifact.cached_path).unlink(missing_ok=True)
            if attempt == TRIES:
                raise StackError(
                    f"The jar {jar.coordinate} could not be fetched ({error}). Check the network, name a Maven mirror in "
                    f"MILLRACE_MAVEN, or put {jar.filename} and the others into a folder named by MILLRACE_JARS."
                ) from error
            time.sleep(attempt)
        else:
            _accept(path, jar, folder)
            return


def _accept(path: Path, jar: Jar, folder: Path) -> None:
    found = file_sha256(path)
    if found != jar.sha256:
        raise StackError(f"The jar {jar.coordinate} that was fetched has SHA-256 {found}, the lock says {jar.sha256}: it is not used.")
    path.replace(folder / jar.filename)
    (folder / f".{jar.filename}.{jar.sha256[:16]}").touch()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve_lock(root: str, alone: Iterable[str]) -> list[Jar]:
    """Return the jars that `root` needs at run time, and those of `alone` without what they name: it would shift the root's versions."""
    with tempfile.TemporaryDirectory() as work:
        context = _context(Path(work))
        inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
        wanted = [d for d in inputs + transitive if d.scope in ("compile", "runtime", None) and d.type == "jar"]
        wanted = [d for d in wanted if f"{d.groupId}:{d.artifactId}" not in NOT_NEEDED]
        artifacts = [d.artifact for d in [*wanted, *(context.create_dependency(coordinate) for coordinate in alone)]]
        jars = {Jar(f"{a.groupId}:{a.artifactId}:{a.version}", file_sha256(Path(a.resolve()))) for a in artifacts}
    return sorted(jars)


def _write_lock() -> None:
    lines = ["# Made by `python -m stack.jars lock`: Maven coordinate, SHA-256 of the jar."]
    lines += [f"{jar.coordinate} {jar.sha256}" for jar in resolve_lock(BROKER, [BROKER_LOGGING, CONNECTOR])]
    write_atomically(LOCK_FILE, ("\n".join(lines) + "\n").encode())


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m stack.jars", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=["fetch", "connector", "lock"])
    command = parser.parse_args(arguments).command
    try:
        if command == "lock":
            _write_lock()
        else:
            ensure = ensure_connector if command == "connector" else ensure_jars
            print(ensure(lambda line: print(line, file=sys.stderr)))
    except StackError as error:
        print(f"millrace: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
