"""Blur dataset: pairs by ID, the split by ID, errors, and the builder on dummy_data."""

import shutil
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from restore_tf.datasets.blur_dataset import blur_dataset_dataset_builder, layout
from restore_tf.errors import UserError

DUMMY = Path(__file__).parent / "dummy_data"


class BlurDatasetTest(tfds.testing.DatasetBuilderTestCase):
    """Prepares every config from dummy_data."""

    DATASET_CLASS = blur_dataset_dataset_builder.Builder
    EXAMPLE_DIR = DUMMY
    SPLITS = {"train": 2, "validation": 1, "test": 1}

    def _make_builder(self, config=None):
        # The test case reads with as_dataset, which TFDS lacks for ArrayRecord.
        return self.DATASET_CLASS(data_dir=self.tmp_dir, config=config, file_format="tfrecord")


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(DUMMY, tmp_path / "blur_dataset"))


def names(data_dir, split):
    return [pair.name for pair in layout.find_pairs(data_dir, "motion", split)]


def test_pairs_and_split_by_id_whatever_the_extension():
    assert names(DUMMY, "train") == ["000", "089"]
    assert names(DUMMY, "validation") == ["300"]
    pair = layout.find_pairs(DUMMY, "defocus", "test")[0]
    assert pair.name == "349"
    assert pair.degraded == DUMMY / "defocused_blurred" / "349_NIKON-D3400-35MM_F.JPG"
    assert pair.sharp == DUMMY / "sharp" / "349_NIKON-D3400-35MM_S.JPG"


def test_limits_of_the_split(tmp_path):
    for folder, letter in (("sharp", "S"), ("motion_blurred", "M"), ("defocused_blurred", "F")):
        (tmp_path / folder).mkdir()
        for number in (0, 279, 280, 314, 315, 349):
            (tmp_path / folder / f"{number}_X_{letter}.jpg").touch()
    assert names(tmp_path, "train") == ["000", "279"]
    assert names(tmp_path, "validation") == ["280", "314"]
    assert names(tmp_path, "test") == ["315", "349"]


@pytest.mark.parametrize(
    ("config", "split", "message"),
    [("blur", "train", "motion, defocus"), ("motion", "val", "train, validation, test")],
)
def test_unknown_config_or_split_lists_the_valid_ones(config, split, message):
    with pytest.raises(UserError, match=message):
        layout.find_pairs(DUMMY, config, split)


def test_bad_names_are_named(copy):
    sharp = copy / "sharp"
    extra = sharp / "0_OTHER_S.jpg"
    extra.touch()
    with pytest.raises(UserError, match=r"0_OTHER_S\.jpg: 0_IPHONE-SE_S\.JPG has the same ID"):
        layout.find_pairs(copy, "motion", "train")
    for name in ("7_X_F.jpg", "999_X_S.jpg", "holiday.jpg"):
        extra = extra.rename(sharp / name)
        with pytest.raises(UserError, match=f"{name}: not named ID_DEVICE_S with ID 0-349"):
            layout.find_pairs(copy, "motion", "train")


def test_missing_partner_folder_or_picture_is_named(copy):
    (copy / "sharp" / "300_HONOR-7X_S.jpg").unlink()
    with pytest.raises(UserError, match=r"300_HONOR-7X_M\.jpg: no sharp picture"):
        layout.find_pairs(copy, "motion", "train")
    (copy / "motion_blurred" / "300_HONOR-7X_M.jpg").unlink()
    with pytest.raises(UserError, match="no pictures with IDs 280-314"):
        layout.find_pairs(copy, "motion", "validation")
    shutil.rmtree(copy / "defocused_blurred")
    with pytest.raises(UserError, match="defocused_blurred: no such folder; expected"):
        layout.find_pairs(copy, "defocus", "train")
