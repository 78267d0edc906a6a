"""The frame budget: what is counted, how times follow from it, and what is recommended."""

import dataclasses
import functools
import itertools
import math
import sys
import types

import keras
import numpy as np
import pytest

from mprnet_tf.model import MPRNet
from restore_tf.errors import UserError
from restore_tf.experiments import experiment, papers
from restore_tf.export.plan import cost, rates, table
from restore_tf.export.plan.rates import LITE_FLOAT, LITE_INT8, TENSORFLOW, Device, Network, Run
from restore_tf.networks.restorer import Restorer
from srn_tf import recipes
from srn_tf.model import SRN


def srn_by_hand(width, scales, blocks, channels=3):
    """Multiply-adds per pixel, from the paper's figure 3 and section 3.2, layer by layer."""
    w = width
    res_blocks = blocks * 2 * 25  # 5x5, times the square of their width
    full = 25 * 2 * channels * w + res_blocks * w**2  # degraded and previous go in
    full += res_blocks * w**2 + 25 * w * channels
    half = 25 * w * 2 * w + 2 * res_blocks * (2 * w) ** 2 + 16 * 2 * w * w
    quarter = 25 * 2 * w * 4 * w + 2 * res_blocks * (4 * w) ** 2 + 16 * 4 * w * 2 * w
    quarter += 9 * (2 * 4 * w) * (4 * 4 * w)  # ConvLSTM: features and state to four gates
    return (full + half / 4 + quarter / 16) * sum(4.0**-scale for scale in range(scales))


@pytest.mark.parametrize(("width", "scales", "blocks"), [(8, 1, 1), (5, 2, 2)])
def test_srn_costs_what_a_hand_count_says(width, scales, blocks):
    found = cost.count(SRN(width=width, scales=scales, res_blocks=blocks))
    assert found.multiplications == pytest.approx(srn_by_hand(width, scales, blocks), rel=1e-12)


def taps_by_hand(scales, blocks):
    """Kernel places per pixel: 5x5 at three sizes, the ConvLSTM's 3x3, the transposed 4x4."""
    full = (2 + 4 * blocks) * 25
    half = quarter = (1 + 4 * blocks) * 25 + 16
    return (full + half / 4 + (quarter + 9) / 16) * sum(4.0**-scale for scale in range(scales))


def test_taps_by_hand():
    """The paper's: 14 convolutions of 5x5 at full size, 13 at half and at a quarter."""
    assert taps_by_hand(1, 3) == 14 * 25 + (13 * 25 + 16) / 4 + (13 * 25 + 16 + 9) / 16
    assert cost.count(SRN(scales=1, width=4)).taps == taps_by_hand(1, 3)


# Multiply-adds, values and taps per pixel, summed over the Keras layers of each network.
COSTS = {
    "SRN": (SRN, 1370922.0, 1064.4375, 599.9765625),
    "SRN, no LSTM": (
        functools.partial(SRN, width=4, scales=2, res_blocks=1, recurrent=False),
        7945.0,
        55.0,
        242.578125,
    ),
    "MPRNet": (
        functools.partial(MPRNet, 8, 4, 4, num_cab=2),
        47989.255859375,
        624.755126953125,
        477.0,
    ),
    "MPRNet, 1 stage": (
        functools.partial(MPRNet, 8, 4, 4, num_cab=2, stages=1),
        11616.76171875,
        151.90380859375,
        144.0,
    ),
}


@pytest.mark.parametrize("name", COSTS)
def test_costs_are_those_of_the_layers(name):
    make, *expected = COSTS[name]
    found = cost.count(make())
    assert (found.multiplications, found.values, found.taps) == tuple(expected)


def test_the_papers_srn_at_720p():
    """benchmarks/README.md: 1,260 GMAC."""
    assert COSTS["SRN"][1] == pytest.approx(srn_by_hand(32, 3, 3), rel=1e-12)
    assert 1255 < COSTS["SRN"][1] * 720 * 1280 / 1e9 < 1265


class Toy(Restorer):
    """One layer of each kind that is counted; multiples of 48 pixels."""

    size_multiple = 48

    def __init__(self, groups=1, **kwargs):
        super().__init__(name="toy", **kwargs)
        self.kinds = [
            keras.layers.Conv2D(8, 3, padding="same"),
            keras.layers.Conv2D(8, 3, padding="same", groups=groups, strides=2),
            keras.layers.DepthwiseConv2D(5, padding="same"),
            keras.layers.Dense(6),
            keras.layers.EinsumDense("bhwc,cd->bhwd", (None, None, 4)),
            keras.layers.Conv2DTranspose(3, 2, strides=2),
        ]

    def call(self, images, training=False):
        x = images
        for layer in self.kinds:
            x = layer(x)
        batch, height, width, channels = x.shape
        rows = keras.ops.reshape(x, (batch, height, width * channels))
        products = keras.ops.matmul(rows, keras.ops.transpose(rows, (0, 2, 1)))
        return [x + keras.ops.mean(products)]


