"""Asks a server of its container whether it is well, for HEALTHCHECK: `python -I -S health.py PORT PATH`, exit code 0 if it says 200."""

import http.client
import ssl
import sys


def main(port: int, path: str) -> int:
    """Ask by HTTP, and where that is no HTTP by TLS: the own certificate need not name the loopback."""
    unchecked = ssl._create_unverified_context()  # noqa: S323, SLF001 - nothing is told, and only the status is believed
    for connection in (
        http.client.HTTPConnection("127.0.0.1", port, timeout=4),
        http.client.HTTPSConnection("127.0.0.1", port, timeout=4, context=unchecked),
    ):
        try:
            connection.request("GET", path, headers={"Host": "localhost"})
            status = connection.getresponse().status
        except (http.client.HTTPException, ConnectionResetError):
            continue
        except OSError as error:
            sys.stdout.write(f"{error}\n")
            return 1
        sys.stdout.write(f"{status}\n")
        return 0 if status == http.client.OK else 1
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
