#!/bin/sh
# For each unfinished session that can be resumed, run a command with its id as last argument.
# It shows how ids go from `sessionstore ls` into a second command: one on each line, nothing else.
#
#   SESSIONSTORE_ROOT=./store ./ops_list_resumable.sh                     # shows each of them
#   SESSIONSTORE_ROOT=./store ./ops_list_resumable.sh echo "to resume:"
set -eu

: "${SESSIONSTORE_ROOT:?set it to the directory of the store}"
export SESSIONSTORE_ROOT

[ "$#" -gt 0 ] || set -- sessionstore show

# Not `sessionstore ls … | while …`: a pipe would hide it if ls fails.
ids=$(sessionstore ls --resumable --unfinished -o ids)
[ -n "$ids" ] || { echo "nothing to resume" >&2; exit 0; }

printf '%s\n' "$ids" | while IFS= read -r id; do
    "$@" "$id" </dev/null
done
