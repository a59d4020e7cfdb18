# shellcheck shell=bash disable=SC2296
# Sets honeyguide up: source this file in bash or zsh, from any folder, as often as you like.
#
#     source setup.sh && law run ROCCurveTask --config quickstart
#
# The first time it makes a Python environment (some minutes), later it only checks (well under a second). It does, in order:
#   1. sources local_setup.sh beside this file, if there is one: the place for your own values of the variables below; then
#      configs/sites/$HONEYGUIDE_SITE.sh, if there is one;
#   2. finds an environment with the packages of pyproject.toml: the one named by HONEYGUIDE_VENV, else the active conda,
#      mamba or venv environment if it has them, else <repo>/.venv, which it makes with uv where there is one, else with
#      `python -m venv` and pip. Versions come from constraints.txt; when that or pyproject.toml changes, it installs again;
#      an installation that was interrupted is made afresh;
#   3. exports the variables for law, renews law's task index when a task changed, and switches on tab completion.
# On failure it says why and returns 1; your shell stays open and its options are not touched.
#
# Variables that you may set (in the shell or in local_setup.sh):
#   HONEYGUIDE_STORE    folder of all outputs. Default: <repo>/store
#   HONEYGUIDE_DATA     folder of your input files, for paths like $HONEYGUIDE_DATA/*.csv in configs. Default: <repo>/data
#   HONEYGUIDE_SITE     whose batch system: a name in configs/sites, where you may add yours. Default: local, none
#   HONEYGUIDE_JOBS     folder of the states and logs of jobs. Default: $HONEYGUIDE_STORE/jobs
#   HONEYGUIDE_VENV     virtual environment to use, and to make where missing. Default: the active one, else <repo>/.venv
#   HONEYGUIDE_PYTHON   interpreter to make it with, 3.11 to 3.13. Default: the first that fits of python3, python3.13, ...
#   PIP_FIND_LINKS      folders or pages with further wheels; passed on to uv, unless UV_FIND_LINKS is set
# Variables that it exports besides:
#   HONEYGUIDE_ROOT     the folder of this file
#   LAW_HOME            <repo>/.law (law's index and its job files)
#   LAW_CONFIG_FILE     <repo>/law.cfg
#   PYTHONPATH          with <repo> in front

if [ -z "${BASH_VERSION:-}${ZSH_VERSION:-}" ]; then
    echo "honeyguide: setup.sh needs bash or zsh" >&2
    # shellcheck disable=SC2317
    return 1 2> /dev/null || exit 1
fi

_honeyguide_say() { printf 'honeyguide: %s\n' "$*" >&2; }

# Prints the first interpreter that fits; with HONEYGUIDE_PYTHON, that one or a reason why not.
_honeyguide_find_python() {
    local candidate fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
    if [ -n "${HONEYGUIDE_PYTHON:-}" ]; then
        if ! command -v "$HONEYGUIDE_PYTHON" > /dev/null 2>&1; then
            _honeyguide_say "HONEYGUIDE_PYTHON=$HONEYGUIDE_PYTHON: no such program"
            return 1
        elif ! "$HONEYGUIDE_PYTHON" -c "$fits" > /dev/null 2>&1; then
            _honeyguide_say "HONEYGUIDE_PYTHON=$HONEYGUIDE_PYTHON: got $("$HONEYGUIDE_PYTHON" --version 2>&1)," \
                "need Python 3.11, 3.12 or 3.13"
            return 1
        fi
        printf '%s\n' "$HONEYGUIDE_PYTHON"
        return 0
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c "$fits" > /dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    # uv can fetch an interpreter itself
    if command -v uv > /dev/null 2>&1; then
        printf '%s\n' '>=3.11,<3.14'
        return 0
    fi
    _honeyguide_say "no Python 3.11, 3.12 or 3.13 among python3, python3.13, python3.12, python3.11 and python" \
        "(got $(python3 --version 2>&1)); install one, or uv, or set HONEYGUIDE_PYTHON"
    return 1
}

# Checks the packages of environment $1 against pyproject.toml (with the extra `dev` where $2 is dev), without importing
# them. Prints the folder that they are in, or else what is missing.
_honeyguide_check_packages() {
    "$1/bin/python" -E - "$HONEYGUIDE_ROOT/pyproject.toml" "$2" 2>&1 << 'EOF'
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"it has Python {sys.version.split()[0]}, honeyguide needs 3.11 to 3.13")
import sysconfig, tomllib
from importlib import metadata
try:
    from packaging.requirements import Requirement
except ImportError:
    sys.exit("it lacks packaging")
