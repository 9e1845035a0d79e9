#!/bin/sh
# on_valkey.sh PROGRAM [ARGUMENT...]: a test of Redis, with Valkey as the server that it starts.
PATH="$(dirname "$0")/../../build-tools/valkey:$PATH"
export PATH
redis-server --version | grep -q Valkey || { echo "redis-server is not Valkey: run ./dev setup" >&2; exit 1; }
exec "$@"
