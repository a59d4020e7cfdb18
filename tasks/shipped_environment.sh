# shellcheck shell=bash
# Makes an environment at $1 from the archive $2 of installed packages, or without one from the lists of packages of the
# checkout $3; tasks/bootstrap.sh sources it. With HONEYGUIDE_NODE_CACHE, a folder of the node's own disk, it is made once per node.

_honeyguide_unpacked() {
    local wanted python found
    wanted="${1##*-}" wanted="${wanted%.tar.gz}"
    for python in "${HONEYGUIDE_PYTHON:-$wanted}" python3; do
        found="$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])' 2> /dev/null)"
        [ "$found" = "$wanted" ] && break
    done
    if [ "$found" != "$wanted" ]; then
        echo "honeyguide job: there is no $wanted on $(hostname); say where with HONEYGUIDE_PYTHON in configs/sites/<site>.sh"
        return 1
    fi
    "$python" -m venv --without-pip "$2" && tar -xzf "$1" -C "$2"
}

_honeyguide_built() {
    HONEYGUIDE_VENV="$2" HONEYGUIDE_STORE="$TMPDIR" bash -c ". '$1/setup.sh'"
}

_honeyguide_shipped() {
    local made="$1.made"
    [ ! -e "$made" ] || return 0
    rm -rf "$1"
    if [ -n "$2" ]; then _honeyguide_unpacked "$2" "$1"; else _honeyguide_built "$3" "$1"; fi && touch "$made"
}

if [ -n "${HONEYGUIDE_NODE_CACHE:-}" ]; then
    mkdir -p "$HONEYGUIDE_NODE_CACHE"
    venv="$HONEYGUIDE_NODE_CACHE/venv-$(cat "$3/constraints.txt" <(basename "${2:-none}") | cksum | cut -d ' ' -f 1)"
    exec 9> "$venv.lock"
    flock 9
    _honeyguide_shipped "$venv" "$2" "$3"
    exec 9>&-
else
    _honeyguide_shipped "$1" "$2" "$3"
fi
[ -e "$venv.made" ]
