# Sourced by the scripts of this folder: how a check is announced, timed, skipped.

# step NAME COMMAND...: runs one check and prints its name and its seconds; its failure ends the script.
step() {
    local name=$1 began=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    if "$@"; then
        printf '==> %s: ok (%d s)\n' "$name" $((SECONDS - began))
    else
        printf '==> %s: FAILED (%d s)\n' "$name" $((SECONDS - began)) >&2
        exit 1
    fi
}

# skipped WHY: a check that cannot run here says so and never passes in silence.
skipped() {
    printf 'SKIPPED: %s\n' "$*"
}

# has COMMAND...: whether every one of these commands can be found.
has() {
    local name
    for name; do command -v -- "$name" >/dev/null || return 1; done
}

# target_folder: where Cargo was told to build.
target_folder() {
    cargo metadata --format-version 1 --no-deps --offline |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

# release_binary: the path of the optimised `crosstie`.
release_binary() {
    printf '%s/release/crosstie\n' "$(target_folder)"
}

# install_missing PACKAGE:WHAT...: as root on Debian, installs the packages whose command, or file, WHAT is
# missing; elsewhere names them. What stays missing is for the caller to look for.
install_missing() {
    local need missing=()
    for need; do
        has "${need#*:}" || [[ -e ${need#*:} ]] || missing+=("${need%%:*}")
    done
    ((${#missing[@]})) || return 0
    if [[ $EUID -eq 0 ]] && has apt-get; then
        echo "installing: ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q >/dev/null
        apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "missing: ${missing[*]}"
        echo "  as root: apt-get install ${missing[*]}"
    fi
}
