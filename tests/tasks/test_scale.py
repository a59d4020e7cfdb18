"""Many branches: the work per branch does not grow with their number."""

from __future__ import annotations

import inspect

import law.patches
import luigi
import luigi.worker

from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask
from tasks.generate import GenerateEventsTask
from tasks.scale import TaskHistory


class CountingTask(luigi.Task):
    """A task that counts how often it is compared."""

    number = luigi.IntParameter()
    compared = 0

    def __eq__(self, other: object) -> bool:
        CountingTask.compared += 1
        return self is other

    def __hash__(self) -> int:
        return hash(self.number)

    def complete(self) -> bool:
        """Nothing is to do."""
        return True


def test_law_still_needs_the_history() -> None:
    # if this fails, law has changed: see whether tasks/scale.py is needed at all
    assert "in self._add_task_history" in inspect.getsource(law.patches)


def test_adding_tasks_compares_none_of_them_with_each_other() -> None:
    worker = luigi.worker.Worker(scheduler=luigi.scheduler.Scheduler())
    assert isinstance(worker._add_task_history, TaskHistory)
    CountingTask.compared = 0
    for number in range(300):
        worker.add(CountingTask(number=number))
    assert len(worker._add_task_history) == 300
    # a plain list makes 300 * 299 / 2 comparisons
    assert CountingTask.compared < 3 * 300


def test_history_holds_what_a_list_would() -> None:
    history, plain = TaskHistory(), []
    tasks = [CountingTask(number=number) for number in range(3)]
    for entry in ((tasks[0], "PENDING", True), (tasks[0], "DONE", True), (tasks[1], "PENDING", False)):
        history.append(entry)
        plain.append(entry)
    asked = [(task, status, flag) for task in tasks for status in ("PENDING", "DONE") for flag in (True, False)]
    assert [entry in history for entry in asked] == [entry in plain for entry in asked]
    assert list(history) == plain


def test_parameters_are_looked_up_once_per_class() -> None:
    assert GenerateEventsTask.get_params() is GenerateEventsTask.get_params()
    assert [name for name, _ in GenerateEventsTask.get_params()] == [
        name for name, _ in super(HoneyguideTask, GenerateEventsTask).get_params()
    ]
    assert GenerateEventsTask.get_params() is not DatasetConstructorTask.get_params()
