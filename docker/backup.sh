#!/bin/sh
# Writes all that the stack keeps into a new folder, one archive a volume:  docker/backup.sh FOLDER
# The stack is stopped for it, with savepoints, so that Kafka, the states of the jobs and the artifacts belong to the same moment.
set -eu
# shellcheck source=docker/compose.sh
. "$(dirname "$0")/compose.sh"
[ $# -eq 1 ] || { echo "usage: docker/backup.sh FOLDER" >&2; exit 2; }
# The archives hold keys.
umask 077
folder=$(path_of "$1")
mkdir -p "$folder"
[ -z "$(ls -A "$folder")" ] || { echo "$folder is not empty: a backup goes into a folder of its own." >&2; exit 2; }
running=$(compose ps --services --status running)
compose stop jobs
compose stop
image=$(image_of jobs)
project=$(compose config | sed -n 's/^name: //p')
# Not the compiled code, nor what no process outlives.
for volume in keys first-keys state artifacts refresh mlflow kafka redis; do
  echo "$volume"
  docker run --rm --network none --cap-drop ALL --cap-add DAC_OVERRIDE --user 0 --entrypoint tar -v "${project}_$volume:/volume:ro" "$image" -C /volume -cz . >"$folder/$volume.tar.gz"
done
compose config --images | sort -u >"$folder/images.txt"
# shellcheck disable=SC2086  # names of services
[ -z "$running" ] || compose up --detach --no-build $running
echo "$folder holds keys and texts: keep it as you would keep those."
