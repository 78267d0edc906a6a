"""The request of a comparison: read from flags, checked, and recorded in its folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from restore_tf.datasets import mixture, names
from restore_tf.errors import UserError
from restore_tf.experiments import papers
from restore_tf.system import outputs
from restore_tf.system.files import atomic_path

FILE_NAME = "request.json"
TRIAL = 100  # the most steps of a trial
DEFAULT_DATASETS = ("synthetic:defocus", "synthetic:motion")
ALL = "all"  # trained on: every set of --dataset
SPLITS = ("train", "validation", "test")


class Pairs(NamedTuple):
    """A data set with its configuration, its folder and the split to test on."""

    dataset: str
    config: str
    split: str
    data_dir: str | None

    @property
    def label(self) -> str:
        """Its name in mixtures: "gopro:blur"."""
        return f"{self.dataset}:{self.config}"

    @property
    def block(self) -> str:
        """The block's name: "gopro_blur"; other splits than "test" are named, too."""
        end = "" if self.split == "test" else f"_{self.split}"
        return f"{self.dataset}_{self.config}{end}"


@dataclasses.dataclass(frozen=True)
class Request:
    """All that determines a comparison's numbers. Another request needs another folder.

    Attributes:
      models: (model, recipe) of the networks to train; recipe "" for the default.
      runs: run directories, absolute, and names of published weights.
      chains: links of each, as typed; ("pairs",) alone for all ordered pairs.
      datasets, test_on: see `Pairs`.
      train_per: "kind", "all" or "both".
      budget: "pixels", "minutes" or "recipe".
      steps, batch, crop, minutes: of the budget.
      finish: whether the last link of each chain is trained on the output of those before.
      limit: the most test pictures of a block, evenly spaced; None for all.
      metrics: names, see `restore_tf.evaluation.score`.
      seed: of the trainings and of samplers' noise.
    """

    models: Sequence[tuple[str, str]]
    runs: Sequence[str]
    chains: Sequence[Sequence[str]]
    datasets: Sequence[Pairs]
    test_on: Sequence[Pairs]
    train_per: str
    budget: str
    steps: int
    batch: int
    crop: int
    minutes: float
    finish: bool
    limit: int | None
    metrics: Sequence[str]
    seed: int

    @property
    def blocks(self) -> list[Pairs]:
        """The sets to test on, in order."""
        return [*self.datasets, *self.test_on]

    @property
    def is_trial(self) -> bool:
        """Whether networks are trained for so few steps that their scores mean nothing."""
        return bool(self.models) and self.budget == "pixels" and self.steps <= TRIAL


def read_flags(values, runs: Sequence[str]) -> Request:
    """Returns the request of the flags.

    Args:
      values: the flags.
      runs: the positional arguments, added to --runs. Without any network, those of
        `papers.compared` are trained.

    Raises:
      UserError: an invalid value of a flag.
    """
    from restore_tf.evaluation import score

    runs = [*(values.runs or ()), *runs]
    models = values.models or (() if runs else papers.compared())
    metrics = tuple(values.metrics or score.METRICS)
    score.check_names(metrics)
    texts = _each(values.dataset) or list(DEFAULT_DATASETS)
    tests = _each(values.test_on)
    datasets, test_on = _pairs(texts, tests, values.data_dir)
    request = Request(
        models=tuple(_model(text) for text in models),
        runs=tuple(_run(text) for text in runs),
        chains=tuple(_chain(text) for text in values.chains or ()),
        datasets=tuple(datasets),
        test_on=tuple(test_on),
        train_per=values.train_per,
        budget=values.budget,
        steps=values.steps,
        batch=values.batch,
        crop=values.crop,
        minutes=values.minutes,
        finish=values.finish,
        limit=values.limit,
        metrics=metrics,
        seed=values.seed,
    )
    _check(request)
    return request


