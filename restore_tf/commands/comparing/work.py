"""Carries out the request of a comparison; gives a `Comparison`."""

from __future__ import annotations

import contextlib
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from restore_tf.commands.comparing import costs, pairs, processes, trainings
from restore_tf.commands.comparing.curves import Curves
from restore_tf.commands.comparing.entries import Entry, plan
from restore_tf.commands.comparing.networks import Networks
from restore_tf.commands.comparing.request import Request, claim
from restore_tf.commands.comparing.trainings import Outcome, Trainer
from restore_tf.errors import UserError, one_line
from restore_tf.evaluation import score
from restore_tf.evaluation.comparison.results import Comparison, Cost, Row, check_complete
from restore_tf.evaluation.comparison.scoring import Scorer, TestPairs, baselines
from restore_tf.experiments import experiment as experiments
from restore_tf.system.log import logger
from restore_tf.system.signals import stop_signals

BUDGETS = {
    "pixels": "equal pixels: {steps:,} steps of {batch} crops of {crop} x {crop} for each model, "
    "the steps of all its networks counted",
    "minutes": "equal time: {minutes:g} minutes of training for each model on this machine, "
    "batches of {batch} crops of {crop} x {crop}",
    "recipe": "each recipe's own training: budgets differ",
}
_GIVEN = "no training here: networks as they were given"


def compare(
    request: Request,
    output: Path,
    sizes: Sequence[tuple[int, int]],
    cost: bool,
    curves: bool,
    argv: Sequence[str],
) -> tuple[Comparison | None, bool]:
    """Trains, restores, scores and measures whatever is not done yet.

    Args:
      request: determines the numbers.
      output: the comparison's folder.
      sizes: (height, width) of the timed pictures.
      cost: whether to measure costs.
      curves: whether to measure curves.
      argv: the command, for provenance.

    Returns:
      (the comparison, False), or (None, True) if a signal ended the trainings.

    Raises:
      UserError: an invalid request; nothing is written then.
    """
    claim(output, request, write=False)
    entries = plan(request, output)
    with _server(request, entries) as server:
        scale = _check(request, entries)
        blocks = pairs.open_blocks(request, scale)
        claim(output, request)
        outcomes, stopped = _train(request, output, entries, blocks, server)
    if stopped:
        return None, True
    missing = {name: one.failed for name, one in outcomes.items() if one.failed}
    scores, networks, scorer = _score(request, output, entries, blocks, missing, scale)
    names = [name for name, entry in entries.items() if entry.shown and name in scores]
    measured = costs.measure(output, entries, names, sizes) if cost else {}
    found = ()
    if curves and scale == 1:
        shown = [entries[name] for name in names if _in_curves(entries[name], entries)]
        trained = blocks[: len(request.datasets)]
        found = Curves(scorer, trained, networks, scores).all(shown)
    comparison = Comparison(
        title=_title(entries),
        blocks=[each.block for each in blocks],
        rows=_rows(entries, outcomes, measured, missing, scale),
        metrics=request.metrics,
        scores=scores,
        budget=_budget(request),
        provenance=_provenance(request, argv),
        absent=score.missing(request.metrics),
        curves=found,
        published=_published(entries),
        folder=output,
    )
    check_complete(comparison)
    return comparison, False


def _rows(entries, outcomes, measured, missing, scale):
    nothing = Cost(parameters=0, evaluations=0)  # no network; times of what is none are left out
    rows = [Row(name, name, "baseline", cost=nothing) for name in baselines(scale)]
    return rows + [
        _row(entry, _trained(entry, entries), outcomes, measured.get(name, Cost()), missing)
        for name, entry in entries.items()
        if entry.shown
    ]


def _check(request, entries) -> int:
    """Checks everything before anything is written; returns the networks' scale."""
    networks = [entry for entry in entries.values() if entry.run and not entry.is_step]
    made = {entry.name: _network(entry) for entry in networks}
    first, scale = next((name, network.output_scale) for name, network in made.items())
    for name, network in made.items():
        if network.output_scale != scale:
            raise UserError(
                f"{first} enlarges {scale} times and {name} {network.output_scale} times; compare "
                "networks of one scale."
            )
    for entry in entries.values():
        if entry.training and entry.training.after:
            kinds = [(made[n].channels, made[n].colour) for n in (entry.training.after, entry.name)]
            if kinds[0] != kinds[1]:
                raise UserError(
                    f"--finish: {entry.training.model} takes other channels or colours than "
                    f"{entry.training.after} gives; it cannot be trained on its pictures."
                )
    if scale > 1 and request.chains:
        raise UserError(f"--chains: {first} enlarges; a chain of two would enlarge twice.")
    for entry in entries.values():
        if entry.training and not entry.training.after:
            trainings.check(entry, request)
        elif entry in networks and not entry.training:
            recipe, record = _record(entry)
            pairs.check_run(request, entry.name, recipe, record, scale)
    pairs.check_trained_here(request, scale)
    return scale


def _network(entry):
    """An entry's network, without its weights; raises if the run has none."""
    if entry.training:
        recipe = experiments.load_recipe(entry.training.model, entry.training.recipe)
        return experiments.construct(recipe)
    from restore_tf.weights import chains, published

    chains.digests([entry.run])
    return experiments.construct(experiments.read(published.resolve(entry.run))[0])


@contextlib.contextmanager
def _server(request, entries):
    """A process that forks the trials, and imports TensorFlow for them meanwhile; or None."""
    trained = [entry for entry in entries.values() if entry.training]
    if not (request.is_trial and len(trained) > 1 and processes.can_fork()):
        yield None
        return
    with processes.ForkServer() as server:
        server.launch()
        yield server


