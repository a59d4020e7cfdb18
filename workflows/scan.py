"""Scans over settings of a training: a grid, random points, or a study that learns from the points before."""

from __future__ import annotations

import argparse
import shutil
from typing import TYPE_CHECKING, Any

import law
import luigi

from honeyguide.errors import ConfigError, ModelError, nearest_name
from honeyguide.training.stopping import AbandonedError
from tasks.base import HoneyguideTask, digest_of, store
from tasks.remote import RemoteWorkflow
from tasks.targets import FolderTarget
from tasks.training import TrainingParameters, TrainingTask

if TYPE_CHECKING:
    from pathlib import Path

    from honeyguide.scans.results import Row
    from honeyguide.scans.space import Space
    from honeyguide.scans.study import Study, StudyTrial

_RESOURCES = {*RemoteWorkflow.exclude_params_req, "retries"}
METHODS = ("grid", "random", "optuna")


class _Words(argparse.Action):
    """Joins the words after an option, and those after the same option again."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: Any = None) -> None:
        words = [values] if isinstance(values, str) else values
        setattr(namespace, self.dest, " ".join(filter(None, (getattr(namespace, self.dest, None), *words))))


class ScanParameter(luigi.Parameter[tuple[str, ...]]):
    """A tuple of ``key=values``, given as words."""

    @classmethod
    def _parser_kwargs(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**super()._parser_kwargs(*args, **kwargs), "action": _Words, "nargs": "+"}

    def parse(self, x: str) -> tuple[str, ...]:
        """Returns the words."""
        from configs.scan import scan_items

        return scan_items(x)

    def serialize(self, x: tuple[str, ...]) -> str:
        """Returns the string that :meth:`parse` reads."""
        return " ".join(x)


class ScanParameters(TrainingParameters):
    """What is scanned, and how."""

    scan = ScanParameter(
        description="what to vary, 'key=a,b,c' for each key of the config, with spaces between them; for random scans "
        "and studies also 'key=uniform(a,b)', 'log(a,b)', 'int(a,b)' or 'logint(a,b)'; no default",
    )
    method = luigi.ChoiceParameter(
        choices=METHODS,
        default="grid",
        description="all combinations (grid), points at random (random), or a study that chooses each point by those "
        "before and gives up what is worse than the median (optuna); default: grid",
    )
    num_points = luigi.IntParameter(
        default=20, description="points of a random scan, trials of a study; more begin with the same; default: 20"
    )
    scan_seed = luigi.IntParameter(default=1, description="seed of the random points; default: 1")
    objective = luigi.Parameter(
        default="total",
        description="term of the validation loss that counts, at the epoch whose weights are kept; default: total, the "
        "weighted sum that is trained",
    )
    direction = luigi.Parameter(
        default=law.NO_STR,
        description="what is better: minimize or maximize; default: maximize for accuracy, else minimize",
    )
    warmup_epochs = luigi.IntParameter(
        default=5, description="epochs before a study may give up a training; default: 5"
    )

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Returns the parameters, after every point was looked at: a wrong one is found before any job is submitted."""
        from configs.load import load_experiment

        params = super().modify_param_values(params)
        model: Any = load_experiment(params["config"], params["set"]).settings.model
        terms = ("total", *model.terms)
        if params["objective"] not in terms:
            raise ConfigError(
                "the model has no such term",
                where="--objective",
                got=params["objective"],
                nearest=nearest_name(params["objective"], terms),
                allowed=", ".join(terms),
            )
        if params["direction"] == law.NO_STR:
            params["direction"] = "maximize" if params["objective"] == "accuracy" else "minimize"
        if params["direction"] not in ("minimize", "maximize"):
            raise ConfigError("no such direction", where="--direction", allowed="minimize, maximize")
        if params["num_points"] < 1:
            raise ConfigError("a scan has points", where="--num-points", got=params["num_points"], allowed="1 or more")
        _points(params)
        return params

    @property
    def scan_space(self) -> Space:
        """What is varied."""
        from configs.scan import scan_space

        return scan_space(self.config, self.set, self.scan)

    @property
    def scan_points(self) -> tuple[tuple[str, ...], ...]:
        """The overrides of each point of a grid or random scan."""
        return _points(self.param_kwargs)


