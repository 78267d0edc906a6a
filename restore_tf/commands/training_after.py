"""`train.py --chain`: trains a network on the output of the links before it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from restore_tf.commands.flags.data import FOLDERS
from restore_tf.errors import UserError
from restore_tf.experiments import run_directory

_DATA = ("dataset", "config", *FOLDERS)


def of(links: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the data that a chain of these links works on, and the chain's record.

    Args:
      links: runs, published names and steps, as on the command line.

    Returns:
      As `data_of`; {"links": the links, runs as absolute paths, "sha256": {run: digest}}.

    Raises:
      UserError: a link that does not exist, has no weights or does not fit the others.
    """
    from restore_tf.weights import chains

    named = [os.path.abspath(link) if os.path.exists(link) else link for link in links]
    recipe, run = chains.record(named)
    return data_of(recipe, run), {"links": named, "sha256": dict(run.links)}


def data_of(recipe, run) -> dict[str, Any]:
    """Returns a run's data set, configuration and folders.

    Args:
      recipe: the run's `Experiment`.
      run: its `Run`.

    Returns:
      {"dataset": …, "config": …, flag: folder or None}.
    """
    return {name: getattr(recipe if hasattr(recipe, name) else run, name) for name in _DATA}


def check_same(workdir: Path, before: Mapping | None, now: Mapping | None) -> None:
    """Checks that a resumed run follows the same chain with the same weights.

    Args:
      workdir: the run directory.
      before: the recorded chain, from `of`; None for none.
      now: the chain of the flags; None for none.

    Raises:
      UserError: another chain, or other weights.
    """
    if before == now:
        return
    if not before or not now or before["links"] != now["links"]:
        links = ",".join(before["links"]) if before else "nothing"
        raise UserError(
            f"{workdir}: was started with --chain {links}; repeat its flags to resume it, or pass "
            "another --workdir."
        )
    changed = [link for link in now["sha256"] if now["sha256"][link] != before["sha256"].get(link)]
    raise UserError(
        f"{workdir}: the weights of {', '.join(changed)} changed since it was started, and with "
        "them the pictures it trains on; pass another --workdir."
    )


def scale(after: Mapping[str, Any], network) -> int:
    """Returns how many times the links before a network enlarge a picture.

    Args:
      after: the chain, from `of`.
      network: the one to be trained.

    Raises:
      UserError: the network cannot follow them.
    """
    from restore_tf.weights import chains

    chains.check_fit(after["links"], network)
    return chains.make(after["links"]).output_scale


def sources_of(found: Mapping[str, Any], experiment, run, workdir: Path) -> tuple:
    """Returns a data set's pairs with the links' output as degraded pictures, computed later.

    Args:
      found: {split: pairs of the data set}.
      experiment: the training's.
      run: the training's, with the chain in `after`.
      workdir: its run directory.

    Returns:
      The pairs of each split, in the order of `found`.
    """
    from restore_tf.training.after_chain import AfterChain
    from restore_tf.weights import chains

    enlarged = chains.make(run.after["links"]).output_scale
    data = {name: getattr(run, name) for name in (*FOLDERS, "seed")}
    facts = {"chain": run.after, "dataset": experiment.dataset, "config": experiment.config, **data}

    def after(split, label, source):
        folder = workdir / run_directory.AFTER_CHAIN / split
        if label is not None:
            folder /= label.replace(":", "_")
        made = AfterChain(source, enlarged, folder, {**facts, "split": split, "part": label})
        made.check()
        return made

    return tuple(source.changed(functools.partial(after, split)) for split, source in found.items())


def prepare(plan) -> tuple:
    """Computes the missing pictures of a plan's pairs; returns the pairs.

    Args:
      plan: the `training_plan.Plan`, of a training that follows a chain.
    """
    several = [one for source in plan.sources for one in source.parts.values() or [source]]
    missing, restore = sum(len(source.missing()) for source in several), None
    if missing:
        from restore_tf.inference.restore import restore
        from restore_tf.weights import chains

        total = sum(map(len, several))
        print(f"Computing {missing} of {total} pictures by the links before it.", flush=True)
        restore = functools.partial(restore, chains.load(plan.run.after["links"]))
    for source in several:
        source.prepare(restore)
    return plan.sources
