"""The base of all tasks: parameters, digests, output folders, provenance."""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import law
import luigi

from honeyguide.errors import ConfigError
from honeyguide.usage import measured
from tasks import errors, notifications, scale
from tasks.filelists import FilelistParameter
from tasks.notifications import Notifying
from tasks.targets import FolderTarget

if TYPE_CHECKING:
    from configs.load import Experiment

# configs (pydantic) and everything heavier are imported where they are used: `law index` and completion stay instant
errors.install()
scale.install()
notifications.install()
ROOT = Path(__file__).resolve().parent.parent


class _Joined(argparse.Action):
    """Keeps everything that an option is given, where plain argparse forgets all but the last without a word."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: Any = None) -> None:
        given = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{given},{values}" if given else values)


class OverridesParameter(luigi.Parameter[tuple[str, ...]]):
    """A tuple of ``section.key=value``, given as one string with commas between them, or in several."""

    @classmethod
    def _parser_kwargs(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**super()._parser_kwargs(*args, **kwargs), "action": _Joined}

    def parse(self, x: str) -> tuple[str, ...]:
        """Returns the overrides, sorted by key."""
        from configs.load import parse_overrides

        return parse_overrides(x)

    def serialize(self, x: tuple[str, ...]) -> str:
        """Returns the string that :meth:`parse` reads."""
        return ",".join(x)


class WorkflowParameter(luigi.Parameter[str]):
    """Where branches run; law takes a name that it does not know for ``local``, without a word."""

    kinds: ClassVar[tuple[str, ...]] = ("local", "slurm", "htcondor")

    def parse(self, x: str) -> str:
        """Returns the name.

        Raises:
            ConfigError: There is no such workflow.
        """
        if x not in (*self.kinds, law.NO_STR):
            raise ConfigError("there is no such workflow", where="--workflow", got=x, allowed=", ".join(self.kinds))
        return x


class HoneyguideTask(Notifying):
    """Base task: an output is a folder whose path has a digest of everything that the result depends on."""

    config = luigi.Parameter(
        default="quickstart", description="name in configs/experiments, or path of a YAML file; default: quickstart"
    )
    set = OverridesParameter(
        default=(),
        description="overrides 'section.key=value', with commas between them or an option each; default: none",
    )
    dataset_version = luigi.Parameter(
        default="v1", description="your tag for the dataset, part of its output paths; default: v1"
    )
    filelist = FilelistParameter(
        default=law.NO_STR,
        description="short for --set dataset.filelist=FILE, the files of samples with 'match'; default: the config's, "
        "else the one that this version of the dataset was converted with",
    )
    workflow = WorkflowParameter(
        default=law.NO_STR,
        significant=False,
        description="where the branches of this task, and of those upstream of it, run: local, slurm or htcondor; no "
        "result depends on it; default: local",
    )
    debug = luigi.BoolParameter(
        default=False,
        description="a quick try-out on the first file of each sample, the first chunk of it, in paths of its own; "
        "short for --set dataset.reader.debug=true; default: off",
    )
    print_usage = law.CSVParameter(
        default=(),
        significant=False,
        description="print what this task took (time, memory, hosts of its branches, what became of their jobs), "
        "and what tasks upstream of it did down to this depth, but do not run any task; 0: this one, -1: all",
    )

    interactive_params: ClassVar[list[str]] = [*law.Task.interactive_params, "print_usage"]
    sections: ClassVar[tuple[str, ...]] = ("dataset",)
    """Sections of the experiment that this task or one upstream of it depends on; overrides of others are dropped."""
    own_sections: ClassVar[tuple[str, ...]] = ()
    """Sections that this task itself depends on."""
    result_version: ClassVar[int] = 1
    """Counts up when the code makes another result of the same inputs and settings."""
    exclude_params_repr_empty: ClassVar[tuple[str, ...]] = (
        "set", "overlay", "label", "test_filelist", "test_dataset_version",
    )  # fmt: skip
    flags: ClassVar[dict[str, tuple[str, Any]]] = {
        "filelist": ("dataset.filelist", law.NO_STR),
        "debug": ("dataset.reader.debug", False),
    }
    """Parameters that stand for an override: name -> (section.key, value that means "not given"); those of the base
    classes hold, too."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.flags = {k: v for base in reversed(cls.__mro__) for k, v in vars(base).get("flags", {}).items()}
        # a flag has become an override by the time that anyone reads the task's name
        cls.exclude_params_repr = {*cls.exclude_params_repr, *cls.flags}
        if "run" in vars(cls):
            cls.run = _unless_complete(cls.run)

    @property
    def resources(self) -> dict[str, int]:
        """A lock on the output: two tasks that make the same one (of two configs, say) do not run at once."""
        return {} if getattr(self, "branch", 0) == -1 else {self.output().path: 1}

    @classmethod
    @functools.cache
    def get_params(cls) -> list[tuple[str, Any]]:
        """Returns the parameters of the class; luigi looks for them anew in each of nine calls per branch task."""
        params: list[tuple[str, Any]] = super().get_params()
        return params

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Returns the parameters with flags as overrides, and only those overrides that matter to this task.

        So two requests for one dataset that differ in, say, the number of epochs are one and the same task.
        """
        from configs.load import load_experiment, parse_overrides

        params = super().modify_param_values(params)
        given = list(params["set"])
        for name, (key, absent) in cls.flags.items():
            if params[name] != absent:
                given.append(f"{key}={_as_yaml(params[name])}")
                params[name] = absent
        overrides = parse_overrides(",".join(given))
        if params["config"].endswith((".yaml", ".yml")):
            params["config"] = str(Path(params["config"]).expanduser().absolute())
        load_experiment(params["config"], overrides)
        params["set"] = tuple(item for item in overrides if item.split(".")[0] in cls.sections)
        return params

    @functools.cached_property
    def experiment(self) -> Experiment:
        """The experiment with this task's overrides."""
        from configs.load import load_experiment

        return load_experiment(self.config, self.set)

    def identity(self) -> dict[str, Any]:
        """Returns everything that this task's result depends on, as plain JSON types."""
        from honeyguide.settings import significant_values

        own = {name: significant_values(getattr(self.experiment.settings, name)) for name in self.own_sections}
        return {"task": self.task_family, "result_version": self.result_version, "settings": own}

    @functools.cached_property
    def digest(self) -> str:
        """The digest of :meth:`identity`, 16 hexadecimal digits."""
        return digest_of(self.identity())

    def path_parts(self) -> tuple[str, ...]:
        """Returns the readable parts of the output path between the task's name and the digest."""
        return (self.experiment.dataset_name, self.dataset_version)

    def branch_name(self) -> str:
        """Returns what people call this branch, e.g. the sample's name; empty for tasks without branches."""
        return ""

    def output(self) -> FolderTarget:
        """Returns the folder ``$HONEYGUIDE_STORE/<task>/<config>/<version>/[<branch name>-]<digest>``."""
        name = "-".join(filter(None, (self.branch_name(), self.digest)))
        return FolderTarget(str(store().joinpath(self.task_family, *self.path_parts(), name)))

    @contextlib.contextmanager
    def write_output(self, **found: dict[str, Any]) -> Iterator[Path]:
        """Yields a temporary folder that becomes the output when the block ends without an error.

        Its manifest has the provenance, what the block took (:func:`honeyguide.usage.measured`), and what is in
        ``found`` when the block ends.
        """
        usage: dict[str, Any] = {}
        # the manifest is written when the outer block ends: it is told then what the inner one has found
        with self.output().write(**self.provenance(), usage=usage, **found) as folder, measured(usage):
            yield folder

    def provenance(self) -> dict[str, Any]:
        """Returns what made this output: identity, overrides, versions, git state, machine, time."""
        packages = ("law", "luigi", "numpy", "h5py", "torch", "pydantic")
        return {
            "identity": self.identity(),
            "config": self.config,
            "overrides": list(self.set),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
            "git": git_state(),
            "host": platform.node(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }

    def _print_usage(self, args: tuple[str, ...]) -> None:
        """Prints what is asked for by ``--print-usage``; law calls it."""
        from tasks.usage_summary import print_usage

        print_usage(self, int(args[0]))

    def progress(self, what: str, total: int | None = None) -> Callable[..., None]:
        """Returns a callback (done[, total]) that tells the scheduler and, at each tenth, the terminal."""
        return _Progress(self.publish_progress, self.publish_message, what, total)


def digest_of(identity: dict[str, Any]) -> str:
    """Returns the digest of what a result depends on, 16 hexadecimal digits."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def store() -> Path:
    """Returns the folder of all outputs."""
    return Path(os.environ.get("HONEYGUIDE_STORE", ROOT / "store"))


def _as_yaml(value: Any) -> str:
    """Returns a flag's value as an override has it; in quotes where something in it could be taken for YAML."""
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w./~@%+:-]+", value) else json.dumps(value)
    return json.dumps(value)