def _train(request, output, entries, blocks, server) -> tuple[dict[str, Outcome], bool]:
    trained = [entry for entry in entries.values() if entry.training]
    if not trained:
        return {}, False
    runs = {name: entry.run for name, entry in entries.items()}
    networks = Networks(entries, request.seed)
    scorer = Scorer(output, request.metrics)

    def score_early(entry):
        """Stores scores that `_score` finds, while other trials are trained."""
        if entry.shown:
            with contextlib.suppress(Exception):  # `_score` tries again, and says what is wrong
                _score_entry(networks, entry, scorer, blocks)

    with stop_signals() as stop:
        outcomes = Trainer(output, request, stop, server).train_all(trained, runs, score_early)
    return outcomes, stop.requested


def _score(request, output, entries, blocks, missing, scale):
    """Scores every row that has weights; adds to `missing` why a row has none."""
    shown = [entry for entry in entries.values() if entry.shown]
    first = baselines(scale)
    pictures = sum(len(each.block.pictures) for each in blocks)
    networks = Networks(entries, request.seed)
    scores: dict[str, Any] = {}
    with tqdm(total=(len(shown) + len(first)) * pictures, unit="picture", disable=None) as bar:
        scorer = Scorer(output, request.metrics, bar.update)
        for each in blocks:
            scorer.write_sharp(each)
        for name, restore in first.items():
            scores[name] = {p.block.name: scorer.score(name, p, restore) for p in blocks}
        for number, entry in enumerate(shown, 1):
            failed = [missing[name] for name in (entry.name, *entry.links) if name in missing]
            if failed:
                missing[entry.name] = failed[0]
                continue
            logger.info("scoring %d of %d: %s", number, len(shown), entry.name)
            try:
                scores[entry.name] = _score_entry(networks, entry, scorer, blocks)
            except Exception as error:  # the other networks are still scored
                missing[entry.name] = _in_a_line(error)
                logger.warning("%s: %s", entry.name, missing[entry.name])
    return scores, networks, Scorer(output, request.metrics)


def _score_entry(networks: Networks, entry: Entry, scorer: Scorer, blocks: Sequence[TestPairs]):
    digest = networks.digest(entry)
    return {
        each.block.name: scorer.score(
            entry.name, each, networks.restore(entry, scorer, each), digest
        )
        for each in blocks
    }


def _in_a_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else "no message"
    return one_line(text if isinstance(error, UserError) else f"{type(error).__name__}: {text}")


def _in_curves(entry, entries):
    """Whether a row has curves: no chain, and of a model trained on all sets no other training."""
    if entry.links or entry.is_step:
        return False
    kinds = {other.trained_on for other in entries.values() if other.training}
    return entry.training is None or "all" not in kinds or entry.trained_on == "all"


def _trained(entry, entries):
    """The entry whose training a row describes: a chain's last link if that is not a row."""
    last = entries[entry.links[-1]] if entry.links else entry
    return entry if last.shown else last


def _row(
    entry: Entry,
    trained: Entry,
    outcomes: Mapping[str, Outcome],
    cost: Cost,
    missing: Mapping[str, str],
) -> Row:
    training, outcome = "", outcomes.get(trained.name)
    if outcome is not None and outcome.steps:
        recipe, _ = _record(trained)
        training = recipe and trainings.describe(outcome, recipe.batch, recipe.crop) or ""
    elif entry.run and entry.training is None and not entry.is_step:
        recipe, record = _record(entry)
        if not (record.converted or recipe.network.get("links")):
            training = f"elsewhere: {recipe.steps:,} steps of {recipe.batch} x {recipe.crop} x "
            training += f"{recipe.crop} on {recipe.dataset}"
    return Row(
        entry.name,
        entry.label,
        entry.kind,
        entry.trained_on,
        training,
        cost,
        missing.get(entry.name),
        entry.rows,
    )


def _record(entry):
    from restore_tf.weights import published

    try:
        return experiments.read(published.resolve(entry.run))
    except UserError:
        return None, None


def _budget(request):
    if not request.models:
        return _GIVEN
    facts = {name: getattr(request, name) for name in ("steps", "batch", "crop", "minutes")}
    return BUDGETS[request.budget].format(**facts)


def _title(entries):
    names = dict.fromkeys(
        entry.training.model if entry.training else entry.name
        for entry in entries.values()
        if entry.shown and not entry.links and not entry.is_step
    )
    return f"Comparison of {', '.join(names)}"


def _provenance(request, argv):
    found = {"command": shlex.join(argv), "seed": str(request.seed)}
    for name, value in experiments.environment().items():
        entry = {key: str(each) for key, each in value.items()} if isinstance(value, dict) else None
        found[name] = entry or str(value)
    found["hardware"] = f"{_processor()}, {found.pop('machine')}"
    return found


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(":")[2][1:]
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _published(entries):
    """Numbers that the networks' authors published, and those of published weights."""
    from restore_tf.weights import published

    models = set()
    for entry in entries.values():
        weights = entry.run and not entry.is_step
        recipe = entry.training or (_record(entry)[0] if weights else None)
        if recipe:
            models.add(recipe.model.split("_")[0])
    found = []
    for one in published.all_published().values():
        if one.model.split("_")[0] in models:
            source = str(one.sources[0]) if one.sources else "comes with the package"
            for numbers in one.numbers:
                origin, _, text = numbers.partition(": ")
                words = {"weights": one.name, "protocol and result": text, "by": origin}
                found.append({**words, "source": source})
    return found
