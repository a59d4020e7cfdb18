# shellcheck shell=bash
# CERN, lxplus and its batch nodes: setup.sh sources this before it looks for Python, each job before its environment.

# lots of data: EOS. What HTCondor's schedulers write (states, logs) and read (job files): AFS, they don't take EOS
export HONEYGUIDE_STORE="${HONEYGUIDE_STORE:-/eos/user/${USER:0:1}/$USER/honeyguide}"
export HONEYGUIDE_JOBS="${HONEYGUIDE_JOBS:-/afs/cern.ch/work/${USER:0:1}/$USER/honeyguide-jobs}"