def _unless_complete(run: Callable[[HoneyguideTask], None]) -> Callable[[HoneyguideTask], None]:
    """Returns ``run`` that does nothing where another task has made the same output since the tasks were scheduled."""

    @functools.wraps(run)
    def run_unless_complete(self: HoneyguideTask) -> None:
        if not self.output().exists():
            run(self)

    return run_unless_complete


class _Progress:
    """Progress of one task; a callable object, so that the library never sees the task."""

    def __init__(
        self, percentage: Callable[[float], None], message: Callable[[str], None], what: str, total: int | None
    ) -> None:
        self._percentage, self._message, self._what, self._total = percentage, message, what, total
        self._tenths, self._start = 0, time.monotonic()

    def __call__(self, done: int, total: int | None = None) -> None:
        total = total or self._total or done
        fraction = done / total if total else 1.0
        self._percentage(100 * fraction)
        if int(10 * fraction) > self._tenths:
            self._tenths = int(10 * fraction)
            rate = done / max(time.monotonic() - self._start, 1e-9)
            self._message(f"{self._what}: {done:,} of {total:,} ({rate:,.0f}/s)")


@functools.lru_cache(maxsize=1)
def git_state() -> dict[str, Any]:
    """Returns the commit of the checkout and whether it has changes; ``{"commit": None}`` outside of a checkout."""
    # the checkout may be a colleague's, whose index is not to be written
    git = ["git", "--no-optional-locks", "-c", f"safe.directory={ROOT}"]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        status = subprocess.run([*git, "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        shipped = ROOT / "commit.json"  # beside a checkout that a job was given
        return json.loads(shipped.read_text()) if shipped.is_file() else {"commit": None}
    return {"commit": commit.stdout.strip(), "changed": bool(status.stdout.strip())}