with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
wrong = []
for line in project["dependencies"] + (project["optional-dependencies"]["dev"] if sys.argv[2] == "dev" else []):
    wanted = Requirement(line)
    try:
        if not wanted.specifier.contains(metadata.version(wanted.name), prereleases=True):
            wrong.append(f"{wanted} (has {metadata.version(wanted.name)})")
    except metadata.PackageNotFoundError:
        wrong.append(str(wanted))
if wrong:
    sys.exit(f"it lacks {', '.join(wrong[:4])}" + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""))
print(sysconfig.get_path("purelib"))
EOF
}

# A stamp says that environment $1 was good for requirements with checksum $2: two lines, checksum and package folder.
# Everything here is plain shell, because starting Python would take longer than all the rest.
_honeyguide_stamp() { printf '%s\n' "$LAW_HOME/environments/$(printf '%s' "$1" | cksum | tr ' ' '-')"; }

_honeyguide_stamped_sum() {
    [ -f "$1" ] && head -n 1 "$1"
}

_honeyguide_is_ready() {
    local stamp packages
    stamp="$(_honeyguide_stamp "$1")"
    [ -x "$1/bin/python" ] && [ "$(_honeyguide_stamped_sum "$stamp")" = "$2" ] || return 1
    packages="$(tail -n 1 "$stamp")"
    # installing or removing a package renews the time of this folder
    [ -d "$packages" ] && ! [ "$packages" -nt "$stamp" ]
}

# Stamps environment $1 for checksum $2, if the check of its packages (with $3 = dev or not) agrees.
_honeyguide_approve() {
    local stamp found
    stamp="$(_honeyguide_stamp "$1")"
    if ! found="$(_honeyguide_check_packages "$1" "$3")"; then
        printf '%s\n' "$found"
        return 1
    fi
    mkdir -p "${stamp%/*}" && printf '%s\n' "$2" "$found" > "$stamp.partial" && mv -f "$stamp.partial" "$stamp"
}