def _check(request):
    for what, found in (("models", request.models), ("runs", request.runs)):
        twice = [each for each in found if list(found).count(each) > 1]
        if twice:
            name = twice[0] if isinstance(twice[0], str) else ":".join(filter(None, twice[0]))
            raise UserError(f"--{what} {name}: is given twice.")
    blocks = [pairs.block for pairs in request.blocks]
    for block in blocks:
        if blocks.count(block) > 1:
            raise UserError(f"{block}: is given twice in --dataset and --test_on.")
    if request.finish and not request.chains:
        raise UserError("--finish: needs --chains, whose last links it trains.")
    if any(chain != ("pairs",) and len(chain) < 2 for chain in request.chains):
        raise UserError('--chains: expected names joined by "+", such as "a+b", or pairs.')


def _each(texts):
    return [part.strip() for text in texts or () for part in text.split(",") if part.strip()]


def _model(text):
    model, _, recipe = text.strip().partition(":")
    return model, recipe


def _run(text):
    return os.path.abspath(text) if os.path.exists(text) else text


def _chain(text):
    return tuple(part.strip() for part in text.split("+"))


def _pairs(texts, tests, data_dir):
    parsed = [_parse(flag, text) for flag, given in _flags(texts, tests) for text in given]
    parts = [mixture.Part(dataset, config, 1) for dataset, config, _ in parsed]
    roots = mixture.parse_roots(data_dir, parts)
    found = []
    for dataset, config, split in parsed:
        root = roots.get(f"{dataset}:{config}")
        found.append(Pairs(dataset, config, split, root and os.path.abspath(root)))
    return found[: len(texts)], found[len(texts) :]


def _flags(texts, tests):
    return [("dataset", texts), ("test_on", tests)]


def _parse(flag, text):
    form = re.fullmatch(r"([^:@/]+)(?::([^:@/]+))?(?:/(.+))?", text)
    if form is None:
        raise UserError(f"--{flag} {text}: expected SET, SET:CONFIG or SET:CONFIG/SPLIT.")
    dataset, config, split = form.groups()
    if dataset not in names.NAMES:
        raise UserError(f"--{flag} {text}: no such data set; there are {', '.join(names.NAMES)}.")
    if split not in (None, *SPLITS):
        raise UserError(f"--{flag} {text}: expected a split of {', '.join(SPLITS)}.")
    if flag == "dataset" and split == "train":
        raise UserError(f"--{flag} {text}: training pictures are no test; expected another split.")
    return dataset, names.config_of(dataset, config), split or "test"


def claim(output: str | os.PathLike, request: Request, write: bool = True) -> bool:
    """Checks that a folder is empty or this comparison's, and records the request in it.

    Args:
      output: the folder.
      request: the present one.
      write: False to only check.

    Returns:
      Whether the folder holds this comparison already.

    Raises:
      UserError: the folder has another comparison, or other files.
    """
    output = Path(output)
    outputs.check_folder(output)
    path, now = output / FILE_NAME, json.loads(json.dumps(dataclasses.asdict(request)))
    if path.is_file():
        _check_same(output, _read(path), now)
        return True
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: has files of other origin; pass another --output.")
    if write:
        outputs.make_folder(output)
        with outputs.writing(path), atomic_path(path) as temporary:
            text = json.dumps({"format": 1, "request": now}, indent=2)
            temporary.write_text(text + "\n", encoding="utf-8")
    return False


def is_of(output: str | os.PathLike, request: Request) -> bool:
    """Returns whether a folder is the comparison of a request.

    Args:
      output: the folder.
      request: the present one.
    """
    with contextlib.suppress(UserError):
        return claim(output, request, write=False)
    return False


def _read(path):
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["request"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: damaged; pass another --output.") from None


def _check_same(output, before, now):
    for name, value in now.items():
        if before.get(name) != value:
            raise UserError(
                f"{output}: was started with {name}={_short(before.get(name))}, not "
                f"{_short(value)}; repeat its flags to resume it, or pass another --output."
            )


def _short(value):
    if isinstance(value, list):
        return ",".join(_short(each) for each in value) or "nothing"
    return str(value)
