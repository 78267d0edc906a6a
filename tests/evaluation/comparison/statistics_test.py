"""Intervals and winners, against scipy.stats and by hand."""

import copy
import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from toy_comparison import changed, from_tables, planted, with_pictures

from restore_tf.errors import UserError
from restore_tf.evaluation.comparison import statistics
from restore_tf.evaluation.comparison.resampling import Resampling
from restore_tf.evaluation.comparison.sentences import sentences


def analyse(comparison):
    return statistics.analyse(comparison)["defocus"]


def test_interval_of_scipy():
    values = np.random.default_rng(1).normal(30, 3, 40)
    ours = Resampling(range(40)).estimates(values)[0]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile")
    assert ours.mean == pytest.approx(values.mean())
    # Two draws of 10,000 resamples: their quantiles differ by a few hundredths of the width.
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)
    assert (ours.n, ours.units, ours.kind) == (40, 40, "interval")


def test_sequences_are_resampled_whole():
    """Frames that repeat their sequence's value are worth one picture a sequence."""
    values = np.array([20.0, 22.0, 25.0, 26.0, 30.0, 31.0])
    repeated = np.repeat(values, 10)
    frames = Resampling(np.repeat(np.arange(6), 10)).estimates(repeated)[0]
    alone = Resampling(range(6)).estimates(values)[0]
    assert frames[:3] == pytest.approx(alone[:3])
    assert (frames.n, frames.units) == (60, 6)
    independent = Resampling(range(60)).estimates(repeated)[0]
    assert independent.high - independent.low < (frames.high - frames.low) / 2


def test_sequences_of_different_lengths_count_by_their_frames():
    values, units = [10.0] * 9 + [20.0], [0] * 9 + [1]
    estimate = Resampling(units).estimates(values)[0]
    assert estimate == (11.0, 10.0, 20.0, 10, 2, "spread")


def test_few_units_have_a_spread_and_no_interval():
    estimate = Resampling("abcd").estimates([1.0, 4.0, 2.0, 3.0])[0]
    assert estimate == (2.5, 1.0, 4.0, 4, 4, "spread")
    assert not Resampling("abcd").estimates([5.0, 5.1, 5.2, 5.3])[0].apart


def test_one_picture_has_neither_interval_nor_winner():
    found = analyse(from_tables({"psnr": {"input": [20.0], "good": [30.0]}}))
    assert found.means["good"]["psnr"] == (30.0, None, None, 1, 1, "single")
    assert found.rankings["psnr"].winner is None


def test_a_model_against_itself():
    values = np.random.default_rng(0).normal(30, 3, 12)
    found = analyse(from_tables({"psnr": {"input": values, "same": values}}))
    assert found.gains["same"]["psnr"] == ((0.0, 0.0, 0.0, 12, 12, "interval"), 0.0)
    assert found.rankings["psnr"].winner is None


def test_a_planted_better_model_is_found():
    found = analyse(planted())
    for metric in ("psnr", "gmsd"):
        assert found.rankings[metric].winner == "good"
        assert found.rankings[metric].rows[-1] == "input"
        assert found.rankings[metric].ties == []
    gain = found.gains["good"]["psnr"]
    assert gain.difference.low > 0.8
    assert gain.better == 1.0
    # "twin" and "other" gain the same: without "good" neither wins.
    rows = [row for row in planted().rows if row.name != "good"]
    ranking = analyse(changed(planted(), rows=rows)).rankings["psnr"]
    assert ranking.winner is None
    assert {ranking.rows[0], *ranking.ties} == {"twin", "other"}


def test_paired_intervals_are_narrower():
    found = analyse(planted())
    paired = found.gains["good"]["psnr"].difference
    mean = found.means["good"]["psnr"]
    assert paired.high - paired.low < (mean.high - mean.low) / 5


def test_lower_is_better_of_gmsd():
    tables = {"gmsd": {"input": [0.3] * 6, "good": [0.1] * 5 + [0.4]}}
    found = analyse(from_tables(tables))
    assert found.rankings["gmsd"].rows == ["good", "input"]
    assert found.gains["good"]["gmsd"].difference.mean == pytest.approx(-0.15)
    assert found.gains["good"]["gmsd"].better == pytest.approx(5 / 6)


def test_infinite_scores():
    tables = {"psnr": {"input": [math.inf] + [20.0] * 5, "same": [math.inf] + [21.0] * 5}}
    found = analyse(from_tables(tables))
    assert found.means["same"]["psnr"].mean == math.inf
    assert found.gains["same"]["psnr"].difference.mean == pytest.approx(5 / 6)


