"""A link trained on what the links before it give, and all links of a chain together."""

import itertools
import json
import os
import shutil

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from tiny_training import assert_equal_weights, folders, rows, weights
from tiny_training import toys as toys

import restore_tf
from restore_tf.commands import chain, evaluate, train
from restore_tf.datasets import cropping, sources
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.training.after_chain import AfterChain
from restore_tf.weights import chains

pytestmark = pytest.mark.usefixtures("toys")

SMALL = (
    "--model=onlyluma --recipe=tiny --set=batch=2 --set=crop=32 --validate_every=4 "
    "--checkpoint_every=2 --log_every=2 --validation_pictures=2"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return folders(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def first(tmp_path_factory, data):
    workdir = tmp_path_factory.mktemp("runs") / "first"
    assert train.main(["train.py", *SMALL, *data, "--steps=4", f"--workdir={workdir}"]) == 0
    return workdir


STEP = "unsharp:1:0.5:0"


def follow(first, workdir, *flags, steps=4):
    links = f"--chain={first},{STEP}"
    return train.main(
        ["train.py", *SMALL, links, f"--steps={steps}", f"--workdir={workdir}", *flags]
    )


def join(folder, *links):
    assert chain.main(["restore-tf chain", *links, f"--output={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def second(first):
    """Follows the first and a step, on the first one's data, which it finds by itself."""
    workdir = first.parent / "second"
    assert follow(first, workdir) == 0
    return workdir


def test_it_trains_on_what_the_links_give_as_files(first, second, tmp_path):
    recipe, run = experiments.read(second)
    assert recipe.dataset == "folder"
    assert run.after["links"] == [str(first), STEP]
    folder = run.degraded_dir
    pictures = sorted((second / "after_chain" / "validation").glob("*.png"))
    assert len(pictures) == 6
    chained = restore_tf.load_model(join(tmp_path / "before", str(first), STEP))
    for index, kept in enumerate(pictures):
        degraded = cropping.decode(os.path.join(folder, "b", f"{index}.png"))
        np.testing.assert_array_equal(cropping.decode(kept), restore_tf.restore(chained, degraded))
    # What the training calls degraded is what it got: the first two and the last, evenly spread.
    scores = []
    for index in (0, 5):
        sharp = cropping.decode(os.path.join(run.sharp_dir, "b", f"{index}.png"))
        scores.append(peak_signal_noise_ratio(sharp, cropping.decode(pictures[index])))
    found = [row["psnr_degraded"] for row in rows(second) if row["psnr_degraded"]]
    assert float(found[0]) == pytest.approx(np.mean(scores), abs=1e-3)


def test_interrupted_it_computes_only_what_is_missing(first, second, tmp_path):
    """Killed while it computed, and again while it trained."""
    workdir, computed = tmp_path / "run", []
    recipe, run = experiments.read(second)
    source = sources.open_source(
        "folder", "pairs", "train", degraded_dir=run.degraded_dir, sharp_dir=run.sharp_dir
    )
    pairs = AfterChain(source, 1, workdir / "pictures", {"chain": "x"})

    def killed(picture):
        computed.append(picture)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return picture

    with pytest.raises(KeyboardInterrupt):
        pairs.prepare(killed)
    assert len(pairs.missing()) == len(pairs) - 2
    again = AfterChain(source, 1, workdir / "pictures", {"chain": "x"})
    again.prepare(lambda picture: computed.append(picture) or 255 - picture)
    assert len(computed) == 3 + len(pairs) - 2
    for index in range(len(pairs)):
        degraded, sharp = again.read(index)
        given = source.read(index)
        np.testing.assert_array_equal(degraded, given[0] if index < 2 else 255 - given[0])
        np.testing.assert_array_equal(sharp, given[1])
        crops = again.read_crop(index, lambda size: (5, 7), 20)
        np.testing.assert_array_equal(crops[0], degraded[5:25, 7:27])
        np.testing.assert_array_equal(crops[1], sharp[5:25, 7:27])
    with pytest.raises(UserError, match="computed from other weights or pairs"):
        AfterChain(source, 1, workdir / "pictures", {"chain": "y"}).check()
    (workdir / "pictures" / "record.json").write_text("{")
    with pytest.raises(UserError, match="the origin of the pictures beside it is unknown"):
        again.check()


def test_pairs_of_two_sizes_after_an_enlarging_chain(tmp_path):
    arrays = [np.random.default_rng(0).integers(0, 256, (s, s, 3), np.uint8) for s in (12, 48)]
    source = sources.MemorySource(["a"], [arrays], output_scale=4)
    pairs = AfterChain(source, 2, tmp_path / "p", {})
    pairs.prepare(lambda picture: picture.repeat(2, 0).repeat(2, 1))
    assert (pairs.sizes, pairs.output_scale) == ([(24, 24)], 2)
    degraded, sharp = pairs.read_crop(0, lambda size: (3, 4), 10)
    np.testing.assert_array_equal(degraded, arrays[0].repeat(2, 0).repeat(2, 1)[3:13, 4:14])
    np.testing.assert_array_equal(sharp, arrays[1][6:26, 8:28])


def test_resumed_it_is_as_if_never_stopped(first, second, tmp_path, monkeypatch):
    from restore_tf.training.checkpoints import Checkpoints

    save = Checkpoints.save

    def kill(self):
        save(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", kill)
    assert follow(first, tmp_path / "run") == 130
    monkeypatch.undo()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.png")}
    assert follow(first, tmp_path / "run") == 0
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path.exists())
    assert_equal_weights(weights(tmp_path / "run"), weights(second))


def test_other_links_are_refused(first, second, tmp_path, capfd):
    assert follow(first, second, "--chain=" + str(first), steps=9) == 2
    assert "was started with --chain" in capfd.readouterr().err
    shutil.copytree(first, tmp_path / "own")
    assert follow(tmp_path / "own", tmp_path / "run", steps=1) == 0
    model = restore_tf.load_model(tmp_path / "own")
    model.weights[0].assign(model.weights[0] + 1)
    model.save_weights(tmp_path / "own" / "best.weights.h5")
    assert follow(tmp_path / "own", tmp_path / "run", steps=9) == 2
    assert "changed since it was started" in capfd.readouterr().err
    words = ["--model=enlarger", "--recipe=tiny", f"--chain={first}", f"--workdir={tmp_path / 'x'}"]
    assert train.main(["train.py", *words]) == 2
    assert "link 2, enlarger, takes pictures of 3 channels (rgb)" in capfd.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_joined_chain_is_scored_after_every_link(first, second, tmp_path, capsys):
    folder = join(tmp_path / "chain", str(first), STEP, str(second))
    capsys.readouterr()
    assert chain.main(["restore-tf chain", f"--table={folder}", "--limit=2"]) == 0
    printed = capsys.readouterr().out
    lines = (folder / "table.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "link", "degraded input", "onlyluma", STEP, "onlyluma",
    ]  # fmt: skip
    assert "All links together" in printed
    values = [float(line.split(",")[1]) for line in lines[1:]]
    added = [float(line.split(",")[2]) for line in lines[2:]]
    np.testing.assert_allclose(np.diff(values), added, atol=1e-9)
    words = [f"--workdir={folder}", "--limit=2", f"--output={tmp_path / 'scores'}"]
    assert evaluate.main(["evaluate.py", *words]) == 0
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())["summary"]
    assert scores["restored"]["psnr"]["mean"] == pytest.approx(values[-1], abs=1e-9)
    assert scores["degraded"]["psnr"]["mean"] == pytest.approx(values[0], abs=1e-9)


def test_all_links_are_trained_together(first, second, tmp_path, capfd):
    folder = join(tmp_path / "chain", str(first), STEP, str(second))
    tuned = tmp_path / "tuned"
    words = ["--model=chain", f"--init_from={folder}", "--steps=3", "--validate_every=3"]
    code = train.main(["train.py", *words, "--checkpoint_every=1", f"--workdir={tuned}"])
    assert code == 0, capfd.readouterr().err
    recipe, run = experiments.read(tuned)
    assert recipe.learning_rate == experiments.read(second)[0].learning_rate / 10
    assert run.degraded_dir == experiments.read(first)[1].degraded_dir
    assert train.main(["train.py", *words[:2], "--steps=4", f"--workdir={tuned}"]) == 0  # goes on
    before, after = (restore_tf.load_model(place) for place in (folder, tuned))
    assert len(before.weights) == len(after.weights) > 0
    moved = [
        np.abs(a - b).max() for a, b in zip(before.get_weights(), after.get_weights(), strict=True)
    ]
    half = len(moved) // 2
    assert 0 < max(moved[:half]) < 0.01
    assert 0 < max(moved[half:]) < 0.01
    # It loads without the runs it came from.
    shutil.move(tuned, tmp_path / "elsewhere")
    moved_run = tmp_path / "elsewhere"
    hidden = first.with_name("hidden")
    first.rename(hidden)
    try:
        latest = restore_tf.load_model(moved_run, "latest")
        assert_equal_weights(latest.get_weights(), after.get_weights())
    finally:
        hidden.rename(first)


def test_a_chains_links_are_trained_in_turn_and_scored(data, tmp_path, monkeypatch, capsys):
    """Stopped while the second link's pictures are computed; the same command goes on."""
    folder = tmp_path / "twice"
    words = ["restore-tf chain", "--recipe=twice", f"--output={folder}", "--steps=2", *data[1:]]
    load = chains.load

    def stopped_at_the_third(links):
        model, count = load(links), itertools.count(1)
        once = model.links[0].restore_padded

        def restore_padded(*inputs):
            if next(count) == 3:
                raise KeyboardInterrupt
            return once(*inputs)

        model.links[0].restore_padded = restore_padded
        return model

    with monkeypatch.context() as patch:
        patch.setattr(chains, "load", stopped_at_the_third)
        assert chain.main(words) == 130
    kept = sorted(folder.rglob("after_chain/*/*.png"))
    assert len(kept) == 2
    times = [path.stat().st_mtime_ns for path in kept]
    assert chain.main(words) == 0
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert len(list(folder.rglob("after_chain/*/*.png"))) == 12
    content = json.loads((folder / "experiment.json").read_text())["experiment"]
    assert content["network"]["links"] == [
        os.path.join("links", "1_onlyluma"), os.path.join("links", "2_onlyluma"), STEP,
    ]  # fmt: skip
    assert len((folder / "table.csv").read_text().splitlines()) == 5
    assert "All links are trained" in capsys.readouterr().out
    shutil.move(folder, tmp_path / "moved")  # it holds its links
    restore_tf.load_model(tmp_path / "moved")


def test_unknown_recipes_are_listed(tmp_path, capfd):
    assert chain.main(["restore-tf chain", "--recipe=twise", f"--output={tmp_path / 'x'}"]) == 2
    assert "(did you mean twice?)" in capfd.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_chain_is_not_trained_without_its_links(tmp_path, capfd):
    assert train.main(["train.py", "--model=chain", f"--workdir={tmp_path / 'x'}"]) == 2
    error = capfd.readouterr().err
    assert "--init_from CHAIN" in error
    assert "Traceback" not in error
