#!/bin/sh
# Installs locked packages into the environment of an image, and removes what no program of ours loads.
#   install.sh LOCK…            with hashes, from locks that go together
#   install.sh --torch cpu|cuda what the refresh needs beside base.lock
set -eu
environment=/opt/millrace/venv
uv=/opt/installer/bin/uv
add() { "$uv" pip install --no-cache --quiet --no-build-isolation --link-mode copy --compile-bytecode --python "$environment/bin/python" --no-deps "$@"; }

if [ "$1" = --torch ]; then
  case $2 in
    cuda) add --require-hashes -r refresh.lock ;;
    cpu)
      # torch for the CPU has its own index, which uv knows by name; all else comes from the lock as ever.
      version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' refresh.lock)
      awk '/^[a-z]/ { skip = /^(torch|triton|cuda-|nvidia-)/ } !skip' refresh.lock >/tmp/refresh.lock
      add --require-hashes -r /tmp/refresh.lock
      add --torch-backend cpu "torch==$version"
      ;;
    *) echo "TORCH is cpu or cuda, not '$2'" >&2; exit 2 ;;
  esac
else
  for lock; do add --require-hashes -r "$lock"; done
fi
# Tests of others, and of plotly all but the script that the dashboard sends to browsers.
packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$packages" -depth -type d -name tests -path '*/pandas/*' -exec rm -rf {} +
find "$packages" -depth -type d -name tests \( -path '*/numpy/*' -o -path '*/scipy/*' -o -path '*/sklearn/*' -o -path '*/pyarrow/*' \) -exec rm -rf {} +
for part in graph_objs validators labextension; do rm -rf "$packages/plotly/$part"; done
