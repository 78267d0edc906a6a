"""RealBlur: list files and their errors, and the builder on dummy_data."""

import shutil
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from restore_tf.datasets.realblur import layout, realblur_dataset_builder
from restore_tf.errors import UserError

DUMMY = Path(__file__).parent / "dummy_data"
SCENE = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref/scene003"


class RealblurTest(tfds.testing.DatasetBuilderTestCase):
    """Prepares every config from dummy_data."""

    DATASET_CLASS = realblur_dataset_builder.Builder
    EXAMPLE_DIR = DUMMY
    SPLITS = {"train": 3, "validation": 1, "test": 2}

    def _make_builder(self, config=None):
        # The test case reads with as_dataset, which TFDS lacks for ArrayRecord.
        return self.DATASET_CLASS(data_dir=self.tmp_dir, config=config, file_format="tfrecord")


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(DUMMY, tmp_path / "RealBlur"))


def names(split):
    return [pair.name for pair in layout.find_pairs(DUMMY, "r", split)]


def test_lists_make_pairs_and_validation_is_a_whole_scene():
    assert names("train") == ["scene001/1", "scene001/2", "scene010/1"]
    assert names("validation") == ["scene230/7"]
    pair = layout.find_pairs(DUMMY, "j", "test")[1]
    assert pair.name == "scene003/12"
    assert pair.degraded == DUMMY / SCENE / "blur" / "blur_12.png"
    assert pair.sharp == DUMMY / SCENE / "gt" / "gt_12.png"


@pytest.mark.parametrize(
    ("config", "split", "message"),
    [("J", "train", "one of: j, r"), ("j", "val", "train, validation, test")],
)
def test_unknown_config_or_split_lists_the_valid_ones(config, split, message):
    with pytest.raises(UserError, match=message):
        layout.find_pairs(DUMMY, config, split)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{SCENE}/gt/gt_1.png", "line 2: expected two paths"),
        (f"../{SCENE}/gt/gt_1.png {SCENE}/blur/blur_1.png", "line 2: .* leads out of"),
        (f"/{SCENE}/gt/gt_1.png {SCENE}/blur/blur_1.png", "line 2: .* leads out of"),
        (f"{SCENE}/blur/blur_1.png {SCENE}/gt/gt_1.png", "line 2: .* is not like sceneNNN/gt"),
        (f"{SCENE}/gt/gt_1.png {SCENE}/blur/blur_9.png", r"blur_9\.png: no such file, but"),
        (f"{SCENE}/gt/gt_1.png {SCENE}/blur/blur_12.png", r"gt_1\.png: no degraded picture"),
        (f"{SCENE}/gt/gt_12.png {SCENE}/blur/blur_12.png\n" * 2, "line 3: .* is listed twice"),
        ("", "lists no pictures"),
    ],
)
def test_bad_lines_are_named(copy, line, message):
    (copy / "RealBlur_J_test_list.txt").write_text(f"\n{line}\n")
    with pytest.raises(UserError, match=message):
        layout.find_pairs(copy, "j", "test")


def test_missing_list_says_what_was_expected(copy):
    (copy / "RealBlur_J_train_list.txt").unlink()
    with pytest.raises(UserError, match=r"RealBlur_J_train_list\.txt: no such file; expected"):
        layout.find_pairs(copy, "j", "train")
