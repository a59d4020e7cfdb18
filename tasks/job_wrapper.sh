#!/usr/bin/env bash
# What the scheduler starts: it hands SIGTERM on to the task, which a plain bash would only do after the task has ended.
set -m
job_file="{{job_file}}"
# Slurm starts this file from another folder than that of the job's files
[ -f "$job_file" ] || job_file="$(dirname "${BASH_SOURCE[0]}")/$job_file"
bash "$job_file" "$@" &
job=$!
trap 'kill -TERM -- "-$job" 2> /dev/null' TERM
# wait ends early at a signal
while kill -0 "$job" 2> /dev/null; do wait "$job"; status=$?; done
exit "${status:-0}"
