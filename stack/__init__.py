"""The embedded stack and the `millrace` command line: real parts on loopback, all from packages."""
