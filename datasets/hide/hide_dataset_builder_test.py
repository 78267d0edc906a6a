"""HIDE: layout, its errors, and the builder on dummy_data."""

import shutil
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from restore_tf.datasets.hide import hide_dataset_builder, layout
from restore_tf.errors import UserError

DUMMY = Path(__file__).parent / "dummy_data"


class HideTest(tfds.testing.DatasetBuilderTestCase):
    """Prepares the one config from dummy_data; GT/ there holds a train picture too."""

    DATASET_CLASS = hide_dataset_builder.Builder
    EXAMPLE_DIR = DUMMY
    SPLITS = {"test": 3}

    def _make_builder(self, config=None):
        # The test case reads with as_dataset, which TFDS lacks for ArrayRecord.
        return self.DATASET_CLASS(data_dir=self.tmp_dir, config=config, file_format="tfrecord")


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(DUMMY, tmp_path / "HIDE_dataset"))


def test_both_folders_are_paired_with_gt(copy):
    shutil.copy(copy / "test" / "test-long-shot" / "1fromGOPR1096.png", copy / "test" / "x.png")
    shutil.copy(copy / "GT" / "1fromGOPR1096.png", copy / "GT" / "x.png")
    pairs = layout.find_pairs(copy, "blur", "test")
    assert [pair.name for pair in pairs] == [
        "test-close-ups/1fromGOPR0950",
        "test-close-ups/2fromGOPR0950",
        "test-long-shot/1fromGOPR1096",
        "x",
    ]
    assert pairs[0].sharp == copy / "GT" / "1fromGOPR0950.png"


@pytest.mark.parametrize(("config", "split"), [("motion", "test"), ("blur", "train")])
def test_unknown_config_or_split(config, split):
    with pytest.raises(UserError, match=r"use one of: (blur|test)\."):
        layout.find_pairs(DUMMY, config, split)


def test_missing_partner_is_named(copy):
    (copy / "GT" / "2fromGOPR0950.png").unlink()
    with pytest.raises(UserError, match=r"test-close-ups/2fromGOPR0950\.png: no sharp picture"):
        layout.find_pairs(copy, "blur", "test")


def test_missing_folder_says_what_was_expected(copy):
    shutil.rmtree(copy / "GT")
    with pytest.raises(UserError, match="GT: no such folder; expected HIDE's test/"):
        layout.find_pairs(copy, "blur", "test")


def test_empty_folder_is_an_error(tmp_path):
    for folder in ("test", "GT"):
        (tmp_path / folder).mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        layout.find_pairs(tmp_path, "blur", "test")
