"""restore.py --disagreement with networks that draw noise, and with one that does not."""

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_training import toys as toys

from restore_tf.commands import cli, restore
from restore_tf.experiments import experiment as experiments
from restore_tf.pictures import files


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toys):
    """{toy: run directory}; the sampler adds nothing but noise, 0.1 times three fields of it."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("enlarger", "sampler"):
        recipe = experiments.load_recipe(name, "tiny")
        keras.utils.set_random_seed(3)
        model = experiments.build(recipe)
        if name == "sampler":
            model.conv.set_weights([np.zeros((1, 1, 3, 3)), np.zeros(3)])
        experiments.write(folder / name, recipe, {})
        model.save_weights(folder / name / "best.weights.h5")
    return folder


@pytest.fixture
def place(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    gray = np.full((40, 400, 3), 128, np.uint8)
    files.write_picture("photos/a.png", gray)
    alpha = np.full((40, 400), 255, np.uint8)
    alpha[:, :100] = 0
    files.write_picture("photos/b.png", files.Picture(gray[..., 0], alpha))
    return runs


def run(runs, name, *words):
    return restore.main(["restore.py", "--workdir", str(runs / name), *words])


def read(path):
    return np.asarray(Image.open(path))


def test_the_map_shows_the_deviation_and_its_scale(place, capsys):
    assert run(place, "sampler", "photos", "--output=out", "--disagreement", "--seed=3") == 0
    captured = capsys.readouterr()
    assert captured.out == "2 of 2 pictures restored into out\n"
    shown = read("out/a_disagreement.png")
    assert shown.shape[0] > 40 and shown.shape[1:] == (400, 3)
    # By hand: 0.1 sqrt(3) is 44 of 255 levels; the scale ends at 100, where red lies at a third.
    levels = 100 * shown[:40].sum(axis=-1, dtype=float) / (3 * 255)
    assert np.sqrt(np.mean(levels**2)) == pytest.approx(255 * 0.1 * np.sqrt(3), rel=0.03)
    assert "photos/a.png: pictures of 8 seeds deviate by 4" in captured.err
    assert not read("out/b_disagreement.png")[:40, :100].any()  # fully transparent
    assert read("out/b_disagreement.png")[:40, 100:].any(axis=-1).all()


def test_the_picture_is_that_of_the_seed(place, capsys):
    assert run(place, "sampler", "photos", "--output=out", "--disagreement", "--seed=3") == 0
    assert run(place, "sampler", "photos", "--output=alone", "--seed=3", "--strip") == 0
    for name in ("a.png", "b.png"):
        np.testing.assert_array_equal(read(f"out/{name}"), read(f"alone/{name}"))
    assert run(place, "sampler", "photos", "--output=out", "--disagreement", "--overwrite") == 0


def test_maps_of_an_earlier_run_are_no_inputs(place, capsys):
    for more in ((), ("--overwrite",)):
        words = ("photos", "--suffix=_s", "--disagreement", "--tile=32", *more)
        assert run(place, "sampler", *words) == 0
        assert "2 of 2 pictures restored beside the inputs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("enlarger", ["photos", "--output=out"], "enlarger draws no noise, so that every --seed"),
        ("sampler", ["photos/a.png", "--output=-"], "--disagreement: writes a file"),
    ],
)
def test_what_gives_no_map_is_one_line(place, capsys, tmp_path, name, words, message):
    assert run(place, name, *words, "--disagreement") == cli.USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --disagreement: ") and message in line
    assert not (tmp_path / "out").exists()
