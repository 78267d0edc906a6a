"""Scores of rows that are kept on disk."""

from types import SimpleNamespace

import numpy as np
import pytest

from restore_tf.commands.comparing.curves import Curves
from restore_tf.commands.comparing.entries import Entry
from restore_tf.datasets.sources import MemorySource
from restore_tf.errors import UserError
from restore_tf.evaluation.comparison.results import Block, Comparison, Picture, Row, check_complete
from restore_tf.evaluation.comparison.scoring import Scorer, TestPairs, baselines, blends
from restore_tf.evaluation.metrics import psnr
from restore_tf.pictures.files import read_rgb


def source(count=3, side=24, scale=1):
    random = np.random.default_rng(0)
    sharp = random.integers(0, 256, (count, side * scale, side * scale, 3), np.uint8)
    degraded = sharp[:, ::scale, ::scale] // 2
    names = [f"clip{k % 2}/{k}" for k in range(count)]
    return MemorySource(names, zip(degraded, sharp, strict=True), scale)


def pairs(**settings):
    return TestPairs("set_kind", "set", "kind", "test", source(**settings))


def double(calls):
    def restore(name, degraded):
        calls.append(name)
        return degraded * 2

    return restore


def test_pictures_and_scores_are_made_once(tmp_path):
    block, calls = pairs(), []
    scorer = Scorer(tmp_path, ["psnr", "mse"])
    first = scorer.score("net@all", block, double(calls), "weights 1")
    assert calls == ["clip0/0", "clip0/2", "clip1/1"]
    degraded, sharp = block.read("clip1/1")
    assert first["clip1/1"]["psnr"] == psnr(sharp, degraded * 2)
    kept = tmp_path / "pictures" / "set_kind" / "net@all" / "clip1" / "1.png"
    np.testing.assert_array_equal(read_rgb(kept), degraded * 2)

    assert scorer.score("net@all", block, double(calls), "weights 1") == first
    assert len(calls) == 3
    # A metric more is measured on the files; a picture that is lost is made again; other weights
    # make all of them anew.
    more = Scorer(tmp_path, ["psnr", "mse", "gmsd"])
    assert more.score("net@all", block, double(calls), "weights 1")["clip0/0"].keys() >= {"gmsd"}
    assert len(calls) == 3
    kept.unlink()
    assert scorer.score("net@all", block, double(calls), "weights 1") == first
    assert calls[3:] == ["clip1/1"]
    scorer.score("net@all", block, double(calls), "weights 2")
    assert len(calls) == 7


def test_interrupted_it_goes_on(tmp_path):
    block, calls = pairs(), []

    def interrupted(name, degraded):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return double(calls)(name, degraded)

    scorer = Scorer(tmp_path, ["psnr"])
    with pytest.raises(KeyboardInterrupt):
        scorer.score("net", block, interrupted, "w")
    scorer.score("net", block, double(calls), "w")
    assert calls == ["clip0/0", "clip0/2", "clip1/1"]


def test_a_limit_is_spread_over_the_set_and_folders_are_sequences():
    spread = TestPairs("s", "set", "kind", "test", source(count=9), limit=3)
    assert {picture.name for picture in spread.block.pictures} == {"clip0/0", "clip0/4", "clip0/8"}
    assert [picture.sequence for picture in pairs().block.pictures] == ["clip0", "clip0", "clip1"]
    assert pairs(scale=2).block.pictures[0].size == (48, 48)


def test_baselines_have_the_sharp_pictures_size():
    degraded = source(scale=2).read(0)[0]
    found = baselines(2)
    assert list(found) == ["input", "unsharp", "bicubic"]
    assert {restore("", degraded).shape for restore in found.values()} == {(48, 48, 3)}
    assert list(baselines(1)) == ["input", "unsharp"]


def test_a_picture_of_another_size_is_named(tmp_path):
    with pytest.raises(UserError, match="set_kind/clip0/0: restored to 12x24 pixels"):
        Scorer(tmp_path, ["psnr"]).score("net", pairs(), lambda name, d: d[:, :12], "w")


def test_blends_are_rounded():
    first, second = (lambda name, v=v: np.full((1, 1, 3), v, np.uint8) for v in (10, 13))
    mixed = {
        share: restore("", None)[0, 0, 0] for share, restore in blends(first, second, [0, 0.5])
    }
    assert mixed == {0: 10, 0.5: 12}


def test_a_row_that_lacks_a_picture_is_named():
    block = Block(
        "b", "set", "kind", "test", [Picture("x", None, (8, 8)), Picture("y", None, (8, 8))]
    )
    scores = {"one": {"b": {"x": {"psnr": 1.0}, "y": {"psnr": 2.0}}}, "two": {"b": {"x": {}}}}
    rows = [Row("one", "one", "run"), Row("two", "two", "run"), Row("c", "c", "run", missing="why")]
    whole = Comparison("t", [block], rows, ["psnr"], scores, "", {})
    with pytest.raises(UserError, match="two has no scores of b/y"):
        check_complete(whole)


class FakeNetworks:
    """A sampler that is brighter the more steps it takes, and what does nothing."""

    def model(self, run, **options):
        knobs = {"steps": (1, 2)} if run == "sampler" else {}
        return SimpleNamespace(knobs=knobs, evaluations=1 + options.get("steps", 2))

    def restore_picture(self, run, picture, steps=2):
        return picture + np.uint8(10 * steps) if run == "sampler" else picture

    def digest(self, entry):
        return entry.name

    def restore(self, entry):
        return lambda name, degraded: self.restore_picture(entry.run, degraded)


def test_curves_end_at_the_rows_of_the_table(tmp_path):
    scorer, block, networks = Scorer(tmp_path, ["psnr", "gmsd"]), pairs(), FakeNetworks()
    entries = [Entry(name, name, "run", run=name) for name in ("sampler", "idle")]
    scores = {"input": {"set_kind": scorer.score("input", block, lambda name, d: d)}}
    for entry in entries:
        restored = scorer.score(entry.name, block, networks.restore(entry), entry.name)
        scores[entry.name] = {"set_kind": restored}
    found = Curves(scorer, [block], networks, scores).all(entries)
    assert [(curve.row, curve.knob) for curve in found] == [
        ("sampler", "steps"),
        ("sampler", "strength"),
        ("idle", "strength"),
        ("sampler + idle", "blend"),
    ]
    steps, strength, idle, blend = (
        [point.scores["set_kind"]["clip0/0"]["psnr"] for point in curve.points] for curve in found
    )
    table = {row: scores[row]["set_kind"]["clip0/0"]["psnr"] for row in scores}
    assert steps[-1] == strength[-1] == blend[0] == table["sampler"]
    assert strength[0] == blend[-1] == table["input"] and len(set(idle)) == 1
    assert strength == sorted(strength)  # towards the better picture
    assert [point.label for point in found[0].points] == ["1 step, 2 passes", "2 steps, 3 passes"]