def test_each_kind_by_hand():
    """Per pixel of 96x96, the next multiple of 48; a quarter of them after the stride."""
    found = cost.count(Toy())
    quarters = 9 * 8 * 8 + 25 * 8 + 8 * 6 + 6 * 4 + 2 * 2 * 4 * 3
    assert found.multiplications == 9 * 3 * 8 + quarters / 4 + 96 * 96 * 3 * 96 / 96**2
    assert found.values == 8 + (8 + 8 + 6 + 4) / 4 + 3 + 1
    assert found.taps == 9 + (9 + 25 + 4) / 4
    assert (found.widest, found.size_multiple, found.runs) == (8, 48, 1)


def test_what_is_not_counted_is_said(caplog):
    found = cost.count(Toy(groups=2))  # Keras runs it in a function of its own
    assert found.multiplications == cost.count(Toy()).multiplications - 9 * 8 * 8 / 4
    (record,) = caplog.records
    assert record.getMessage().startswith("toy: 1 functions of its graph")


def test_a_gray_network_runs_three_times():
    arguments = {"channels": 1, "width": 4, "scales": 1, "res_blocks": 1}
    network = Network("gray", "srn_gray", arguments)
    times = Device(tops=2, utilisation=1)
    (row,) = table.rows_of([network], [cost.count(network.build())], times, (16, 32), 30)
    expected = 3 * 16 * 32 * srn_by_hand(4, 1, 1, channels=1) / 1e9
    assert row.gmac == pytest.approx(expected) and row.ms == pytest.approx(expected)


def test_counting_leaves_the_network_as_it_was():
    model = SRN(width=4, scales=1, res_blocks=1)
    images = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    before = np.asarray(model(images)[-1])
    cost.count(model)
    assert np.array_equal(model(images)[-1], before) and before.any()


def test_fit_finds_the_two_constants():
    costs = [cost.Cost(1e4, 90, 0, 0), cost.Cost(4e5, 400, 0, 0)]
    seconds = [2e-12 * each.multiplications + 5e-10 * each.values for each in costs]
    assert rates.fit(costs, seconds) == pytest.approx((2e-12, 5e-10))
    assert rates.fit(costs, [1e-9, 8e-7]) == pytest.approx((2e-12, 0))  # 800 times as long
    assert rates.fit(costs, [1e-6, 2e-6]) == pytest.approx((0, 5e-9))  # twice as long


def test_candidates(monkeypatch):
    monkeypatch.setattr(papers, "names", lambda: ["mprnet", "srn"])  # whatever else is installed
    networks = table.candidates()
    assert len(networks) == 4 * 3 * 3 + 3 * 3
    assert len({network.name for network in networks}) == len(networks)
    assert {network.model for network in table.candidates("mprnet")} == {"mprnet"}
    # Scales are not counted one by one.
    (picked,) = [n for n in networks if n.name == "SRN width 16, 3 scales, 2 ResBlocks"]
    assert rates.cost_of(picked).multiplications == pytest.approx(srn_by_hand(16, 3, 2))


@pytest.fixture(autouse=True)
def information(caplog):
    caplog.set_level("INFO", "restore_tf")


def offer(monkeypatch, kept):
    """Leaves SRN those candidates of (width, scales, ResBlocks)."""
    offered = {tuple(each.network.values()): each for each in recipes.PLAN_CANDIDATES}
    monkeypatch.setattr(recipes, "PLAN_CANDIDATES", [offered[each] for each in kept])


@pytest.fixture
def few(monkeypatch):
    """Eight of SRN's candidates, of which four are counted."""
    offer(monkeypatch, [(8, s, b) for s in (1, 2, 3) for b in (1, 2)] + [(24, 2, 2), (32, 3, 3)])


