# shellcheck shell=sh
# For the scripts beside it: `compose` is Docker Compose v2, however it is called here, on this project's file.
called_from=$PWD
cd "$(dirname "$0")/.." || exit 2
# A path as it was meant where the script was called.
path_of() { case $1 in /*) echo "$1" ;; *) echo "$called_from/$1" ;; esac; }
if docker compose version >/dev/null 2>&1; then
  compose() { docker compose "$@"; }
elif command -v docker-compose >/dev/null; then
  compose() { docker-compose "$@"; }
else
  echo "Docker Compose v2 is needed: install the plugin (docker compose) or docker-compose." >&2
  exit 2
fi

# The image of a service of ours; Compose also names those of what it depends on.
image_of() { compose config --images "$1" | grep -e "-$1:" | head -n 1; }
