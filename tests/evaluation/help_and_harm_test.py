"""`benchmarks/help_and_harm.py`: its arguments, its lines and its verdicts."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore_tf.errors import UserError

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "help_and_harm.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("help_and_harm", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pairs", "a=none"], "--pairs a=none: expected NAME=FOLDER with blur/ and sharp/ in it"),
        (["--pairs", "."], "--pairs .: expected NAME=FOLDER"),
        (["--count", "1"], "--count 1: expected at least 2"),
        (["--output", "none/a.json"], "--output none/a.json: its folder does not exist"),
        (["--pictures", "grid.docx"], "--pictures grid.docx: expected a name in .png or .jpg"),
        (["--weights", "none"], "none: neither a run directory nor published weights"),
    ],
)
def test_wrong_words_are_one_line(words, said, tmp_path):
    weights = [] if "--weights" in words else ["--weights", "none"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *weights, *words],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_pieces_do_not_overlap_and_fit_together(script, tmp_path):
    for part, add in (("blur", 0), ("sharp", 1)):
        (tmp_path / part).mkdir()
        rows, columns = np.mgrid[:300, :700]
        picture = np.stack([rows % 256, columns % 256, np.full_like(rows, add)], -1)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / part / "1.png")
    found = script.pieces(tmp_path, 5)
    assert [degraded.shape for degraded, _ in found] == [(256, 256, 3)] * 2
    for degraded, sharp in found:
        np.testing.assert_array_equal(degraded[..., :2], sharp[..., :2])
        assert (degraded[..., 2].max(), sharp[..., 2].min()) == (0, 1)
    np.testing.assert_array_equal(found[0][0], found[1][0])  # 256 columns later: the same
    assert len(script.pieces(tmp_path, 1)) == 1


def test_pairs_that_do_not_fit_are_errors(script, tmp_path):
    for part in ("blur", "sharp"):
        (tmp_path / part).mkdir()
    with pytest.raises(UserError, match="blur: holds no pictures"):
        script.pieces(tmp_path, 5)
    for part, size in (("blur", (40, 30)), ("sharp", (30, 40))):
        Image.new("RGB", size).save(tmp_path / part / "1.png")
    with pytest.raises(UserError, match="the pair has two sizes, 40x30 and 30x40 pixels"):
        script.pieces(tmp_path, 5)


def test_lines_hold_their_kinds(script):
    lines, sharps = script.shots(None, 2)
    assert [line.name for line in lines] == list(script.SHOTS)
    assert {len(line.pairs) for line in lines} == {2}
    photos = script.whole_photos(None, 4)
    assert [photo.shape for photo in photos] == [(side, side, 3) for side in (256, 384, 512, 256)]
    *harm, crops = script.unblurred(photos, sharps)
    assert crops.bar is None
    assert [len(line.pairs) for line in harm] == [4, 4, 4, 4, 2, 2]
    noise = harm[0].pairs[0][0].astype(float) - harm[0].pairs[0][1]
    assert noise.std() == pytest.approx(2, rel=0.1)  # clipped where it is black or white
    assert all(line.bar == "harm" for line in harm)


@pytest.mark.parametrize(
    ("bar", "gained", "reached"),
    [
        (0.5, [0.4, 0.6, 0.8], True),
        (0.5, [0.3, 0.4, 0.5], False),
        (0.5, [-5.0, 6.0, 1.0], False),  # enough in the mean, but its interval has 0 in it
        ("harm", [-0.4, 0.3], True),
        ("harm", [-0.6, 0.7], False),  # one picture loses too much
        ("harm", [-0.3, -0.2], False),  # all lose too much together
        (None, [-9.0, 1.0], None),
    ],
)
def test_verdicts(script, bar, gained, reached):
    line = script.Line("", [], bar)
    numbers, found = script.verdict(line, np.array(gained))
    assert found is reached
    assert numbers["least"] == min(gained)
    assert numbers["mean"] == pytest.approx(np.mean(gained))
