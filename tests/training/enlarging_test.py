"""Pairs of two sizes: a network that enlarges, from training to its scores."""

import csv

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from tiny_training import assert_equal_weights, kill_at, rows, run, toy, weights

from restore_tf.commands import evaluate, train
from restore_tf.datasets.sources import MemorySource
from restore_tf.errors import UserError


def pairs(count=6, side=24):
    """Smooth pictures, and the means of their squares of two by two."""
    down, across = np.mgrid[: 2 * side, : 2 * side]
    made = []
    for i in range(count):
        waves = [np.sin((down + i) / a + across / b) for a, b in ((3, 5), (7, 4), (5, 9))]
        sharp = 127 + 100 * np.stack(waves, axis=-1)
        small = sharp.reshape(side, 2, side, 2, 3).mean(axis=(1, 3))
        made.append([np.rint(picture).astype(np.uint8) for picture in (small, sharp)])
    return made


def source(count=6):
    return MemorySource([f"p{i}" for i in range(count)], pairs(count), output_scale=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, toys):
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    run(workdir, toy("enlarger"), source(), validation=source(3))
    return workdir


def test_the_degraded_score_is_that_of_bicubics(whole):
    scores = []
    for small, sharp in pairs(3):
        planes = [
            Image.fromarray(plane.astype(np.float32)).resize((48, 48), Image.BICUBIC)
            for plane in np.moveaxis(small, -1, 0)
        ]
        bicubic = np.rint(np.clip(np.stack(planes, -1), 0, 255)).astype(np.uint8)
        scores.append(peak_signal_noise_ratio(sharp, bicubic, data_range=255))
    (row,) = [row for row in rows(whole) if row["psnr_degraded"]][:1]
    assert float(row["psnr_degraded"]) == pytest.approx(np.mean(scores), abs=1e-3)


def test_a_killed_training_resumes_exactly(whole, tmp_path):
    kill_at(tmp_path, 4, toy("enlarger"), source(), validation=source(3))
    run(tmp_path, toy("enlarger"), source(), validation=source(3))
    assert_equal_weights(weights(tmp_path), weights(whole))


@pytest.mark.slow
def test_two_replicas_equal_one_device(whole, tmp_path):
    run(tmp_path, toy("enlarger"), source(), "mirrored", validation=source(3))
    assert_equal_weights(weights(tmp_path), weights(whole), atol=1e-6)


def test_pairs_of_one_size_are_refused(tmp_path):
    arrays = [(sharp, sharp) for _, sharp in pairs(3)]
    with pytest.raises(UserError, match="times as large"):
        run(tmp_path, toy("enlarger"), MemorySource(["a", "b", "c"], arrays))


def test_the_commands_take_pairs_of_two_sizes(tmp_path, capsys):
    for index, (small, sharp) in enumerate(pairs()):
        for kind, pixels in (("input", small), ("target", sharp)):
            folder = tmp_path / "data" / kind / "ab"[index // 3]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    data = [f"--data_dir={tmp_path / 'data'}", f"--workdir={tmp_path / 'run'}"]
    words = ["--model=enlarger", "--recipe=tiny", "--dataset=folder", "--validate_every=2"]
    assert train.main(["train.py", *words, *data]) == 0, capsys.readouterr().err
    output = tmp_path / "scores"
    assert evaluate.main(["evaluate.py", *data, "--limit=2", f"--output={output}"]) == 0
    with open(output / "scores.csv", newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["width"], row["height"]) == ("48", "48")
    with Image.open(next((output / "pictures" / "degraded").rglob("*.png"))) as shown:
        assert shown.size == (48, 48)
