# Sourced by the scripts beside it: the environment in .venv, at the root of the checkout.
#
# ensure_environment [EXTRA...] installs the project, what it depends on, and these extras of setup.cfg. Where a stamp
# in .venv says that it already did, it runs no installer. It never takes an extra away that another script installed.
# Several scripts may call it at once, and one that was cut short is made up for. Works with macOS's bash 3.2.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
stamp=$venv/daysheet-installed

say() {
    printf 'daysheet: %s\n' "$*" >&2
}

ensure_environment() {
    local recipe python
    recipe=$(recipe)
    if is_current "$recipe" "$@"; then
        return
    fi
    python=$(find_python)
    # Held through file descriptor 9 until that is closed, or this shell ends in whatever way. macOS has no flock(1).
    exec 9>>"$root/.venv.lock"
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
    if ! is_current "$recipe" "$@"; then
        install_environment "$python" "$recipe" "$@"
    fi
    exec 9>&-
}

# All that decides what gets installed. The place does too: programs in .venv name their interpreter by its full path.
recipe() {
    { printf '%s\n' "$root" && cat "$root/setup.cfg" "$root/pyproject.toml" "$root/scripts/constraints.txt"; } | cksum
}

installed_extras() {
    if [[ -f $stamp ]]; then
        sed -n 2p "$stamp"
    fi
}

is_current() {
    local wanted=$1 recipe='' extras='' extra
    shift
    [[ -f $stamp && -x $venv/bin/python ]] || return 1
    { read -r recipe && read -r extras; } <"$stamp" || return 1
    [[ $recipe == "$wanted" ]] || return 1
    for extra in "$@"; do
        [[ ,$extras, == *,"$extra",* ]] || return 1
    done
}

install_environment() {
    local python=$1 recipe=$2 extras
    shift 2
    extras=$({ installed_extras | tr , '\n' && printf '%s\n' "$@"; } | sed '/^$/d' | sort -u | paste -s -d , -)
    say "installing into $venv"
    if [[ ! -f $stamp || ! -x $venv/bin/python ]]; then
        rm -rf "$venv" # An install without a stamp was cut short; nobody knows where.
    fi
    rm -f "$stamp"
    umask 022 # For root, PostgreSQL's programs must be readable by the account that runs them.
    if command -v uv >/dev/null; then
        [[ -x $venv/bin/python ]] || uv venv --quiet --python "$python" "$venv"
        (cd "$root" && uv pip install --quiet --python "$venv/bin/python" \
            --constraint scripts/constraints.txt --editable ".${extras:+[$extras]}")
    else
        [[ -x $venv/bin/python ]] || "$python" -m venv --without-pip "$venv"
        "$venv/bin/python" -c 'import pip' 2>/dev/null || "$venv/bin/python" -m ensurepip >/dev/null
        (cd "$root" && "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-input \
            --constraint scripts/constraints.txt --editable ".${extras:+[$extras]}")
    fi
    printf '%s\n%s\n' "$recipe" "$extras" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

find_python() {
    local name found=''
    for name in python3.13 python3.12 python3.11 python3; do
        # Being on PATH is not enough: a version manager's stand-in may have no such version behind it.
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if command -v uv >/dev/null || "$name" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
        found=$name
    done
    if [[ -n $found ]]; then
        say "$found cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"
    else
        say "Python 3.11 or newer is needed, and none is on PATH."
    fi
    return 1
}
