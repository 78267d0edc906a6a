"""Small comparisons from end to end, with trainings in processes of their own."""

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
from tiny_comparison import photos, request, run, words
from tiny_training import toys  # noqa: F401

from restore_tf.commands import cli, compare
from restore_tf.commands.comparing import request as requests
from restore_tf.experiments import experiment as experiments

TOYS = Path(__file__).parents[1] / "toys"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos"))


def comparison_of(folder):
    """What report.py keeps."""
    from restore_tf.evaluation.comparison import report

    return report.read(folder)


@pytest.fixture
def with_toys(monkeypatch):
    """Trainings are processes of their own, which must know the toys, too."""
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOYS), str(root)]))


@pytest.mark.slow
def test_toys_are_trained_scored_and_compared(data, tmp_path, with_toys, capfd):
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
    # The control: what the first network makes of its own output, by Python alone.
    import restore_tf
    from restore_tf.pictures.files import read_rgb

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
def test_one_that_fails_does_not_stop_the_others(data, tmp_path, with_toys, capfd):
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
    assert "the same command goes on" in process.stderr.read()
    assert not (output / "scores.json").exists()
    assert run(*given) == 0
    assert comparison_of(output).rows[-1].training.startswith("300 steps")


@pytest.mark.slow
def test_a_run_against_itself_and_what_it_costs(data, tmp_path, with_toys):
    """Two copies of a run: every difference is 0, and so is its interval."""
    from restore_tf.evaluation.comparison import statistics

    assert run(*words(data, tmp_path / "first", "--nocurves")) == 0
    trained = tmp_path / "first" / "runs" / "onlyluma@folder_one_validation"
    for name in ("one", "two"):
        shutil.copytree(trained, tmp_path / name)
    given = words(data, tmp_path / "out", "--cost", "--cost_sizes=32x24", models=None)
    assert run(*given, tmp_path / "one", tmp_path / "two") == 0
    found = comparison_of(tmp_path / "out")
    one, two = (found.scores[name]["folder_one_validation"] for name in ("one", "two"))
    assert one == two and statistics is not None
    cost = found.row("one").cost
    assert cost.parameters == 10  # a 3x3 convolution from one channel to one
    assert cost.gmacs_per_megapixel == pytest.approx(9e6 / 1e9, rel=1e-6)
    assert cost.seconds_per_megapixel["32x24"] > 0


@pytest.mark.slow
def test_equal_minutes_are_found_by_measuring(data, tmp_path, with_toys):
    given = words(data, tmp_path / "out", "--nocurves", "--budget=minutes", "--minutes=0.02")
    assert run(*given) == 0
    found = comparison_of(tmp_path / "out")
    (rate,) = (tmp_path / "out" / "calibration").glob("*.json")
    steps = round(60 * 0.02 * json.loads(rate.read_text())["steps_per_second"])
    assert found.rows[-1].training.startswith(f"{steps:,} steps")


@pytest.mark.slow
def test_as_typed(tmp_path):
    """The embedded pictures and a real network: less than a minute, no network."""
    given = ["--models=srcnn", "--steps=20", "--limit=2", "--nocost", f"--output={tmp_path / 'c'}"]
    assert run(*given) == 0
    found = comparison_of(tmp_path / "c")
    assert [len(block.pictures) for block in found.blocks] == [2, 2]
    names = [row.name for row in found.rows if row.kind == "run"]
    assert names == ["srcnn@synthetic_defocus", "srcnn@synthetic_motion"]
