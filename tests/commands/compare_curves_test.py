"""Curves of a comparison: their points, and which of them are rows of the table."""

from types import SimpleNamespace

from restore_tf.commands.comparing.curves import Curves
from restore_tf.commands.comparing.entries import Entry


class _Networks:
    """A sampler of 2 steps by default: each is a pass, and one comes first."""

    def model(self, run, steps=2):
        return SimpleNamespace(knobs={"steps": (1, 2, 4)}, steps=steps, evaluations=1 + steps)

    def digest(self, entry):
        return "weights"


class _Scorer:
    """Remembers what was restored for curves."""

    metrics = ("psnr",)

    def __init__(self):
        self.made = []

    def digest(self, pairs, row):
        return row

    def score(self, row, pairs, restore, digest, names, keep):
        assert not keep and names
        self.made.append(row)
        return {"picture": {"psnr": 1.0}}


def test_the_setting_of_the_table_is_not_measured_again():
    scores = {
        row: {"block": {"picture": {"psnr": value, "ssim": 0.5}}}
        for row, value in (("input", 20.0), ("sampler@block", 25.0))
    }
    scorer = _Scorer()
    blocks = [SimpleNamespace(block=SimpleNamespace(name="block"))]
    entry = Entry("sampler@block", "sampler", "run", "block", "runs/sampler")
    knob, strength = Curves(scorer, blocks, _Networks(), scores).all([entry])
    assert (knob.row, knob.knob) == ("sampler@block", "steps")
    labels = ["1 step, 2 passes", "2 steps, 3 passes", "4 steps, 5 passes"]
    assert [point.label for point in knob.points] == labels
    values = [point.scores["block"]["picture"]["psnr"] for point in knob.points]
    assert values == [1.0, 25.0, 1.0]
    assert [row for row in scorer.made if "steps" in row] == [
        "curves/sampler@block_steps_1",
        "curves/sampler@block_steps_4",
    ]
    ends = [strength.points[0], strength.points[-1]]
    assert [point.scores["block"]["picture"]["psnr"] for point in ends] == [20.0, 25.0]
