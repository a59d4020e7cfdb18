# shellcheck shell=bash
# DESY's Maxwell: setup.sh sources this before it looks for Python, each job before its environment.

# jobs have no login shell, which would know the modules
if ! command -v module > /dev/null && [ -f /etc/profile.d/modules.sh ]; then
    # shellcheck disable=SC1091
    . /etc/profile.d/modules.sh
fi
