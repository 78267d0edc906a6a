"""The drawing, parsed as XML; where labels stand."""

import dataclasses
import itertools
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from toy_comparison import changed, from_tables, planted, with_pictures

from restore_tf.evaluation.comparison import scatter
from restore_tf.evaluation.comparison.labels import Box, place_labels
from restore_tf.evaluation.comparison.results import Curve, Point
from restore_tf.evaluation.comparison.statistics import analyse


def _drawn(comparison):
    found = next(iter(analyse(comparison).values()))
    return ElementTree.fromstring(str(scatter.scatter(comparison, found)))


def _places(drawing):
    """{row: (x, y)} of what is drawn as a circle."""
    return {
        mark.find("title").text.partition(":")[0]: (
            float(mark.find("circle").get("cx")),
            float(mark.find("circle").get("cy")),
        )
        for mark in drawing.iter("g")
        if mark.find("circle") is not None
    }


def test_better_is_up_and_right():
    psnr = {"input": [20.0] * 6, "a": [21.0] * 6, "b": [24.0] * 6}
    lpips = {"input": [0.5] * 6, "a": [0.1] * 6, "b": [0.3] * 6}
    places = _places(_drawn(from_tables({"psnr": psnr, "lpips": lpips})))
    assert places["INPUT"][0] < places["A"][0] < places["B"][0]
    assert places["A"][1] < places["B"][1] < places["INPUT"][1]  # SVG's y points down
    # Linear: 21 and 24 stand 1 and 4 right of 20.
    ratio = (places["B"][0] - places["INPUT"][0]) / (places["A"][0] - places["INPUT"][0])
    assert ratio == pytest.approx(4, abs=0.01)


def test_intervals_are_bars_and_spreads_are_not():
    assert len(_drawn(planted(20)).findall(".//path[@class='bar']")) == 2 * 4
    assert _drawn(planted(4)).findall(".//path[@class='bar']") == []


def test_one_metric_alone_is_not_drawn():
    found = from_tables({"psnr": {"input": [20.0] * 6}})
    assert scatter.scatter(found, analyse(found)["defocus"]) is None


def test_infinite_means_are_left_out():
    tables = {"psnr": {"a": [math.inf] * 6, "b": [20.0] * 6}, "gmsd": {"a": [0] * 6, "b": [1] * 6}}
    assert list(_places(_drawn(from_tables(tables)))) == ["B"]


def test_curves_of_knobs(tmp_path):
    found = with_pictures(tmp_path, 1, ("psnr", "gmsd"), ["unet@all"])
    drawing = _drawn(found)
    assert len(drawing.find("polyline").get("points").split()) == 4
    assert {"strength 0.25", "strength 1.0"} <= {text.text for text in drawing.iter("text")}
    blend = Curve("A + B", "blend", [Point("0.5", found.curves[0].points[0].scores)])
    drawing = _drawn(changed(found, curves=(blend,)))
    assert drawing.find("polyline/title").text == "A + B: blend"


def test_labels_never_overlap():
    random = np.random.default_rng(0)
    for spread in (1, 20, 200):
        points = [(f"network number {n}", *(random.normal((400, 240), spread))) for n in range(20)]
        boxes = place_labels(points, Box(0, 0, 800, 480))
        assert len(boxes) == 20
        assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_labels_that_are_not_needed_are_left_out_in_a_crowd():
    points = [("a long name of a network", 400.0, 240.0)] * 30
    boxes = place_labels(points, Box(0, 0, 800, 480), needed=2)
    assert None not in boxes[:2]
    assert None in boxes
    alone = place_labels(points[:1], Box(0, 0, 800, 480), needed=0)
    assert None not in alone


def test_labels_are_escaped():
    rows = [dataclasses.replace(row, label="<b>&") for row in planted(6).rows]
    texts = {text.text for text in _drawn(changed(planted(6), rows=rows)).iter("text")}
    assert "<b>& (good)" in texts
