"""A network whose training loss draws noise: the same noise however a batch is cut."""

import numpy as np
import pytest
from tiny_training import kill_at, rows, run, toy

from restore_tf.training.backend_engine import BackendEngine

WAYS = {
    "micro-batches": {"accumulate": 2},
    "two replicas": {"strategy": "mirrored"},
    "any backend's step": {"engine": BackendEngine},
}


def losses_of(workdir, **options):
    run(workdir, toy("sampler"), log_every=1, **options)
    return [float(row["loss"]) for row in rows(workdir) if row["loss"]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory, toys):
    """The losses of one device."""
    return losses_of(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.slow] * (way == "two replicas")) for way in WAYS]
)
def test_the_same_losses_however_a_batch_is_cut(tmp_path, plain, way):
    found = losses_of(tmp_path, **WAYS[way])
    assert len(found) == 4
    np.testing.assert_allclose(found, plain, rtol=2e-5)


def test_the_same_losses_after_a_kill(tmp_path, plain):
    kill_at(tmp_path, 4, toy("sampler"), log_every=1)
    np.testing.assert_allclose(losses_of(tmp_path), plain, rtol=1e-6)


def test_other_seeds_draw_other_noise(tmp_path, plain):
    found = losses_of(tmp_path, seed=1)
    # At least the noise: the mean square of level * normal, level uniform in (0, 1), is a third.
    assert np.mean(found) > 0.15
    assert not np.allclose(found, plain, rtol=1e-3)