def test_tops_by_hand(few):
    """4 TOPS at half are 1e12 multiply-adds a second."""
    plan = table.plan(720, 1280, 25, model="srn", tops=4, utilisation=0.5)
    assert len(plan.rows) == 8 and plan.measured is None
    for row, (width, scales, blocks) in itertools.product(
        plan.rows, [(8, 1, 1), (32, 3, 3), (24, 2, 2)]
    ):
        if row.network.arguments == {"width": width, "scales": scales, "res_blocks": blocks}:
            ms = 720 * 1280 * srn_by_hand(width, scales, blocks) / 1e9
            assert row.ms == pytest.approx(ms) and row.fits == (ms <= 40)
            assert row.over == pytest.approx(ms / 40) and row.fps == pytest.approx(1e3 / ms)
    # 34.1 GMAC fit into 40 ms, 43.7 do not.
    assert plan.recommended.network.name == "SRN width 8, 3 scales, 1 ResBlock"
    text = str(plan)
    assert "ESTIMATE from 4 TOPS, of which 50% are assumed" in text
    assert "| SRN width 8, 1 scale, 2 ResBlocks | 43.7 | 43.7 | 22.9 |" in text
    assert "| 1.09 times too slow |" in text and "fits: device int8" in text
    assert "Recommended: SRN width 8, 3 scales, 1 ResBlock, device int8" in text


class Measured:
    """In place of runs: exact times, but for pictures of the asked size, which take longer."""

    def __init__(self, factor, failing=0, without=()):
        self.factor, self.failing, self.without = factor, failing, without
        self.large = []

    def __call__(self, networks, engines):
        found = {engine: [] for engine in engines}
        for (network, size), engine in itertools.product(networks, engines):
            each = rates.cost_of(network)
            seconds = each.multiplications * {TENSORFLOW: 4e-12, LITE_INT8: 1e-12}.get(
                engine, 3e-12
            )
            seconds += each.values * 1e-10
            if max(size) > 256:
                self.large.append((network.name, engine, size))
                seconds *= self.factor
                if self.failing > 0:
                    self.failing -= 1
                    return {}, {engine: "it crashed"}
            found[engine].append(Run(seconds, 8 * each.taps + 40.0 * each.widest))
        measured = {engine: found[engine] for engine in found if engine not in self.without}
        return measured, dict.fromkeys(self.without, "not installed")


def test_plan_measures_what_it_recommends(monkeypatch, few, caplog):
    measured = Measured(1.1)
    monkeypatch.setattr(rates, "measure", measured)
    plan = table.plan(512, 512, 20, model="srn")
    # 50 ms are 190,735 ns for each of 262,144 pixels; int8 takes 1e-12 and 1e-10 s.
    costs = {row.network.name: row for row in plan.rows if row.engine == LITE_INT8}
    for row in costs.values():
        arguments = tuple(row.network.arguments[key] for key in ("width", "scales", "res_blocks"))
        least = 1e3 * 512**2 * srn_by_hand(*arguments) * 1e-12
        assert least < row.ms < 1.3 * least + 10
        memory = 8 * taps_by_hand(*arguments[1:]) + 40 * arguments[0]
        assert row.memory_mb == pytest.approx(memory * 512**2 / 1e6)
    best = plan.recommended
    assert best.engine == LITE_INT8 and best.fits
    assert all(row.gmac <= best.gmac for row in plan.rows if row.fits)
    assert measured.large[0][1:] == (LITE_INT8, (512, 512))
    assert plan.measured.ms == pytest.approx(1.1 * best.ms, rel=0.2)
    said = "\n".join(caplog.messages)
    assert "measured here" in said and "predicted" in said
    assert "Recommended: " in str(plan)
    assert {TENSORFLOW, LITE_FLOAT, LITE_INT8} == {row.engine for row in plan.rows}


def test_plan_takes_a_lighter_one_where_the_first_misses_when_measured(monkeypatch, few, caplog):
    measured = Measured(8.0)
    monkeypatch.setattr(rates, "measure", measured)
    plan = table.plan(512, 512, 20, model="srn")
    assert len(measured.large) == 2
    first, second = (line for line in caplog.messages if "predicted" in line and "measured" in line)
    assert first != second
    assert plan.recommended.network.name == measured.large[1][0]


def test_what_cannot_be_run_is_said(monkeypatch, few, caplog):
    measured = Measured(1.0, failing=1, without=[LITE_FLOAT])
    monkeypatch.setattr(rates, "measure", measured)
    plan = table.plan(512, 512, 20, model="srn")
    assert "LiteRT float32: left out, not installed." in caplog.messages
    assert {row.engine for row in plan.rows} == {TENSORFLOW, LITE_INT8}
    (failed,) = (
        line for line in caplog.messages if "cannot be run at 512x512 (it crashed)" in line
    )
    assert not failed.startswith(plan.recommended.network.name + ",")
    assert plan.measured is not None
    everything = [TENSORFLOW, LITE_FLOAT, LITE_INT8]
    monkeypatch.setattr(rates, "measure", Measured(1.0, without=everything))
    with pytest.raises(UserError, match="nothing could be measured .not installed"):
        table.plan(512, 512, 20, model="srn")