def test_kendalls_tau_by_hand():
    psnr = {"a": [30.0] * 6, "b": [29.0] * 6, "c": [28.0] * 6, "d": [27.0] * 6}
    # Better by GMSD: b, a, c, d. One of six pairs is the other way round: (5 - 1) / 6.
    gmsd = {"a": [0.2] * 6, "b": [0.1] * 6, "c": [0.3] * 6, "d": [0.4] * 6}
    found = analyse(from_tables({"psnr": psnr, "gmsd": gmsd}))
    assert found.agreement == {("psnr", "gmsd"): pytest.approx(4 / 6)}


def test_pictures_with_two_winners():
    psnr = {"a": [30.0, 30.0, 30.0], "b": [29.0, 29.0, 20.0]}
    lpips = {"a": [0.1, 0.3, 0.3], "b": [0.2, 0.2, 0.2]}
    gmsd = {"a": [0.1] * 3, "b": [0.2] * 3}
    found = analyse(from_tables({"psnr": psnr, "gmsd": gmsd, "lpips": lpips}))
    assert found.opposed == ("psnr", "lpips")
    assert [each.picture for each in found.disagreements] == ["p02", "p01"]
    assert found.disagreements[0].winners == ("a", "b")
    without = analyse(from_tables({"psnr": psnr, "gmsd": gmsd}))
    assert without.opposed == ("psnr", "gmsd")
    assert without.disagreements == []


def test_a_picture_too_small_for_a_metric():
    comparison = from_tables({"psnr": {"a": [30.0] * 6}, "lpips": {"a": [0.1] * 6}})
    scores = copy.deepcopy(comparison.scores)
    del scores["a"]["defocus"]["p00"]["lpips"]
    found = analyse(changed(comparison, scores=scores))
    assert (found.means["a"]["psnr"].n, found.means["a"]["lpips"].n) == (6, 5)


def test_errors_name_row_and_picture():
    comparison = planted(6)

    def broken(change):
        scores = copy.deepcopy(comparison.scores)
        change(scores["twin"]["defocus"])
        return changed(comparison, scores=scores)

    with pytest.raises(UserError, match="twin: defocus/p03 is not scored"):
        analyse(broken(lambda pictures: pictures.pop("p03")))
    with pytest.raises(UserError, match="twin: defocus/p02 has no gmsd, which other rows have"):
        analyse(broken(lambda pictures: pictures["p02"].pop("gmsd")))
    with pytest.raises(UserError, match="twin: psnr of defocus/p01 is NaN"):
        analyse(broken(lambda pictures: pictures["p01"].update(psnr=math.nan)))
    with pytest.raises(UserError, match="nothing to compare"):
        statistics.analyse(changed(comparison, blocks=()))


def test_missing_rows_need_no_scores(tmp_path):
    found = statistics.analyse(with_pictures(tmp_path, 1, ("psnr",), ["unsharp"]))
    assert found["synthetic_motion"].rows == ["input", "unsharp"]


def test_training_pictures_are_refused():
    comparison = planted(6)
    block = comparison.blocks[0].__class__("defocus", "toy", "defocus", "train", ())
    with pytest.raises(UserError, match="no pictures"):
        analyse(changed(comparison, blocks=(block,)))
    block = changed(comparison.blocks[0], split="train[:10]")
    with pytest.raises(UserError, match="pictures are for training"):
        analyse(changed(comparison, blocks=(block,)))


def test_the_same_numbers_every_time():
    assert analyse(planted()).means == analyse(planted()).means


def test_chains_against_their_networks():
    random = np.random.default_rng(0)
    first = random.normal(25, 3, 20)
    psnr = {"first": first, "second": first + 0.5, "first+second": first + 1.0}
    comparison = from_tables({"psnr": psnr})
    rows = [
        dataclasses.replace(row, kind="chain", links=("first", "second"))
        if "+" in row.name
        else row
        for row in comparison.rows
    ]
    comparison = changed(comparison, rows=rows)
    found = analyse(comparison)
    links = found.links["first+second"]
    assert links["first"]["psnr"][:3] == pytest.approx((1.0, 1.0, 1.0))
    assert links["second"]["psnr"][:3] == pytest.approx((0.5, 0.5, 0.5))
    said = sentences(comparison, {"defocus": found})
    assert (
        "defocus: chains that are better than each of their networks alone (of 1): by PSNR "
        "FIRST+SECOND." in said
    )