def _points(params: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    from configs.scan import check_study, scan_points
    from honeyguide.scans.study import check_installed

    given = (params["config"], params["set"], params["scan"])
    if params["method"] == "optuna":
        check_installed()
        check_study(*given)
        return ()
    return scan_points(*given, method=params["method"], number=params["num_points"], seed=params["scan_seed"])


class _TrainingJobs(ScanParameters, TrainingTask):
    """Branches that train; their jobs ask for what those of TrainingTask do, where nothing else is said."""

    exclude_index = True

    @classmethod
    def get_param_values(cls, params: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Returns the values of all parameters."""
        for name, parameter in params:
            if name in _RESOURCES and name not in kwargs:
                own = parameter.task_value(cls.get_task_family(), name)
                is_default = own == parameter.task_value("", name)
                kwargs[name] = parameter.task_value("TrainingTask", name) if is_default else own
        return super().get_param_values(params, args, kwargs)

    def of_point(self, point: tuple[str, ...]) -> TrainingTask:
        """Returns the workflow of a point's trainings, whose jobs would ask for what those of this task do."""
        return TrainingTask.req(self, set=point, branch=-1, **{name: getattr(self, name) for name in _RESOURCES})

    def trainings(self, point: tuple[str, ...]) -> dict[int, TrainingTask]:
        """Returns the trainings with a point's overrides: one for each seed and fold."""
        workflow = self.of_point(point)
        return {number: workflow.as_branch(number) for number in range(len(workflow.training_branches))}


class ScanTrainingTask(_TrainingJobs):
    """Train every point of a grid or random scan; a branch is one training: a point with one seed, and one fold.

        law run ScanTrainingTask --config quickstart --scan training.lr=1e-3,1e-4 model.latent=2,3
        law run ScanTrainingTask --scan training.lr=1e-3,1e-4 --workflow slurm --parallel-jobs 20

    Outputs: those of TrainingTask, which finds them done; where a training has diverged, ``failure.json`` in their
    place, which says why.
    """

    exclude_index = False

    def create_branch_map(self) -> list[Any]:
        """Returns (overrides of the point, number of the training)."""
        if self.method == "optuna":
            raise ConfigError("a study has no points before it begins", where="--method", hint="law run ScanTask")
        return [(point, number) for point in self.scan_points for number in self.trainings(point)]

    @property
    def training(self) -> TrainingTask:
        """The branch's training."""
        point, number = self.branch_data
        return TrainingTask.req(self, set=point, branch=number, nodes=self.nodes)

    def branch_name(self) -> str:
        """Returns the numbers of the point, seed and fold."""
        return f"point{self.scan_points.index(self.branch_data[0])}-{self.training.branch_name()}"

    def workflow_requires(self) -> dict[str, Any]:
        """Returns what the trainings of all points need, each once."""
        needed = [task for point in self.scan_points for task in _flat(self.of_point(point).workflow_requires())]
        return {"trainings": list(dict.fromkeys(needed))}

    def requires(self) -> dict[str, HoneyguideTask]:
        """Returns what the training needs."""
        return self.training.requires()

    def identity(self) -> dict[str, Any]:
        """Returns what a failure depends on: the training."""
        return {"task": self.task_family, "training": self.training.digest}

    def output(self) -> FolderTarget:
        """Returns the training's output, or the record of its failure where there is one."""
        trained = self.training.output().folder
        failure = store().joinpath(self.task_family, *self.path_parts(), trained.name)  # whatever the point's number
        return _Trained(str(trained), FolderTarget(str(failure)))

    def run(self) -> None:
        """Trains, or writes down that the training has diverged."""
        from honeyguide.scans.outcomes import write_failure

        try:
            self.training.train()
        except ModelError as error:
            with self.output().failure.write(**self.provenance()) as folder:
                write_failure(folder, error.what)
            self.publish_message(f"{self.branch_name()}, {', '.join(self.branch_data[0])}: {error}")


class _Trained(FolderTarget):
    """A training, or the record of its failure."""

    def __init__(self, path: str, failure: FolderTarget) -> None:
        super().__init__(path)
        self.failure = failure

    def exists(self, **_: Any) -> bool:
        """Returns whether either is there."""
        return super().exists() or self.failure.exists()

    def remove(self, silent: bool = True, **_: Any) -> bool:
        """Removes both, and returns whether there was one."""
        failure = self.failure.remove()
        return super().remove(silent=silent or failure) or failure

    @property
    def found(self) -> Path:
        """The folder that is there."""
        return self.folder if super().exists() else self.failure.folder


class ScanTrialTask(_TrainingJobs):
    """Make the trials of a study; a branch is a trial: Optuna chooses its point when the branch begins.

        law run ScanTrialTask --scan "training.lr=log(1e-5,1e-2)" "model.latent=int(2,8)" --method optuna
        law run ScanTrialTask --scan "training.lr=log(1e-5,1e-2)" --method optuna --num-points 50 --workers 4

    Outputs: ``trial.json`` (point, objective, values by epoch), and of trials that were not given up the trainings,
    those of TrainingTask. The study is ``study-<digest>/study.sqlite`` beside them. A branch that was killed goes on
    with its trial, from its checkpoint.
    """

    exclude_index = False
    result_version = 1

    def create_branch_map(self) -> list[Any]:
        """Returns the numbers of the trials."""
        if self.method != "optuna":
            raise ConfigError("this is no study", where="--method", got=self.method, hint="law run ScanTask")
        return list(range(self.num_points))

    def branch_name(self) -> str:
        """Returns the number of the trial, by branches."""
        return f"trial{self.branch}"

    def workflow_requires(self) -> dict[str, Any]:
        """Returns what the trainings need, which is the same for all."""
        return self.of_point(self.set).workflow_requires()

    def requires(self) -> dict[str, Any]:
        """Returns what each training needs."""
        return {training.branch_name(): training.requires() for training in self.trainings(self.set).values()}

    def study_identity(self) -> dict[str, Any]:
        """Returns what the study depends on: what is varied and how, and the trainings of the config as it is."""
        return {
            "task": "ScanTrialTask",
            "result_version": self.result_version,
            "space": {key: str(values) for key, values in self.scan_space.items()},
            "settings": [self.scan_seed, self.objective, self.direction, self.warmup_epochs],
            "trainings": [task.digest for task in self.trainings(self.set).values()],
        }

    def identity(self) -> dict[str, Any]:
        """Returns what a trial depends on: the study and its number."""
        return {"study": self.study_identity(), "trial": self.branch}

    def study(self) -> Study:
        """Returns the study."""
        from honeyguide.scans.study import Study

        return Study(
            self.output().folder.with_name(f"study-{digest_of(self.study_identity())}"),
            self.scan_space,
            objective=self.objective,
            direction=self.direction,
            seed=self.scan_seed,
            warmup_epochs=self.warmup_epochs,
        )

    def run(self) -> None:
        """Makes the trial, or goes on with it."""
        with self.study().trial(self.branch) as trial, self.write_output() as folder:
            if trial.is_running:
                self.make(trial)
            trial.write(folder)

    def make(self, trial: StudyTrial) -> None:
        """Trains with the trial's point, and ends the trial; the study may give up the first training of several."""
        from configs.scan import point_overrides
        from honeyguide.scans.outcomes import read_metrics, read_outcome

        trainings = self.trainings(point_overrides(self.set, trial.point))
        try:
            for number, training in trainings.items():
                if not training.complete():
                    training.train(trial.reference if number == 0 else None)
        except (AbandonedError, ModelError) as error:
            shutil.rmtree(training.output().checkpoint, ignore_errors=True)
            trial.give_up(error.what if isinstance(error, ModelError) else "")
        else:
            folders = [training.output().folder for training in trainings.values()]
            outcomes = [read_outcome(folder, self.objective) for folder in folders]
            trial.complete(outcomes, read_metrics(folders[0])["epochs"])


class ScanTask(ScanParameters):
    """Scan settings of a training: a table of all points, figures, the importance of each setting, the best config.

        law run ScanTask --config quickstart --scan training.lr=1e-3,1e-4 model.latent=2,3
        law run ScanTask --method random --num-points 30 --scan "training.lr=log(1e-5,1e-2)" "model.latent=int(2,8)"
        law run ScanTask --method optuna --num-points 30 --scan "training.lr=log(1e-5,1e-2)" --workers 4
        law run ScanTask --scan training.lr=1e-3,1e-4 --set "training.seeds=[1,2,3]" --workflow slurm

    Outputs: ``scan.csv``, ``scan.json`` and ``scan.md`` (a line per point), figures as PNG and PDF (parallel
    coordinates, importance, the objective against each setting), and the best point as an experiment,
    ``best/<experiment>.yaml``. Trainings that are there already are not made again.
    """

    result_version = 1

    def requires(self) -> ScanTrainingTask | ScanTrialTask:
        """Returns the trainings, or the trials."""
        return (ScanTrialTask if self.method == "optuna" else ScanTrainingTask).req(self)

    def identity(self) -> dict[str, Any]:
        """Returns what the table depends on: what is varied, and every training or trial."""
        return {
            **super().identity(),
            "scan": [
                self.method,
                self.objective,
                self.direction,
                [[key, str(values)] for key, values in self.scan_space.items()],
            ],
            "branches": [branch.digest for branch in self.requires().get_branch_tasks().values()],
        }

    def rows(self) -> list[Row]:
        """Returns what came of every point."""
        from configs.scan import point_of
        from honeyguide.scans.results import row_of_trainings, row_of_trial

        branches = self.requires().get_branch_tasks().values()
        if self.method == "optuna":
            return [row_of_trial(branch.output().folder, direction=self.direction) for branch in branches]
        found: dict[tuple[str, ...], list[Path]] = {}
        for branch in branches:
            found.setdefault(branch.branch_data[0], []).append(branch.output().found)
        return [
            row_of_trainings(number, point_of(self.scan_space, point), folders, objective=self.objective)
            for number, (point, folders) in enumerate(found.items())
        ]

    def run(self) -> None:
        """Collects, draws, and writes the best config."""
        from configs.scan import point_overrides, write_config
        from honeyguide.scans.results import markdown, summarise

        if self.method == "optuna":
            self.requires().as_branch(0).study().close()
        with self.write_output() as folder:
            scan = summarise(
                self.rows(),
                folder,
                space=self.scan_space,
                objective=self.objective,
                direction=self.direction,
                method=self.method,
            )
            best = folder / "best" / f"{self.experiment.name}.yaml"
            best.parent.mkdir()
            write_config(best, self.config, point_overrides(self.set, scan.best.point))
        path = self.output().path
        self.publish_message(f"{markdown(scan, most=20)}best: {path}/best/{best.name}\nfigures and numbers: {path}")


def _flat(required: Any) -> list[HoneyguideTask]:
    if isinstance(required, dict):
        return [task for value in required.values() for task in _flat(value)]
    return [task for value in required for task in _flat(value)] if isinstance(required, list) else [required]