@pytest.fixture
def toy_run(tmp_path, monkeypatch):
    """A run of a paper that says nothing of plans."""
    recipe = dataclasses.replace(
        experiment.load_recipe("srn", "quick"), model="toy", network={}, recipe="only"
    )
    toy = types.ModuleType("toy_tf.recipes")
    toy.RECIPES, toy.VARIANTS = {"only": lambda model: recipe}, {"toy": {}}
    toy.build = lambda experiment: Toy(**experiment.network)
    monkeypatch.setitem(sys.modules, "toy_tf", types.ModuleType("toy_tf"))
    monkeypatch.setitem(sys.modules, "toy_tf.recipes", toy)
    experiment.write(tmp_path, recipe, {})
    return tmp_path


def test_a_run_of_a_paper_that_offers_nothing(toy_run, monkeypatch):
    each = cost.count(Toy())
    plan = table.plan(90, 96, 25, workdir=toy_run, tops=4, utilisation=0.5)
    (row,) = plan.rows  # 90 rows become 96, which are a multiple of 48 and 16
    assert row.network.name == "this run"
    assert row.ms == pytest.approx(1e3 * 96 * 96 * each.multiplications / 1e12)
    measured = Measured(1.0)
    monkeypatch.setattr(rates, "measure", measured)
    plan = table.plan(480, 480, 25, workdir=toy_run)
    assert [row.network.name for row in plan.rows] == ["this run"] * 3
    best = plan.recommended
    seconds = 480**2 * (1e-12 * each.multiplications + 1e-10 * each.values)
    assert best.engine == LITE_INT8 and best.ms == pytest.approx(1e3 * seconds)
    assert best.memory_mb == pytest.approx(480**2 * (8 * each.taps + 40 * 8) / 1e6)
    assert measured.large == [("this run", LITE_INT8, (480, 480))]


def test_a_run_is_beside_what_its_paper_offers(tmp_path, few):
    recipe = experiment.load_recipe("srn_lstm", "quick")
    experiment.write(tmp_path, recipe, {})
    plan = table.plan(64, 64, 25, workdir=tmp_path, tops=4)
    names = {row.network.name for row in plan.rows}
    assert len(names) == 1 + 8 and "this run" in names
    assert not any("MPRNet" in name for name in names)


def test_nothing_fits_says_by_how_much(monkeypatch, few):
    monkeypatch.setattr(rates, "measure", Measured(1.0))
    plan = table.plan(720, 1280, 1000, model="srn")
    assert not plan.recommended.fits
    assert plan.recommended.network.name == "SRN width 8, 1 scale, 1 ResBlock"
    assert (
        str(plan)
        .splitlines()[-1]
        .startswith("Nothing fits. Closest: SRN width 8, 1 scale, 1 ResBlock")
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 10, 30), "--size 0x10"),
        ((10, 10, 0), "--fps 0"),
        ((10, 10, math.inf), "--fps inf"),
        ((10, 10, 30, {"tops": -1}), "--tops -1"),
        ((10, 10, 30, {"tops": 4, "utilisation": 1.5}), "--utilisation 1.5"),
        ((10, 10, 30, {"model": "resnet", "tops": 1}), "--model resnet"),
        ((10, 10, 30, {"workdir": "missing", "tops": 1}), "missing"),
    ],
)
def test_mistakes(arguments, expected):
    options = arguments[3] if len(arguments) > 3 else {}
    with pytest.raises(UserError, match=expected):
        table.plan(*arguments[:3], **options)


def test_device_times_do_not_depend_on_the_engine():
    network = Network("n", "srn", {"width": 8})
    seconds = Device(tops=2, utilisation=1).seconds(network, cost.Cost(1e6, 1, 1, 1, 8.0), "")
    assert seconds == pytest.approx(1e-6)


@pytest.mark.slow
def test_a_real_plan(monkeypatch):
    """The two lightest candidates."""
    offer(monkeypatch, [(8, 1, 1), (8, 1, 2)])
    plan = table.plan(64, 96, 0.5, model="srn")
    assert {row.engine for row in plan.rows} == {TENSORFLOW, LITE_FLOAT, LITE_INT8}
    assert plan.recommended.fits and plan.measured.ms > 0
    assert all(row.ms > 0 and row.memory_mb > 0 for row in plan.rows)
