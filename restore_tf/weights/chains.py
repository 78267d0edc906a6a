"""Chains as runs: networks and steps applied to a picture one after the other.

A chain is the model "chain" (`restore_tf.networks.chain`), found as papers are. The `network` of
its experiment.json holds

    links      in order: a run directory (absolute, or relative to the chain's own), the name of
               published weights, a step without weights such as "unsharp:2:1.5:3", or, of links
               that were fine-tuned together, the whole experiment of a link as a mapping
    eight_bit  round and clip to 8 bits between the links, as files would
    stages     how many links are taken; None for all

Weights of links that are runs stay in these runs; those of mappings are in the chain's own files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments.experiment import Experiment, Run
from restore_tf.networks.chain import Chain
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.steps import is_step, step_network
from restore_tf.system.log import logger
from restore_tf.weights import published
from restore_tf.weights.run import load_weights, weights_digest

MODEL = "chain"
VARIANTS: Mapping[str, Mapping[str, Any]] = {MODEL: {}}
_SHARE = 10  # of the learning rate and the steps that fine-tuning all links together takes


def build(experiment: Experiment) -> Chain:
    """Returns the experiment's network.

    Args:
      experiment: of the model "chain".

    Raises:
      UserError: no links, a run that does not exist, or links that do not fit together.
    """
    return make(**experiment.network)


def make(
    links: Sequence[str | Mapping[str, Any]] = (),
    eight_bit: bool = False,
    stages: int | None = None,
) -> Chain:
    """Returns a chain without weights.

    Args:
      links: see above; paths are absolute or relative to the current folder.
      eight_bit: round and clip to 8 bits between the links.
      stages: how many links are taken; None for all.

    Raises:
      UserError: as `build`.
    """
    if not isinstance(links, (list, tuple)):
        raise UserError(f"links {links!r}: expected a list of runs and steps.")
    if all(_is_step(link) for link in links):
        raise UserError(
            "a chain has no run among its links; restore-tf chain RUN … --output CHAIN makes one, "
            "and train.py --model chain --init_from CHAIN trains it."
        )
    if not isinstance(eight_bit, bool):
        raise UserError(f"eight_bit {eight_bit!r}: expected True or False.")
    if stages is not None and (type(stages) is not int or not 1 <= stages <= len(links)):
        raise UserError(f"stages {stages}: expected 1 to {len(links)}, of the chain's links.")
    made = {n: _network(link, n) for n, link in enumerate(links) if not _is_step(link)}
    first = next(iter(made.values()))
    networks = [
        made[n] if n in made else step_network(link, first.channels, first.colour)
        for n, link in enumerate(links)
    ]
    return Chain(networks[:stages], eight_bit=eight_bit)


def _is_step(link):
    return isinstance(link, str) and is_step(link)


def _network(link, number) -> Restorer:
    """The network of a link that has weights; its attribute `run` is their run directory."""
    run = published.resolve(link) if isinstance(link, str) else None
    recipe = Experiment(**link) if run is None else experiments.read(run)[0]
    # Weights that a constructor makes carry their link in their path, as those of `Chain.build` do.
    with keras.name_scope(MODEL), keras.name_scope(f"link{number + 1}"):
        network = experiments.construct(recipe)
    network.run = run
    return network


def names(links: Sequence[str | Mapping[str, Any]]) -> list[str]:
    """Returns the links' names in tables: a run's model, a step's text.

    Args:
      links: as in the `network` of a chain's experiment, see above.

    Raises:
      UserError: a run that does not exist.
    """
    found: list[str] = []
    for link in links:
        if _is_step(link):
            found.append(str(link))
        elif isinstance(link, str):
            found.append(experiments.read(published.resolve(link))[0].model)
        else:
            found.append(link["model"])
    return found


def digests(links: Sequence[str]) -> dict[str, str]:
    """Returns {link: SHA-256 of its weights} of those that are runs.

    Args:
      links: runs and steps.

    Raises:
      UserError: a run that does not exist, or has no weights yet.
    """
    return {link: _digest(link) for link in links if not is_step(link)}


def _digest(link):
    run = published.resolve(link)
    recipe, _ = experiments.read(run)
    inner = recipe.network.get("links", ()) if recipe.model == MODEL else ()
    if not all(isinstance(one, str) for one in inner) or not inner:
        return weights_digest(run)
    text = json.dumps([list(inner), digests(inner)])
    return hashlib.sha256(text.encode()).hexdigest()


def record(links: Sequence[str]) -> tuple[Experiment, Run]:
    """Returns the experiment and run record of a chain.

    Data and training are those of the last link that was trained on the output of links before it,
    else of the first link: the data that the whole chain works on.

    Args:
      links: runs and steps, in order.

    Raises:
      UserError: as `make`, or a run without weights.
    """
    make(links)
    found = [experiments.read(published.resolve(link)) for link in links if not is_step(link)]
    later = [(recipe, run) for recipe, run in found if run.after or run.links]
    recipe, run = later[-1] if later else found[0]
    network = {"links": list(links), "eight_bit": False}
    kept = {name: getattr(run, name) for name in ("data_dir", "degraded_dir", "sharp_dir", "seed")}
    return (
        dataclasses.replace(recipe, model=MODEL, recipe=MODEL, network=network),
        Run(**kept, links=digests(links)),
    )


def load(links: Sequence[str]) -> Chain:
    """Returns a chain of runs and steps with its weights, as `load.load_model` would.

    Args:
      links: runs and steps, in order.

    Raises:
      UserError: as `make`, or a run without weights.
    """
    chain = make(links)
    chain.build()
    load_weights("", chain)
    return chain.for_inference()


def check_fit(links: Sequence[str], network: Restorer) -> None:
    """Checks that a network can follow a chain.

    Args:
      links: the chain's runs and steps.
      network: the one to follow them.

    Raises:
      UserError: it does not fit, or as `make`.
    """
    Chain([*make(links).links, network])


def warn_of_changes(run: Run) -> None:
    """Warns of links whose weights changed since the chain was made.

    Args:
      run: the chain's record.

    Raises:
      UserError: a link that does not exist, or has no weights.
    """
    known = run.links or {}
    for link, digest in digests(list(known)).items():
        if digest != known[link]:
            logger.warning(
                "%s: its weights changed since the chain was made; links that were trained on what "
                "it gave may no longer fit.",
                link,
            )


def joint(model: str = MODEL) -> Experiment:
    """All links trained together; with --init_from CHAIN, `fine_tuning` fills it in.

    Args:
      model: the chain's model name.
    """
    return Experiment(
        model=model,
        recipe="joint",
        network={},
        dataset="synthetic",
        config="defocus",
        loss="charbonnier_clipped",
        steps=200,
        batch=4,
        crop=96,
        augment=("flip_rotate",),
        learning_rate=1e-4,
        end_learning_rate=1e-6,
        schedule="cosine",
    )


def fine_tuning(experiment: Experiment, source: Experiment) -> Experiment:
    """Returns the training of all links of a chain together.

    It takes a tenth of the learning rate and of the steps in the chain's record. The new run holds
    the links' experiments and weights: it loads without their runs.

    Args:
      experiment: the recipe `joint`.
      source: the chain's experiment, whose links are runs or whole experiments.

    Raises:
      UserError: a link of more than one pass, which has no gradient to train by.
    """
    network = _inline(source.network)
    for link in make(**network).links:
        if type(link).restore_batch not in (Restorer.restore_batch, Chain.restore_batch):
            raise UserError(f"{link.name}: restores in several passes, which cannot be trained.")
    joined = source.recipe == experiment.recipe
    return dataclasses.replace(
        source,
        recipe=experiment.recipe,
        network=network,
        steps=source.steps if joined else max(1, source.steps // _SHARE),
        learning_rate=source.learning_rate if joined else source.learning_rate / _SHARE,
        end_learning_rate=source.end_learning_rate if joined else source.end_learning_rate / _SHARE,
        schedule_steps=None,
        warmup_steps=0,
        progressive=(),
        recurrent_clip_norm=None,
    )


def _inline(network):
    """A chain's arguments with whole experiments in the place of runs."""
    links = []
    for link in network.get("links", ()):
        if isinstance(link, str) and not is_step(link):
            recipe, _ = experiments.read(published.resolve(link))
            if recipe.model == MODEL:
                recipe = dataclasses.replace(recipe, network=_inline(recipe.network))
            link = dataclasses.asdict(recipe)
        links.append(link)
    return {"links": links, "eight_bit": network.get("eight_bit", False)}


RECIPES = {"joint": joint}
