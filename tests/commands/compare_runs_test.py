"""Small comparisons from end to end, with trainings in processes of their own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from tiny_comparison import photos, request, run, words
from tiny_training import toys  # noqa: F401

from restore_tf.commands import cli, compare
from restore_tf.commands.comparing import processes
from restore_tf.commands.comparing import request as requests
from restore_tf.experiments import experiment as experiments
from restore_tf.pictures.files import read_rgb
from restore_tf.pictures.pixels import to_float
from restore_tf.training import run_log

TOYS = Path(__file__).parents[1] / "toys"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos"))


def comparison_of(folder):
    """What report.py keeps."""
    from restore_tf.evaluation.comparison import report

    return report.read(folder)


@pytest.fixture(scope="module")
def server():
    """One process of the module that trainings are forked from. They know the toys, too."""
    root = Path(__file__).parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TOYS), str(root)]))
        with processes.ForkServer() as running:
            yield running


@pytest.fixture
def forked(server, monkeypatch):
    """Forks all trainings from the module's server; `test_a_signal…` starts them as users do."""
    if not processes.can_fork():
        pytest.skip("trainings cannot be forked here")
    monkeypatch.setattr(processes, "ForkServer", lambda: contextlib.nullcontext(server))
    monkeypatch.setattr(processes, "started", server.start)


@pytest.fixture
def with_toys(monkeypatch):
    """Trainings are fresh processes, which must know the toys, too."""
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOYS), str(root)]))


@pytest.mark.slow
def test_toys_are_trained_scored_and_compared(data, tmp_path, forked, capfd):
    given = words(
        data,
        tmp_path / "out",
        "--chains=adversary+sampler",
        "--finish",
        models="adversary,sampler",
    )
    assert run(*given) == 0
    printed = capfd.readouterr().out
    found = comparison_of(tmp_path / "out")
    block = "folder_one_validation"
    assert [row.name for row in found.rows] == [
        "input",
        "unsharp",
        *(f"{model}@{block}" for model in ("adversary", "sampler")),
        f"adversary@{block}+adversary@{block}",
        f"adversary@{block}+sampler@{block}",
        f"adversary@{block}+sampler@{block}_finish",
    ]
    assert not any(row.missing for row in found.rows)
    assert found.row(f"adversary@{block}").training.startswith("2 steps of 2 networks each")
    assert found.row(f"adversary@{block}+sampler@{block}").training == ""
    assert found.rows[-1].training.startswith("4 steps")  # of the sampler, finishing
    # The control: what the first network makes of its own output, by Python alone.
    import restore_tf

    network = restore_tf.load_model(tmp_path / "out" / "runs" / f"adversary@{block}")
    picture = read_rgb(data / "input" / "b" / "1.png")
    twice = restore_tf.restore(network, restore_tf.restore(network, picture))
    path = found.picture_path(block, f"adversary@{block}+adversary@{block}", "b/1")
    np.testing.assert_array_equal(read_rgb(path), twice)

    # Again: nothing is trained or restored, and the same is said.
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").rglob("*.h5")}
    assert run(*given) == 0
    assert capfd.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in files} == files
    # Another folder: the same numbers and pictures.
    other = tmp_path / "other"
    assert run(*(str(each).replace(str(tmp_path / "out"), str(other)) for each in given)) == 0
    assert comparison_of(other).scores == found.scores
    pictures = sorted((tmp_path / "out" / "pictures").rglob("*.png"))
    for path in pictures:
        same = other / path.relative_to(tmp_path / "out")
        assert path.read_bytes() == same.read_bytes()


@pytest.mark.slow
def test_one_that_fails_does_not_stop_the_others(data, tmp_path, forked, capfd):
    output = tmp_path / "out"
    block = "folder_one_validation"
    given = words(data, output, "--nocurves", models="onlyluma,adversary")
    (output / "runs").mkdir(parents=True)
    requests.claim(output / "claimed", request(*given))
    (output / "claimed" / requests.FILE_NAME).rename(output / requests.FILE_NAME)
    (output / "claimed").rmdir()
    # A record of its run that nobody can read.
    damaged = output / "runs" / f"onlyluma@{block}"
    damaged.mkdir()
    (damaged / experiments.FILE_NAME).write_text("{")
    assert run(*given) == compare.SOME_MISSING
    rows = {row.name: row for row in comparison_of(output).rows}
    assert "damaged or written by another version" in rows[f"onlyluma@{block}"].missing
    assert rows[f"adversary@{block}"].missing is None
    assert "missing (" in capfd.readouterr().err
    # Put right, the same command does what is left.
    shutil.rmtree(damaged)
    assert run(*given) == 0
    assert not any(row.missing for row in comparison_of(output).rows)


@pytest.mark.slow
def test_a_signal_ends_it_and_the_same_command_goes_on(data, tmp_path, with_toys):
    output = tmp_path / "out"
    given = [*words(data, output, "--nocurves", models="onlyluma"), "--steps=300"]
    command = [sys.executable, "-m", "restore_tf.commands.compare", *map(str, given)]
    log = output / "runs" / "onlyluma@folder_one_validation" / "metrics.csv"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not log.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == cli.INTERRUPTED
    assert "the same command resumes" in process.stderr.read()
    assert not (output / "scores.json").exists()
    assert run(*given) == 0
    assert comparison_of(output).rows[-1].training.startswith("300 steps")


