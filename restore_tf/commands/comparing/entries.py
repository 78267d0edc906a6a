"""The networks of a comparison: trained here, given, and chains of these with their controls.

Links of chains may be steps without weights, as in `restore-tf chain`: "unsharp:2:1.5:3".
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from restore_tf.commands.comparing.request import ALL, Pairs, Request
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments

RUNS = "runs"
_FINISH = "_finish"


@dataclasses.dataclass(frozen=True)
class Training:
    """A network that is trained for the comparison.

    Attributes:
      model, recipe: see `experiments.load_recipe`.
      datasets: one, or several to mix.
      after: name of the entry on whose output it is trained; None for the degraded pictures.
    """

    model: str
    recipe: str
    datasets: Sequence[Pairs]
    after: str | None = None


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network or a chain of networks.

    Attributes:
      name, label, kind, trained_on: see `evaluation.comparison.results.Row`; networks of one model
        that were trained on different sets share a label.
      run: its run directory, published name, or step without weights; "" for chains.
      training: of the run; None for a given run.
      links: of a chain, the names of its entries.
      shown: whether it is a row of the table.
      rows: of a chain, its `Row.links`.
    """

    name: str
    label: str
    kind: str
    trained_on: str | None = None
    run: str = ""
    training: Training | None = None
    links: Sequence[str] = ()
    shown: bool = True
    rows: Sequence[str] = ()

    @property
    def is_step(self) -> bool:
        """Whether it is a step without weights, such as "unsharp:2:1.5:3"."""
        from restore_tf.networks import steps  # imports Keras

        return steps.is_step(self.run)


def plan(request: Request, output: str | os.PathLike) -> dict[str, Entry]:
    """Returns {name: entry}, with links before their chains.

    Args:
      request: the comparison's.
      output: the comparison's folder, below which run directories lie.

    Raises:
      UserError: no such model, recipe, run or link of a chain.
    """
    found: dict[str, Entry] = {}
    for model, recipe in request.models:
        for entry in _trainings(model, recipe, request, Path(output)):
            found[entry.name] = entry
    for run in request.runs:
        entry = _given(run, request)
        if entry.name in found:
            raise UserError(f"--runs {run}: another network is called {entry.name}; rename one.")
        found[entry.name] = entry
    _add_chains(found, request, Path(output))
    return found


def _trainings(model, recipe, request, output):
    named = bool(recipe)
    recipe = _recipe(model, recipe)
    title = f"{model}-{recipe}" if named else model
    datasets, several = request.datasets, len(request.datasets) > 1
    choices = {}
    if request.train_per in ("kind", "both") or not several:
        choices |= {pairs.block: (pairs,) for pairs in datasets}
    if request.train_per in ("all", "both") and several:
        choices[ALL] = tuple(datasets)
    for trained_on, chosen in choices.items():
        name = f"{title}@{trained_on}"
        yield Entry(
            name,
            title,
            "run",
            trained_on,
            str(output / RUNS / name),
            Training(model, recipe, chosen),
        )


def _recipe(model, recipe):
    """The recipe's name, by default the light one; errors name --models."""
    try:
        recipes = experiments.recipes_of(model)
        recipe = recipe or ("quick" if "quick" in recipes else next(iter(recipes)))
        experiments.load_recipe(model, recipe)
    except UserError as error:
        text = str(error).removeprefix(f"--model {model}: ").removeprefix(f"--recipe {recipe}: ")
        raise UserError(f"--models {model}{':' * bool(recipe)}{recipe}: {text}") from None
    return recipe


def _given(run, request):
    from restore_tf.weights import published

    experiment, record = experiments.read(published.resolve(run))
    place = Path(run).exists()
    blocks = {pairs.label: pairs.block for pairs in request.datasets}
    name = re.sub(r"[^\w.@-]", "_", Path(run).name)
    kind = "chain" if experiment.network.get("links") else "run" if place else "published"
    trained_on = blocks.get(f"{experiment.dataset}:{experiment.config}")
    return Entry(name, name, kind, None if record.converted else trained_on, run)


def _add_chains(found: dict[str, Entry], request, output):
    from restore_tf.networks import steps  # imports Keras

    for link in dict.fromkeys(link for chain in request.chains for link in chain):
        if steps.is_step(link):
            found[_row_name(link)] = _step(link)
    single = dict(found)
    for variant in _variants(single):
        wanted = [
            links
            for chain in request.chains
            for links in (
                itertools.permutations(_of_variant(single, variant), 2)
                if chain == ("pairs",)
                else [tuple(_link(single, link, variant) for link in chain)]
            )
        ]
        for links in wanted:
            if all(single[link].is_step for link in links):
                raise UserError(f"--chains {'+'.join(links)}: has no network; name one of them.")
            if not single[links[0]].is_step:
                _add(found, [single[links[0]]] * 2)  # the control: the first one twice
        for links in wanted:
            chain = [single[link] for link in links]
            _add(found, chain)
            if request.finish:
                _add_finish(found, chain, output)


def _step(link):
    """A step as a row of its own: the control of its chains."""
    from restore_tf.networks import steps  # imports Keras

    try:
        steps.step_network(link)
    except UserError as error:
        raise UserError(f"--chains: {error}") from None
    return Entry(_row_name(link), link, "baseline", run=link)


def _row_name(step):
    """A step's name as a row, fit for a file's name."""
    return step.replace(":", "_")


def _variants(single: Mapping[str, Entry]):
    """The sets that links are trained on: all together if there are such networks, else each."""
    kinds = list(dict.fromkeys(entry.trained_on for entry in single.values() if entry.training))
    return [ALL] if ALL in kinds else kinds or [None]


def _of_variant(single, variant):
    return [
        name
        for name, entry in single.items()
        if entry.trained_on in (variant, None) and not entry.is_step
    ]


def _link(single, link, variant):
    from restore_tf.networks import steps  # imports Keras

    if steps.is_step(link):
        return _row_name(link)
    for name in (link, f"{link}@{variant}", f"{link.replace(':', '-')}@{variant}"):
        if name in single:
            return name
    models = dict.fromkeys(name.partition("@")[0] for name in single)
    raise UserError(f"--chains: {link} is not among the networks compared: {', '.join(models)}.")


def _add(found, chain):
    names = tuple(entry.name for entry in chain)
    name = "+".join(names)
    trained_on = {entry.trained_on for entry in chain if not entry.is_step}
    only = trained_on.pop() if len(trained_on) == 1 else None
    label = " + ".join(entry.label for entry in chain)
    found.setdefault(name, Entry(name, label, "chain", only, links=names, rows=names))


def _add_finish(found, chain, output):
    *before, last = chain
    if any(entry.is_step for entry in chain):
        raise UserError("--finish: takes chains of two networks, without steps.")
    if last.training is None:
        raise UserError(f"--finish: {last.name} is not trained here; expected a model last.")
    if len(before) > 1:
        raise UserError("--finish: takes chains of two networks.")
    names = tuple(entry.name for entry in chain)
    name = "+".join(names) + _FINISH
    training = dataclasses.replace(last.training, after=before[0].name)
    finishing = f"{name}.last"
    found[finishing] = dataclasses.replace(
        last, name=finishing, run=str(output / RUNS / name), training=training, shown=False
    )
    label = f"{before[0].label} + {last.label}, trained on its output"
    links = (before[0].name, finishing)
    found[name] = Entry(name, label, "chain", last.trained_on, links=links, rows=names)
