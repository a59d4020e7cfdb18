#!/usr/bin/env bash
# The job: what Slurm or HTCondor starts, with whatever little of an environment. It makes the submitter's environment, runs
# the branches it is told to in one law process, hands signals on, and cleans up. What stands in double braces is filled in
# when jobs are submitted; the arguments are law's: module, class, parameters and branches (both in base64), ...
# With --node it is what the first node of a job starts on the others, to train with it.
exec 2>&1
stopped='' law=''
trap 'stopped=1; [ -z "$law" ] || kill -TERM "$law" 2> /dev/null' TERM

# HTCondor gets many jobs at once, whose arguments stand here by their numbers
declare -A _arguments_of=({{htcondor_job_arguments_map}})
if [ "${#_arguments_of[@]}" != 0 ]; then
    # shellcheck disable=SC2086
    set -- ${_arguments_of[$((LAW_HTCONDOR_JOB_PROCESS + 1))]}
fi

_say() { echo "honeyguide job: $*"; }

# a batch system may set none of these
export USER="${USER:-$(id -un)}"
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/bin:/usr/bin:/bin"

# Makes the folder for everything that is gone when the job is: on the node's own disk.
_make_scratch() {
    local base="${_CONDOR_SCRATCH_DIR:-${TMPDIR:-/tmp}}"
    # sockets of multiprocessing have paths of at most 107 characters, of which their own names take 40
    [ "${#base}" -le 50 ] && [ -w "$base" ] || base=/tmp
    scratch="$(mktemp -d "$base/hg_XXXXXX")" || return 1
    trap 'cd /; rm -rf "$scratch"' EXIT
    mkdir "$scratch/tmp"
    export TMPDIR="$scratch/tmp" TMP="$scratch/tmp" TEMP="$scratch/tmp"
    export HOME="${HOME:-$scratch}"
}

# Finds the checkout, or unpacks the one that was shipped.
_find_checkout() {
    root="{{honeyguide_root}}" venv="{{honeyguide_venv}}"
    if [ -n "{{honeyguide_bundle}}" ]; then
        _unpack || return 1
    elif ! [ -f "$root/law.cfg" ]; then
        _say "the checkout $root is not seen from $(hostname): put it on a shared file system, or give --ship" && return 1
    fi
    _source_site "$root"
}

# What the site says of its nodes: modules, folders, options of apptainer.
_source_site() {
    local file="$1/configs/sites/{{honeyguide_site}}.sh"
    # shellcheck disable=SC1090
    ! [ -f "$file" ] || . "$file" || { _say "$file failed" && return 1; }
}

# Unpacks what was shipped: it is on the store, or HTCondor has brought it.
_unpack() {
    local name
    root="$scratch/honeyguide" venv="$scratch/venv"
    mkdir "$root"
    for name in {{honeyguide_bundle}}; do
        [ -f "$name" ] || name="$started_in/${name##*/}"
        [ -f "$name" ] || { _say "what was shipped is not there: $name" && return 1; }
        case "$name" in
            *environment*) environment="$name" ;;
            *) tar -xzf "$name" -C "$root" || return 1 ;;
        esac
    done
}

# Activates the environment: the submitter's, the shipped one, or one that is built here.
_activate() {
    if [ -n "{{honeyguide_bundle}}" ]; then
        # shellcheck disable=SC1091
        . "$root/tasks/shipped_environment.sh" "$venv" "${environment:-}" "$root" || { _say "no environment" && return 1; }
    fi
    if [ -n "${HONEYGUIDE_IN_CONTAINER:-}" ] && ! "$venv/bin/python" -c '' 2> /dev/null; then
        # an image with an environment of its own
        python -c 'import law' || { _say "neither $venv works in the container nor has it law itself" && return 1; }
    elif [ -f "$venv/bin/activate" ]; then
        # shellcheck disable=SC1091
        . "$venv/bin/activate"
    elif [ -x "$venv/bin/python" ]; then
        export PATH="$venv/bin:$PATH" # conda
    else
        _say "the environment $venv is not seen from $(hostname): put it on a shared file system, or give --ship" && return 1
    fi
}