@pytest.mark.slow
def test_equal_minutes_a_run_against_itself_and_what_it_costs(data, tmp_path, forked):
    given = words(data, tmp_path / "first", "--nocurves", "--budget=minutes", "--minutes=0.02")
    assert run(*given) == 0
    found = comparison_of(tmp_path / "first")
    (rate,) = (tmp_path / "first" / "calibration").glob("*.json")
    steps = round(60 * 0.02 * json.loads(rate.read_text())["steps_per_second"])
    assert found.rows[-1].training.startswith(f"{steps:,} steps")

    # Two copies of the run: every difference is 0. A step without weights follows one of them.
    trained = tmp_path / "first" / "runs" / "onlyluma@folder_one_validation"
    for name in ("one", "two"):
        shutil.copytree(trained, tmp_path / name)
    given = words(
        data,
        tmp_path / "out",
        *("--cost", "--cost_sizes=32x24", "--chains=one+unsharp:2:1.5:3"),
        models=None,
    )
    assert run(*given, tmp_path / "one", tmp_path / "two") == 0
    found = comparison_of(tmp_path / "out")
    block = "folder_one_validation"
    assert found.scores["one"][block] == found.scores["two"][block]
    cost = found.row("one").cost
    assert cost.parameters == 10  # a 3x3 convolution from one channel to one
    assert cost.gmacs_per_megapixel == pytest.approx(9e6 / 1e9, rel=1e-6)
    assert cost.seconds_per_megapixel["32x24"] > 0
    assert found.row("input").cost.parameters == 0

    step, chain = "unsharp_2_1.5_3", "one+unsharp_2_1.5_3"
    assert found.row(step).cost.parameters == 0
    assert found.row(step).cost.seconds_per_megapixel["32x24"] > 0
    chained = found.row(chain).cost
    assert (chained.parameters, chained.training_parameters) == (10, 10)
    once, after = (read_rgb(found.picture_path(block, row, "b/1")) for row in ("one", chain))
    sharpened = to_float(once) + 1.5 * (to_float(once) - blurred(to_float(once)))
    kept = np.abs(to_float(once) - blurred(to_float(once))) <= 3 / 255
    expected = np.where(kept, once, np.clip(np.rint(255 * sharpened), 0, 255))
    assert (np.abs(after - expected) <= 1).mean() > 0.999  # a threshold is as good as its last bit


def blurred(picture):
    """By a Gaussian of sigma 2 pixels."""
    return ndimage.gaussian_filter(picture.astype(np.float64), (2, 2, 0), mode="nearest")


@pytest.mark.slow
def test_as_typed(tmp_path, forked, caplog):
    """The embedded pictures and a real network, nothing downloaded; costs and curves when asked."""
    given = ["--models=srcnn", "--steps=20", "--limit=2", f"--output={tmp_path / 'c'}"]
    assert run(*given) == 0
    assert "a trial: without --cost and --curves" in caplog.text
    found = comparison_of(tmp_path / "c")
    assert not found.curves and all(not row.cost.seconds_per_megapixel for row in found.rows)
    assert [len(block.pictures) for block in found.blocks] == [2, 2]
    names = [row.name for row in found.rows if row.kind == "run"]
    assert names == ["srcnn@synthetic_defocus", "srcnn@synthetic_motion"]


@pytest.mark.slow
def test_trainings_forked_from_one_process_are_as_those_of_fresh_ones(tmp_path, server):
    """The server outlives a training that fails, and ends those that are left at its end."""
    if not processes.can_fork():
        pytest.skip("trainings cannot be forked here")

    def given(folder, *more):
        return [
            *"--model=srcnn --recipe=quick --set=batch=2 --set=crop=24 --log_every=1".split(),
            *("--validation_pictures=1", f"--workdir={folder}", *more),
        ]

    bad = server.start(["--model=srcnnn"], tmp_path / "bad.log")
    forked = server.start(given(tmp_path / "forked", "--steps=3"), tmp_path / "forked.log")
    fresh = processes.started(given(tmp_path / "fresh", "--steps=3"), tmp_path / "fresh.log")
    assert (bad.wait(), forked.wait(), fresh.wait()) == (cli.USER_ERROR, 0, 0)
    assert processes.last_line(tmp_path / "bad.log").startswith("--model srcnnn: no such paper")
    losses = [
        [(row["step"], row["loss"]) for row in run_log.read(tmp_path / name)]
        for name in ("forked", "fresh")
    ]
    assert len(losses[0]) > 2
    np.testing.assert_allclose(*(numbers(each) for each in losses), rtol=1e-5)
    assert processes.logged_step(tmp_path / "forked") == 3

    with processes.ForkServer() as own:
        folder = tmp_path / "left"
        left = own.start(given(folder, "--steps=100000"), tmp_path / "left.log")
        while processes.logged_step(folder) < 2 and left.poll() is None:
            time.sleep(0.05)
        own.close()
        assert left.poll() == 0
    assert "the same command resumes from there" in (tmp_path / "left.log").read_text()


def numbers(rows):
    """(step, loss) of rows of metrics.csv that have a loss."""
    return np.array([[float(step), float(loss)] for step, loss in rows if loss])
