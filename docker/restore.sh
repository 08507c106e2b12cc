#!/bin/sh
# Makes the volumes of a stack that has none from a backup:  docker/restore.sh FOLDER   and then  docker compose up
set -eu
# shellcheck source=docker/compose.sh
. "$(dirname "$0")/compose.sh"
folder=$(path_of "${1:-}")
[ $# -eq 1 ] && [ -f "$folder/kafka.tar.gz" ] || { echo "usage: docker/restore.sh FOLDER, which docker/backup.sh has written" >&2; exit 2; }
project=$(compose config | sed -n 's/^name: //p')
if [ -n "$(docker volume ls --quiet --filter "name=^${project}_(keys|state|kafka)\$")" ]; then
  echo "The project $project has volumes. Remove them first, if that is meant: docker compose down --volumes" >&2
  exit 2
fi
# Makes them, with their owners.
compose run --rm --no-deps -T prepare >/dev/null
image=$(image_of jobs)
for archive in "$folder"/*.tar.gz; do
  volume=$(basename "$archive" .tar.gz)
  echo "$volume"
  docker run --rm --network none --cap-drop ALL --cap-add DAC_OVERRIDE --cap-add CHOWN --cap-add FOWNER --user 0 --entrypoint sh -i -v "${project}_$volume:/volume" "$image" \
    -c 'find /volume -mindepth 1 -delete && tar -C /volume -xz --same-owner' <"$archive"
done
compose down >/dev/null 2>&1