_set_variables() {
    export HONEYGUIDE_ROOT="$root" HONEYGUIDE_SITE="{{honeyguide_site}}"
    export HONEYGUIDE_STORE="{{honeyguide_store}}" HONEYGUIDE_DATA="{{honeyguide_data}}"
    export PYTHONPATH="$root" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
    export LAW_CONFIG_FILE="$root/law.cfg" LAW_HOME="$scratch/law"
    # the scheduler's number of cores
    export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-${OMP_NUM_THREADS:-{{honeyguide_cpus}}}}"
    export HONEYGUIDE_CPUS="$OMP_NUM_THREADS" HONEYGUIDE_GPUS="{{honeyguide_gpus}}"
    # what can go on later says so here
    export HONEYGUIDE_GO_ON_LATER="$scratch/go_on_later"
    mkdir "$LAW_HOME"
    [ -d "$HONEYGUIDE_STORE" ] || { _say "the store $HONEYGUIDE_STORE is not seen from $(hostname)" && return 1; }
}

# Starts the same again in the container, where there is one to be in.
_enter_container() {
    local image="{{honeyguide_container}}"
    [ -n "$image" ] && [ -z "${HONEYGUIDE_IN_CONTAINER:-}" ] || return 0
    command -v apptainer > /dev/null || { _say "there is no apptainer on $(hostname), for $image" && return 1; }
    _source_site "{{honeyguide_root}}" || return 1
    export HONEYGUIDE_IN_CONTAINER="$image"
    local folder binds=()
    for folder in "{{honeyguide_root}}" "{{honeyguide_venv}}" "{{honeyguide_store}}" "{{honeyguide_data}}" "$started_in" "${_CONDOR_SCRATCH_DIR:-}"; do
        if [ -d "$folder" ]; then binds+=(--bind "$folder"); fi
    done
    local this="${BASH_SOURCE[0]}"
    # shellcheck disable=SC2086
    exec apptainer exec {{honeyguide_container_options}} "${binds[@]}" --bind "$(dirname "$this")" "$image" bash "$this" "$@"
}

# Runs the branches and hands SIGTERM (preemption, the time limit) on to law, which only a foreground shell could not.
_run_law() {
    local module="$1" class="$2" parameters branches command
    parameters="$(base64 --decode <<< "$3")" branches="$(base64 --decode <<< "$4")"
    # one law process for all of them: they share its imports
    case "$branches" in
        *' '*) branches="--workflow local --branches ${branches// /,}" ;;
        *) branches="--branch $branches" ;;
    esac
    command="python -m law run $module.$class $parameters $branches --workers $5"
    _say "$command"
    [ -z "$stopped" ] || return
    # HTCondor says nothing before the time is over; without exec there would be another shell between
    local seconds="{{honeyguide_seconds}}"
    [ -z "$SLURM_JOB_ID" ] || seconds=0
    eval "exec timeout --foreground --signal=TERM ${seconds:-0} $command" &
    law=$!
    # wait ends early at a signal
    while wait "$law"; status=$?; kill -0 "$law" 2> /dev/null; do :; done
}

# Puts the job back into the queue, where it still runs: it may be there already, or somebody has cancelled it.
_go_on_later() {
    if [ -n "$SLURM_JOB_ID" ]; then
        local state
        state="$(scontrol show job "$SLURM_JOB_ID" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p' | head -n 1)"
        [ "$state" = RUNNING ] || { _say "was stopped, and Slurm says that it is ${state:-unknown}" && return; }
        _say "goes back into the queue, to go on later"
        scontrol requeue "$SLURM_JOB_ID"
    elif [ -n "$LAW_HTCONDOR_JOB_CLUSTER" ]; then
        _say "goes back into the queue, to go on later"
        status={{honeyguide_go_on_later}}
    fi
}

started_in="$PWD" status=1
export HONEYGUIDE_JOB_SCRIPT="$(readlink -f "${BASH_SOURCE[0]}")"
_say "$(date -Iseconds) on $(hostname)${SLURM_JOB_ID:+, Slurm job $SLURM_JOB_ID}${LAW_HTCONDOR_JOB_CLUSTER:+, HTCondor job $LAW_HTCONDOR_JOB_CLUSTER.$LAW_HTCONDOR_JOB_PROCESS}"
if _enter_container "$@" && _make_scratch && _find_checkout && _activate && _set_variables && cd "$root"; then
    if [ "$1" = --node ]; then
        python -m tasks.launch "${@:2}"
        exit
    fi
    _run_law "$@"
    [ ! -f "$HONEYGUIDE_GO_ON_LATER" ] || _go_on_later
else
    status=20
fi
_say "$(date -Iseconds) ends with status $status"
exit "$status"
