#!/usr/bin/env bash
# Makes stand-ins for the images of the profile `observability`, under the names that compose.yaml gives them, on a machine that
# has no image registry, to try the real configuration on:
#   prometheus, alertmanager   Debian 12's packages: 2.42 and 0.25, older than the official images, without the pages
#   cadvisor                   cAdvisor's own packages, of the version that compose.yaml names, with a main of ours (cadvisor/main.go)
# There is none for Grafana: no package that may be used here carries it. So its dashboards are checked without it (../../tests/containers).
# Needs Docker, Go, apt, and the image python:3.11-slim-bookworm. Safe to run again; takes some minutes the first time.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

name() { # of the image in that variable, or its default in compose.yaml
  local set=${!1:-}
  echo "${set:-$(sed -n "s/.*\${$1:-\([^}]*\)}.*/\1/p" compose.yaml)}"
}

cp -r stand-ins/. "$work"
(cd "$work/cadvisor" && CGO_ENABLED=0 go build -p 2 -trimpath -ldflags='-s -w' -o cadvisor .)
for part in prometheus alertmanager cadvisor; do
  image=$(name "${part^^}_IMAGE")
  DOCKER_BUILDKIT=0 docker build -q --network host --target "$part" -t "$image" "$work" >/dev/null
  docker image inspect --format "{{index .RepoTags 0}} {{.Size}}" "$image"
done
