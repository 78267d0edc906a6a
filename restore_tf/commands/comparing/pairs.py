"""The test pictures of a comparison, none of which a network was trained on."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from pathlib import Path

from restore_tf.commands.comparing.request import Pairs, Request
from restore_tf.errors import UserError
from restore_tf.evaluation.comparison.scoring import TestPairs
from restore_tf.system.log import logger
from restore_tf.system.record import sha256


def open_blocks(request: Request, scale: int) -> list[TestPairs]:
    """Returns the test pictures of every block.

    Args:
      request: the comparison's.
      scale: how many times larger than the degraded pictures the sharp ones are to be.

    Raises:
      UserError: see `sources.open_source`.
    """
    return [
        TestPairs(
            pairs.block,
            pairs.dataset,
            pairs.config,
            pairs.split,
            _open(pairs, pairs.split, scale),
            request.limit,
        )
        for pairs in request.blocks
    ]


def check_trained_here(request: Request, scale: int) -> None:
    """Checks that no picture is in both training and test sets.

    Args:
      request: the comparison's.
      scale: see `open_blocks`.

    Raises:
      UserError: a picture is in both.
    """
    if request.models:
        for pairs in request.datasets:
            _check(request, pairs, scale, "trained on")


def check_run(request: Request, name: str, experiment, run, scale: int) -> None:
    """Checks that a given run was trained on none of the test pictures.

    If its training pictures are not available, a warning says so.

    Args:
      request: the comparison's.
      name: of the run.
      experiment: the run's `Experiment`.
      run: its `Run`.
      scale: see `open_blocks`.

    Raises:
      UserError: it was trained on one.
    """
    for pairs in _trained_on(experiment, run):
        folders = {flag: getattr(run, flag) for flag in ("degraded_dir", "sharp_dir")}
        two = folders if pairs.dataset == "folder" and pairs.data_dir is None else {}
        _check(request, pairs, scale, f"{name} was trained on", **two)


def _trained_on(experiment, run) -> Iterable[Pairs]:
    from restore_tf.datasets import mixture

    if not mixture.is_mixture(experiment.dataset):
        yield Pairs(experiment.dataset, experiment.config, "train", run.data_dir)
        return
    parts = mixture.parse(experiment.dataset)
    roots = mixture.parse_roots(run.data_dir, parts)
    for part in parts:
        yield Pairs(part.dataset, part.config, "train", roots.get(part.label))


def _check(request, trained, scale, words, **folders):
    for tested in request.blocks:
        if tested.split == "train" and tested.dataset == trained.dataset != "folder":
            raise UserError(
                f"{tested.block}: {words} the training pictures of {trained.dataset}; test on "
                "another split."
            )
    if trained.dataset == "synthetic":
        return  # its splits have pictures of their own, a folder's photos likewise
    others = [pairs for pairs in request.blocks if pairs.dataset != "synthetic"]
    if not others:
        return
    if trained.data_dir is None and not folders:  # published weights: perhaps the set is here
        same = [pairs.data_dir for pairs in others if pairs.dataset == trained.dataset != "folder"]
        trained = trained._replace(data_dir=next(iter(same), None))
    try:
        training = _open(trained, "train", scale, **folders)
    except UserError as error:
        logger.warning("%s %s, whose pictures are not here: %s", words, trained.label, error)
        return
    for tested in others:
        _compare(tested, _open(tested, tested.split, scale), trained, training, words)


def _compare(tested, test_source, trained, training, words):
    if tested.dataset == trained.dataset != "folder":
        sequences = [{name.rpartition("/")[0] for name in each.names} - {""}
                     for each in (test_source, training)]  # fmt: skip
        shared = sorted(sequences[0] & sequences[1]) or sorted(
            set(test_source.names) & set(training.names)
        )
        if shared:
            raise UserError(f"{tested.block}: {words} {shared[0]}, too; test on other sequences.")
    same = _same_file(_files(test_source), _files(training))
    if same:
        raise UserError(
            f"{same[0]}: {words} the same picture, {same[1]}; test on others, such as "
            "SET:CONFIG/validation of a folder that is trained on."
        )


def _same_file(tested: Sequence[Path], trained: Sequence[Path]):
    """(test file, training file) of the same content, or None."""
    by_size = collections.defaultdict(list)
    for path in trained:
        by_size[path.stat().st_size].append(path)
    digests: dict[Path, str] = {}
    for path in tested:
        for other in by_size.get(path.stat().st_size, ()):
            for each in (path, other):
                digests.setdefault(each, sha256(each))
            if digests[path] == digests[other]:
                return path, other
    return None


def _files(source):
    return [pair.sharp for pair in getattr(source, "pairs", ())]


def _open(pairs, split, scale, **folders):
    from restore_tf.datasets import sources

    where = {"data_dir": pairs.data_dir, **folders}
    return sources.open_source(pairs.dataset, pairs.config, split, **where, output_scale=scale)