# Makes the virtual environment $1 where there is none, and installs the packages into it.
_honeyguide_install() {
    local venv="$1" marker="$1.installing" python='' fresh='' owner='' links
    if [ -f "$marker" ]; then
        owner="$(cat "$marker")"
        if [ "$owner" != "$$" ] && kill -0 "$owner" 2> /dev/null; then
            _honeyguide_say "the shell with process id $owner is installing into $venv: wait for it, or remove $marker"
            return 1
        fi
        _honeyguide_say "the last installation was interrupted: making $venv afresh"
        fresh=1
    elif ! [ -x "$venv/bin/python" ]; then
        fresh=1
    fi
    if [ -d "$venv" ] && ! [ -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv" 2> /dev/null)" ] && [ -z "$owner" ]; then
        _honeyguide_say "$venv exists and is not a virtual environment: set HONEYGUIDE_VENV to another folder"
        return 1
    fi
    if [ -n "$fresh" ]; then
        python="$(_honeyguide_find_python)" || return 1
    fi
    mkdir -p "${venv%/*}" && printf '%s\n' "$$" > "$marker" || {
        _honeyguide_say "can't write to ${venv%/*}: set HONEYGUIDE_VENV to a folder that you may write to"
        return 1
    }
    if command -v uv > /dev/null 2>&1; then
        _honeyguide_say "installing into $venv with uv ..."
        links="${UV_FIND_LINKS:-}"
        [ -n "$links" ] || links="$(printf '%s' "${PIP_FIND_LINKS:-}" | tr -s ' ' ',')"
        (
            # uv does not read pip's settings
            if [ -n "$links" ]; then export UV_FIND_LINKS="$links"; fi
            if [ -n "$fresh" ]; then uv venv --quiet --clear --python "$python" "$venv" || exit 1; fi
            uv pip install --quiet --python "$venv/bin/python" -c "$HONEYGUIDE_ROOT/constraints.txt" \
                -r "$HONEYGUIDE_ROOT/pyproject.toml" --extra dev
        )
    else
        _honeyguide_say "installing into $venv with pip (uv would be several times faster) ..."
        (
            if [ -n "$fresh" ]; then
                "$python" -m venv --clear "$venv" || {
                    _honeyguide_say "\"$python -m venv\" failed: it needs the module venv (Debian: apt install python3-venv)"
                    exit 1
                }
            fi
            # pip can't read the dependencies of a project that is not a package
            "$venv/bin/python" - "$HONEYGUIDE_ROOT" << 'EOF'
import subprocess, sys, tomllib
with open(f"{sys.argv[1]}/pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
sys.exit(subprocess.call([*pip, "-c", f"{sys.argv[1]}/constraints.txt", *wanted]))
EOF
        )
    fi || {
        # an environment that had been good stays; one that never was is made afresh next time
        [ -n "$fresh" ] || rm -f "$marker"
        _honeyguide_say "the installation into $venv failed, see above"
        return 1
    }
    rm -f "$marker"
}

# Prints the names of all sites.
_honeyguide_sites() {
    (cd "$_honeyguide_root/configs/sites" && find . -name '*.cfg' | sed 's|^./||; s|.cfg$||' | sort | tr '\n' ' ')
}

# Finds or makes the environment and puts it on the PATH.
_honeyguide_environment() {
    local venv="${HONEYGUIDE_VENV:-}" active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}" sum reason=''
    sum="$(cat "$HONEYGUIDE_ROOT/pyproject.toml" "$HONEYGUIDE_ROOT/constraints.txt" | cksum)"
    if [ -z "$venv" ]; then
        venv="$HONEYGUIDE_ROOT/.venv"
        if [ -n "$active" ] && [ "$active" != "$venv" ] && [ "$(command -v python)" = "$active/bin/python" ]; then
            if _honeyguide_is_ready "$active" "$sum" || reason="$(_honeyguide_approve "$active" "$sum" packages)"; then
                _honeyguide_say "using the active environment $active"
                _honeyguide_prefix="$active"
                return 0
            fi
            _honeyguide_say "not using the active environment $active: $reason"
        fi
    fi
    case "$venv" in
        /*) ;;
        *) venv="$PWD/$venv" ;;
    esac
    if [ -f "$venv.installing" ] || ! _honeyguide_is_ready "$venv" "$sum"; then
        # one without any stamp may have been made by hand, and one whose stamp is old need not lack anything
        if [ -f "$venv.installing" ] || ! [ -x "$venv/bin/python" ] || _honeyguide_has_other_sum "$venv" "$sum" \
            || ! reason="$(_honeyguide_approve "$venv" "$sum" dev)"; then
            [ -z "$reason" ] || _honeyguide_say "$venv: $reason"
            _honeyguide_install "$venv" || return 1
            if ! reason="$(_honeyguide_approve "$venv" "$sum" dev)"; then
                _honeyguide_say "after the installation into $venv: $reason"
                return 1
            fi
        fi
    fi
    if [ "${VIRTUAL_ENV:-}" != "$venv" ] || [ "$(command -v python)" != "$venv/bin/python" ]; then
        # shellcheck disable=SC1091
        . "$venv/bin/activate" || return 1
    fi
    _honeyguide_prefix="$venv"
    _honeyguide_say "using $venv"
}

# Tells whether environment $1 was stamped for requirements other than those with checksum $2.
_honeyguide_has_other_sum() {
    local stamped
    stamped="$(_honeyguide_stamped_sum "$(_honeyguide_stamp "$1")")" && [ "$stamped" != "$2" ]
}

# Exports the variables. What was a default for another checkout is not kept as if the user had chosen it.
_honeyguide_variables() {
    if [ -n "${HONEYGUIDE_ROOT:-}" ] && [ "$HONEYGUIDE_ROOT" != "$1" ]; then
        [ "${HONEYGUIDE_STORE:-}" != "$HONEYGUIDE_ROOT/store" ] || unset HONEYGUIDE_STORE
        [ "${HONEYGUIDE_DATA:-}" != "$HONEYGUIDE_ROOT/data" ] || unset HONEYGUIDE_DATA
    fi
    export HONEYGUIDE_ROOT="$1"
    export HONEYGUIDE_STORE="${HONEYGUIDE_STORE:-$1/store}"
    export HONEYGUIDE_DATA="${HONEYGUIDE_DATA:-$1/data}"
    # a relative path would be another folder after each cd
    case "$HONEYGUIDE_STORE" in /*) ;; *) HONEYGUIDE_STORE="$PWD/$HONEYGUIDE_STORE" ;; esac
    case "$HONEYGUIDE_DATA" in /*) ;; *) HONEYGUIDE_DATA="$PWD/$HONEYGUIDE_DATA" ;; esac
    export LAW_HOME="$1/.law"
    export LAW_CONFIG_FILE="$1/law.cfg"
    case ":${PYTHONPATH:-}:" in
        ":$1:"*) ;;
        *) export PYTHONPATH="$1${PYTHONPATH:+:$PYTHONPATH}" ;;
    esac
}

# Renews law's index when a task or a folder with tasks is newer: `law run` and tab completion look tasks up in it.
_honeyguide_index() {
    local index="$LAW_HOME/index" output
    if [ -f "$index" ] && [ -z "$(find "$HONEYGUIDE_ROOT/law.cfg" "$HONEYGUIDE_ROOT/tasks" "$HONEYGUIDE_ROOT/workflows" \
        -name __pycache__ -prune -o -newer "$index" -print)" ]; then
        return 0
    fi
    if ! output="$(law index --quiet 2>&1)"; then
        rm -f "$index"
        _honeyguide_say "law can't index the tasks:"
        printf '%s\n' "$output" >&2
        return 1
    fi
}

# Completion for interactive shells; what `source "$(law completion)"` does, without starting Python to find the file.
_honeyguide_completion() {
    local script
    case "$-" in
        *i*) ;;
        *) return 0 ;;
    esac
    case "$LAW_HOME" in
        *[[:space:]]*)
            _honeyguide_say "no tab completion: law's can't read an index in a path with spaces"
            return 0
            ;;
    esac
    script="$(tail -n 1 "$(_honeyguide_stamp "$_honeyguide_prefix")")/law/cli/completion.sh"
    [ -f "$script" ] || return 0
    if [ -n "${ZSH_VERSION:-}" ]; then
        whence compdef > /dev/null || { autoload -Uz compinit && compinit -i; }
        whence complete > /dev/null || { autoload -Uz bashcompinit && bashcompinit; }
    fi
    # this mark is exported, but a zsh started from a bash has none of the functions that it stands for
    unset _law_polyfills_loaded
    # shellcheck disable=SC1090
    LAW_CLI_SKIP_COMPLETION=1 . "$script"
    complete -o bashdefault -o default -F _law_complete law
}

_honeyguide_main() {
    if [ -n "${ZSH_VERSION:-}" ]; then emulate -L sh; fi
    _honeyguide_environment && _honeyguide_index || return 1
    _honeyguide_say "outputs go to $HONEYGUIDE_STORE; try: law run ROCCurveTask --config quickstart"
}

_honeyguide_cleanup() {
    unset _honeyguide_file _honeyguide_root _honeyguide_prefix
    unset -f _honeyguide_say _honeyguide_sites _honeyguide_find_python _honeyguide_check_packages _honeyguide_stamp \
        _honeyguide_stamped_sum _honeyguide_is_ready _honeyguide_has_other_sum _honeyguide_approve _honeyguide_install \
        _honeyguide_environment _honeyguide_variables _honeyguide_index _honeyguide_completion _honeyguide_main \
        _honeyguide_cleanup
}

if [ -n "${ZSH_VERSION:-}" ]; then
    _honeyguide_file="${(%):-%x}"
else
    _honeyguide_file="${BASH_SOURCE[0]}"
fi
_honeyguide_root="$(CDPATH='' cd -- "$(dirname -- "$_honeyguide_file")" > /dev/null && pwd -P)"

if [ -n "${BASH_VERSION:-}" ] && [ "$_honeyguide_file" = "$0" ]; then
    _honeyguide_say "setup.sh changes the shell, so it is sourced, not run: source $0"
    exit 1
fi

# Conditions everywhere: the `errexit` of a user's shell must not end it in the middle. Not inside a function, because
# there plain assignments and `typeset` in local_setup.sh would be local in zsh or be read with other options.
# shellcheck disable=SC1091
if [ -f "$_honeyguide_root/local_setup.sh" ] && ! . "$_honeyguide_root/local_setup.sh"; then
    _honeyguide_say "$_honeyguide_root/local_setup.sh failed: its last command must succeed"
    _honeyguide_cleanup
    return 1
fi
export HONEYGUIDE_SITE="${HONEYGUIDE_SITE:-local}"
# shellcheck disable=SC1090
if [ "$HONEYGUIDE_SITE" != local ] && ! [ -f "$_honeyguide_root/configs/sites/$HONEYGUIDE_SITE.cfg" ]; then
    _honeyguide_say "HONEYGUIDE_SITE=$HONEYGUIDE_SITE: no such site, there are $(_honeyguide_sites)"
    _honeyguide_cleanup
    return 1
elif [ -f "$_honeyguide_root/configs/sites/$HONEYGUIDE_SITE.sh" ] \
    && ! . "$_honeyguide_root/configs/sites/$HONEYGUIDE_SITE.sh"; then
    _honeyguide_say "configs/sites/$HONEYGUIDE_SITE.sh failed: its last command must succeed"
    _honeyguide_cleanup
    return 1
fi
if _honeyguide_variables "$_honeyguide_root" && _honeyguide_main && _honeyguide_completion; then
    _honeyguide_cleanup
else
    _honeyguide_cleanup
    return 1
fi
