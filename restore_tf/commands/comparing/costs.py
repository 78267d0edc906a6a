"""Costs of the rows of a comparison: each network is measured once, in processes of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from restore_tf.commands.comparing.entries import Entry
from restore_tf.errors import UserError
from restore_tf.evaluation.comparison.results import Cost
from restore_tf.experiments import experiment as experiments
from restore_tf.system import outputs
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger

FOLDER = "costs"
_PROBE = "cost_probe"


def parse_sizes(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Returns (height, width) of each text WIDTHxHEIGHT, "1280x720".

    Args:
      texts: the values of --cost_sizes.

    Raises:
      UserError: another form, or a side below 16 or above 8192 pixels.
    """
    sizes = []
    for text in texts:
        width, _, height = text.partition("x")
        if not (width.isdigit() and height.isdigit()):
            raise UserError(f"--cost_sizes {text}: expected WIDTHxHEIGHT, such as 1280x720.")
        if not all(16 <= int(side) <= 8192 for side in (width, height)):
            raise UserError(f"--cost_sizes {text}: expected sides from 16 to 8192 pixels.")
        sizes.append((int(height), int(width)))
    return sizes


def measure(
    folder: Path,
    entries: Mapping[str, Entry],
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
) -> dict[str, Cost]:
    """Returns {name: cost} of entries; networks of one architecture share a measurement.

    Earlier measurements in the folder are reused. A failure is logged, and its number is missing.

    Args:
      folder: the comparison's.
      entries: all of them, for the links of chains.
      names: of the entries with weights.
      sizes: (height, width) of the timed pictures; empty to count only.
    """
    links = {name: entries[name].links or (name,) for name in names}
    runs = {link: entries[link].run for each in links.values() for link in each}
    keys = {link: _key(run) for link, run in runs.items()}
    found: dict[str, Cost] = {}
    todo = {keys[link]: run for link, run in runs.items()}
    with tqdm(total=len(todo) * len(sizes), unit="cost", disable=None) as bar:
        for key, run in todo.items():
            found[key] = _one(folder / FOLDER / f"{key}.json", run, sizes, bar)
    return {name: together(each, {link: found[keys[link]] for link in each})
            for name, each in links.items()}  # fmt: skip


def _key(run):
    from restore_tf.networks import steps  # imports Keras
    from restore_tf.weights import published

    if steps.is_step(run):
        return run.replace(":", "_")

    experiment, record = experiments.read(published.resolve(run))
    facts = [experiment.model, dict(experiment.network), dict(experiment.training)]
    text = json.dumps([*facts, bool(record.converted)], sort_keys=True, default=str)
    return f"{experiment.model}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _one(path, run, sizes, bar):
    known: dict[str, Any] = {}
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
    jobs = {f"{width}x{height}": [height, width] for height, width in sizes}
    for job, size in jobs.items():
        if job not in known:
            answer = _probe("measure", run, size=size, counted="count" not in known)
            if answer is not None:
                known |= {"count": answer.pop("count") or known["count"], job: answer}
                _save(path, known)
        bar.update()
    if "count" not in known and not sizes:
        known["count"] = _probe("count", run) or {}
        _save(path, known)
    counted = known.get("count", {})
    timed = {job: known[job] for job in jobs if job in known}
    return Cost(
        **counted,
        seconds_per_megapixel={job: one["seconds_per_megapixel"] for job, one in timed.items()},
        peak_bytes={job: one["peak_bytes"] for job, one in timed.items()
                    if one["peak_bytes"] is not None},
    )  # fmt: skip


def _probe(function, run, **arguments):
    from restore_tf.export import jobs

    with tempfile.TemporaryDirectory() as scratch:
        try:
            return jobs.run_in_process(_PROBE, function, Path(scratch), run=str(run), **arguments)
        except (jobs.Failed, UserError) as error:
            logger.warning("%s: its cost was not measured (%s)", run, error)
            return None


def together(links: Sequence[str], costs: Mapping[str, Cost]) -> Cost:
    """Returns the cost of a chain; weights that it uses twice count once.

    Args:
      links: names of the networks, in order.
      costs: {name: cost} of each of them.
    """
    each = [costs[link] for link in links]
    if len(each) == 1:
        return each[0]
    distinct = list({link: costs[link] for link in links}.values())

    def total(field, of):
        values = [getattr(cost, field) for cost in of]
        return None if None in values else sum(values)

    def merged(field, join):
        several = [getattr(cost, field) for cost in each]
        sizes = [size for size in several[0] if all(size in one for one in several)]
        return {size: join(one[size] for one in several) for size in sizes}

    fields = [field.name for field in dataclasses.fields(Cost)]
    once, every = fields[:2], fields[2:4]
    return Cost(
        **{field: total(field, distinct) for field in once},
        **{field: total(field, each) for field in every},
        seconds_per_megapixel=merged("seconds_per_megapixel", sum),
        peak_bytes=merged("peak_bytes", max),
    )


def _save(path, content):
    outputs.make_folder(path.parent)
    with outputs.writing(path), atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
