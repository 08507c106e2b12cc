#!/bin/sh
# Prometheus takes no settings from its environment, and has to know which of the machine's containers are those of this stack.
# Works with busybox.
set -eu
printf -- '- targets: ["cadvisor:8080"]\n  labels: {own: "%s"}\n' "$MILLRACE_PROJECT" >/tmp/cadvisor.yml
exec prometheus "$@"
