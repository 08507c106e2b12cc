#!/bin/sh
# Brings a running stack to another version, or to what `.env` says now (parallelism, memory, number of TaskManagers):
#   docker/upgrade.sh [VERSION]
# The new images are built, or are there already, and the configuration is checked by them, before anything stops. Then the jobs stop with
# savepoints, containers that have changed are made anew, and the jobs resume from the savepoints. Back: the same with the old version.
set -eu
# shellcheck source=docker/compose.sh
. "$(dirname "$0")/compose.sh"
say() { echo "$(date +%H:%M:%S) $*"; }
settings=${COMPOSE_ENV_FILES:-.env}
before=$(image_of jobs)
[ $# -eq 0 ] || export MILLRACE_VERSION="$1"
after=$(image_of jobs)

say "from $before to $after: images"
for service in jobs api refresh; do
  image=$(image_of $service)
  docker image inspect "$image" >/dev/null 2>&1 || missing="${missing:-} $image"
done
if [ -n "${missing:-}" ]; then
  say "not here, so they are built:$missing"
  compose build --quiet jobs api refresh
fi
say "the configuration, checked by the new version"
compose run --rm --no-deps -T prepare
say "the jobs stop, with savepoints"
compose stop jobs
say "what has changed is made anew"
# All at once, and without `prepare`, which has done its work: the jobs wait for the others themselves.
# shellcheck disable=SC2046  # names of services
if ! compose up --detach --no-build --no-deps --wait $(compose config --services | grep -v '^prepare$'); then
  echo "It does not become healthy: docker compose logs says why. Back to where it was: docker/upgrade.sh ${before##*:}" >&2
  exit 1
fi
if [ $# -gt 0 ] && [ "$settings" != /dev/null ]; then
  # So that the next `docker compose up` means the same version.
  touch "$settings"
  # As private as it was: it may hold passwords.
  cp -p "$settings" "$settings.new"
  { grep -v '^MILLRACE_VERSION=' "$settings" || true; echo "MILLRACE_VERSION=$1"; } >"$settings.new"
  mv "$settings.new" "$settings"
fi
compose exec -T jobs millrace job list | grep 'started from' || true
say "done"
