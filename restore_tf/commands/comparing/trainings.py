"""The trainings of a comparison: one after another, each in a process of its own, resumable.

Trial trainings of a few steps run two at a time: most of such a training is start-up, on one core.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from pathlib import Path

from tqdm import tqdm

from restore_tf.commands import train, training_plan
from restore_tf.commands.comparing import processes
from restore_tf.commands.comparing.entries import Entry
from restore_tf.commands.comparing.request import Request
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import papers, run_directory
from restore_tf.system import outputs
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger

FOLDER, CALIBRATION = "trainings", "calibration"
_CALIBRATING = 60  # steps to measure a network's speed
_VALIDATED = 8  # pictures of a validation, the default of train.py
AUGMENT = "flip_rotate"  # of every network, if crops are to be the same


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a training.

    Attributes:
      seconds: its duration, over all starts.
      steps: its number of steps; 0 if it was not trained.
      networks: the number of networks that each step updates.
      failed: why it has no weights, or None.
    """

    seconds: float = 0.0
    steps: int = 0
    networks: int = 1
    failed: str | None = None


def networks_of(entry: Entry) -> int:
    """Returns the number of networks that a step of an entry's training updates.

    Adversaries count.

    Args:
      entry: of the comparison, with a training.
    """
    experiment = experiments.load_recipe(entry.training.model, entry.training.recipe)
    count = experiments.construct(experiment).updated_together
    parts = getattr(papers.find(experiment.model), "make_parts", None)
    return count + (len(parts(experiment)) if parts else 0)


def words(entry: Entry, request: Request, steps: int | None, before: str | None = None):
    """Returns the flags of train.py for an entry.

    Args:
      entry: one with a `Training`.
      request: the comparison's.
      steps: of the optimizers; None for the recipe's.
      before: the run on whose output it is trained, or None.
    """
    training = entry.training
    given = [f"--model={training.model}", f"--recipe={training.recipe}", f"--workdir={entry.run}"]
    given.append(f"--seed={request.seed}")
    if len(training.datasets) == 1:
        (pairs,) = training.datasets
        given += [f"--dataset={pairs.dataset}", f"--config={pairs.config}"]
        given += [f"--data_dir={pairs.data_dir}"] if pairs.data_dir else []
    else:
        given.append(f"--dataset={','.join(pairs.label for pairs in training.datasets)}")
        folders = [f"{each.label}={each.data_dir}" for each in training.datasets if each.data_dir]
        given += [f"--data_dir={','.join(folders)}"] if folders else []
    if request.budget != "recipe":
        same = {"batch": request.batch, "crop": request.crop, "augment": AUGMENT}
        given += [f"--set={field}={value}" for field, value in same.items()]
        if experiments.load_recipe(training.model, training.recipe).progressive:
            given.append("--set=progressive=()")
    given += [f"--steps={steps}"] if steps else []
    if request.limit is not None and request.limit < _VALIDATED:
        given.append(f"--validation_pictures={request.limit}")
    return given + ([f"--chain={before}"] if before else [])


def check(entry: Entry, request: Request) -> None:
    """Checks that an entry's training can begin, unless it was started before.

    Args:
      entry: of the comparison, with a training.
      request: the comparison's.

    Raises:
      UserError: anything that would keep the training from its first step.
    """
    steps = None if request.budget == "recipe" else request.steps
    values = train.define_flags()
    values(["train.py", *words(entry, request, steps)])
    if (Path(entry.run) / experiments.FILE_NAME).exists():
        return  # started before
    try:
        training_plan.make_plan(values)
    except UserError as error:
        raise UserError(f"{entry.name}: {error}") from None


