"""REDS: layout in both published forms, its errors, and the builder on dummy_data."""

import shutil
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from restore_tf.datasets.reds import layout, reds_dataset_builder
from restore_tf.errors import UserError

DUMMY = Path(__file__).parent / "dummy_data"  # train as unpacked, val in the flat form


class RedsTest(tfds.testing.DatasetBuilderTestCase):
    """Prepares every config from dummy_data."""

    DATASET_CLASS = reds_dataset_builder.Builder
    EXAMPLE_DIR = DUMMY
    SPLITS = {"train": 4, "validation": 2, "test": 2}

    def _make_builder(self, config=None):
        # The test case reads with as_dataset, which TFDS lacks for ArrayRecord.
        return self.DATASET_CLASS(data_dir=self.tmp_dir, config=config, file_format="tfrecord")


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(DUMMY, tmp_path / "REDS"))


def names(split):
    return [pair.name for pair in layout.find_pairs(DUMMY, "blur", split)]


def test_validation_is_the_last_train_clip_and_test_the_published_val():
    assert names("train") == ["000/00000000", "000/00000001", "001/00000000", "001/00000001"]
    assert names("validation") == ["239/00000000", "239/00000001"]
    pair = layout.find_pairs(DUMMY, "blur_comp", "test")[1]
    assert pair.name == "000/00000001"
    assert pair.degraded == DUMMY / "val_blur_comp" / "000" / "00000001.png"
    assert pair.sharp == DUMMY / "val_sharp" / "000" / "00000001.png"


@pytest.mark.parametrize(
    ("config", "split", "message"),
    [("jpeg", "train", "blur, blur_comp"), ("blur", "val", "train, validation, test")],
)
def test_unknown_config_or_split_lists_the_valid_ones(config, split, message):
    with pytest.raises(UserError, match=message):
        layout.find_pairs(DUMMY, config, split)


def test_missing_folder_names_both_places(copy):
    shutil.rmtree(copy / "train" / "train_sharp")
    with pytest.raises(UserError, match="REDS/train_sharp: no such folder, nor .*train/train_shar"):
        layout.find_pairs(copy, "blur", "train")


def test_missing_clip_names_its_first_frame(copy):
    shutil.rmtree(copy / "train" / "train_sharp" / "001")
    with pytest.raises(UserError, match=r"001/00000000\.png: no sharp picture.*2 files"):
        layout.find_pairs(copy, "blur", "train")


def test_empty_folder_is_an_error(tmp_path):
    (tmp_path / "val_blur").mkdir()
    with pytest.raises(UserError, match="val_blur: holds no clips"):
        layout.find_pairs(tmp_path, "blur", "test")
