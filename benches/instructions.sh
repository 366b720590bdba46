#!/usr/bin/env bash
# Counts the instructions of the hot code on fixed input under valgrind's callgrind, beside the committed numbers. Unlike times,
# they do not depend on what else the machine does. A change over 5 % is explained in the commit that makes it.
#
# instructions.sh           prints the counts, the committed ones and the change
# instructions.sh --update  writes instructions.txt anew
set -euo pipefail
cd "$(dirname "$0")/.."

parts=(encode decode group fold)
committed=benches/instructions.txt

if ! command -v valgrind >/dev/null; then
    (apt-get update -q && apt-get install -yq valgrind) >/dev/null 2>&1 || true
fi
if ! command -v valgrind >/dev/null; then
    echo "instructions are not counted: valgrind is missing and cannot be installed here"
    exit 0
fi

program=$(cargo bench --quiet --bench instructions --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/instructions-[^"]*\)".*/\1/p' | tail -1)
[[ -x $program ]] || { echo "instructions.sh: the program was not built" >&2; exit 1; }
counts=$(mktemp -d)
trap 'rm -rf "$counts"' EXIT

count() { # PART
    # Only what is called from the counted function: the input is made outside.
    valgrind --tool=callgrind --callgrind-out-file="$counts/$1" --toggle-collect='*counted_*' \
        "$program" "$1" >/dev/null 2>"$counts/$1.log" || { cat "$counts/$1.log" >&2; exit 1; }
    sed -n 's/^\(summary\|totals\): *\([0-9]*\).*/\2/p' "$counts/$1" | tail -1
}

update=0
[[ ${1:-} == --update ]] && update=1
printf '%-8s %14s %14s %9s\n' part instructions committed change
lines=()
for part in "${parts[@]}"; do
    now=$(count "$part")
    [[ ${now:-0} -gt 0 ]] || { echo "instructions.sh: nothing of $part was counted" >&2; exit 1; }
    before=$(sed -n "s/^$part  *//p" "$committed" 2>/dev/null || true)
    change=$(awk -v now="$now" -v before="${before:-0}" \
        'BEGIN { if (before > 0) printf "%+.2f %%", (now / before - 1) * 100; else printf "new" }')
    printf '%-8s %14s %14s %9s\n' "$part" "$now" "${before:--}" "$change"
    lines+=("$part $now")
done
if ((update)); then
    printf '%s\n' "${lines[@]}" >"$committed"
fi