class Trainer:
    """Trains entries, and records how long each took.

    Args:
      output: the comparison's folder.
      request: its request.
      stop: a `StopRequest`.
      server: forks trials; None for fresh processes.
    """

    def __init__(self, output: Path, request: Request, stop, server=None):
        self._output, self._request, self._stop = output, request, stop
        self._server: processes.ForkServer | None = server

    def train_all(
        self,
        entries: Sequence[Entry],
        runs: Mapping[str, str],
        trained: Callable[[Entry], None] = lambda entry: None,
    ) -> dict[str, Outcome]:
        """Trains what is not trained yet; returns {name: outcome} until a signal ends it.

        Args:
          entries: with a `Training` each.
          runs: {name: run directory or published name} of all entries.
          trained: of trials, called with each trained entry while the next ones are trained.
        """
        if self._server is not None:
            return self._train_trials(entries, runs, trained)
        outcomes: dict[str, Outcome] = {}
        for number, entry in enumerate(entries, 1):
            if self._stop.requested:
                break
            place = f"{number} of {len(entries)}{_left(outcomes, len(entries) - number + 1)}"
            outcomes[entry.name] = self._after(entry, outcomes) or self._outcome(
                entry, place, runs.get(entry.training.after)
            )
        return outcomes

    def _train_trials(self, entries, runs, trained):
        """Trains two at a time, those that follow others last."""
        order = sorted(entries, key=lambda entry: entry.training.after is not None)
        outcomes: dict[str, Outcome] = {}

        def train_one(number, entry):
            if not self._stop.requested:
                place = f"{number} of {len(order)}"
                outcomes[entry.name] = self._after(entry, outcomes) or self._outcome(
                    entry, place, runs.get(entry.training.after)
                )
                if not outcomes[entry.name].failed:
                    beside.submit(lambda: self._stop.requested or trained(entry))

        with (
            futures.ThreadPoolExecutor(1) as beside,
            futures.ThreadPoolExecutor(processes.SIDE_BY_SIDE) as pool,
        ):
            for follows in (False, True):
                each = [
                    pool.submit(train_one, number, entry)
                    for number, entry in enumerate(order, 1)
                    if (entry.training.after is not None) == follows
                ]
                for one in each:
                    one.result()
        return {entry.name: outcomes[entry.name] for entry in entries if entry.name in outcomes}

    def _after(self, entry, outcomes):
        """The outcome of an entry that follows an untrained network, else None."""
        before = entry.training.after
        if before in outcomes and outcomes[before].failed:
            return Outcome(failed=f"{before}, which it follows, was not trained")
        return None

    def _outcome(self, entry, place, before):
        networks = networks_of(entry)
        steps = self._steps(entry, networks, before)
        if self._stop.requested or isinstance(steps, str):
            return Outcome(networks=networks, failed=steps or "interrupted")
        seconds = self._known(entry)
        if not self._is_trained(entry, steps):
            left = f"{place}: {entry.name}, {steps:,} steps"
            logger.info("training %s", left + (f" of {networks} networks" * (networks > 1)))
            begin = time.monotonic()
            given = words(entry, self._request, steps, before)
            failed = self._run(entry, given, steps)
            seconds += time.monotonic() - begin
            self._remember(entry, seconds)
            if failed is None and not self._is_trained(entry, steps):
                failed = "interrupted"
            if failed is not None:
                logger.warning("%s: %s", entry.name, failed)
                return Outcome(seconds, steps, networks, failed)
        return Outcome(seconds, steps, networks)

    def _steps(self, entry, networks, before):
        """The optimizers' steps; a text if they could not be determined."""
        request = self._request
        recipe = experiments.load_recipe(entry.training.model, entry.training.recipe)
        if request.budget == "recipe":
            return recipe.steps
        if request.budget == "pixels":
            return max(1, request.steps // networks)
        path = self._output / CALIBRATION / f"{entry.name}.json"
        if not path.is_file():
            rate = self._rate(entry, recipe, before)
            if isinstance(rate, str) or rate is None:
                return rate
            _write(path, {"steps_per_second": rate})
        rate = json.loads(path.read_text(encoding="utf-8"))["steps_per_second"]
        return max(1, round(60 * request.minutes * rate))

    def _rate(self, entry, recipe, before):
        """The measured steps a second; None if interrupted, a text if it failed."""
        workdir = self._output / CALIBRATION / entry.name
        trial = dataclasses.replace(entry, run=str(workdir))
        given = words(trial, self._request, _CALIBRATING, before)
        # A warm-up without adversaries would be quicker than what follows it.
        given += ["--set=training.warmup=0"] if "warmup" in recipe.training else []
        given += ["--log_every=10", f"--validate_every={_CALIBRATING}"]
        logger.info("%s: measuring how quickly it trains", entry.name)
        failed = self._run(trial, given, _CALIBRATING)
        if failed is not None or not self._is_trained(trial, _CALIBRATING):
            return failed
        from restore_tf.training import run_log

        rates = [row["steps_per_second"] for row in run_log.read(workdir)]
        rates = [float(rate) for rate in rates if rate][1:]
        return statistics.median(rates) if rates else "its speed could not be measured"

    def _run(self, entry, given, steps):
        """One process; returns why it failed, or None."""
        log = self._output / FOLDER / f"{entry.name}.log"
        outputs.make_folder(log.parent)
        start = self._server.start if self._server else processes.started
        with tqdm(total=steps, unit="step", desc=entry.name, disable=None, leave=False) as bar:
            process = start(given, log)
            signalled, shown = False, 0.0
            try:
                while process.poll() is None:
                    # A terminal sends Ctrl-C to both; other signals reach this process alone.
                    stopped = self._stop.requested and self._stop.number != signal.SIGINT
                    if stopped and not signalled:
                        process.send_signal(self._stop.number)
                        signalled = True
                    if time.monotonic() - shown > 1 and not bar.disable:
                        shown = time.monotonic()
                        bar.update(processes.logged_step(Path(entry.run)) - bar.n)
                    time.sleep(0.05)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        if process.returncode == 0:
            return None
        return f"train.py ended with code {process.returncode}: {processes.last_line(log)}"

    def _is_trained(self, entry, steps):
        run = Path(entry.run)
        if not (run / run_directory.BEST).is_file():
            return False
        done = run_directory.checkpoint_step(run, not training_plan.other_backend())
        return done is not None and done >= steps

    def _known(self, entry):
        path = self._output / FOLDER / f"{entry.name}.json"
        with contextlib.suppress(OSError, ValueError, KeyError):
            return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        return 0.0

    def _remember(self, entry, seconds):
        _write(self._output / FOLDER / f"{entry.name}.json", {"seconds": seconds})


def describe(outcome: Outcome, batch: int, crop: int) -> str:
    """Describes the length of a training.

    Args:
      outcome: of the training.
      batch: crops a step.
      crop: side of a crop, in pixels.
    """
    each = f" of {outcome.networks} networks each" if outcome.networks > 1 else ""
    minutes = outcome.seconds / 60
    return f"{outcome.steps:,} steps{each} of {batch} x {crop} x {crop}, {minutes:.1f} minutes" + (
        " in all" if outcome.networks > 1 else ""
    )


def _left(outcomes, count):
    """Estimates the time of `count` more trainings from earlier ones."""
    seconds = [outcome.seconds for outcome in outcomes.values() if outcome.seconds]
    if not seconds:
        return ""
    return f" (about {count * statistics.fmean(seconds) / 60:.0f} min left)"


def _write(path, content):
    outputs.make_folder(path.parent)
    with outputs.writing(path), atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
