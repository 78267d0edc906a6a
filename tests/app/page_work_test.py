"""The work behind the page's buttons, without a page: what odd visitors make of it."""

import itertools
import re
import types

import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs restore_tf[app]")
import tiny_app  # noqa: E402
from tiny_app import decoded, pixels, png  # noqa: E402

from restore_tf.app import page_work  # noqa: E402

TAB = types.SimpleNamespace(session_hash="a tab's")
BLACK = np.zeros((40, 40, 3), np.uint8)
DEFAULTS = {"model": None, "strength": 1, "stages": 0, "ensemble": False, "format": "", "sharp": []}


@pytest.fixture
def network():
    return tiny_app.Inverting()


@pytest.fixture
def service(network):
    made = tiny_app.make(network, tiny_app.Doubling(), pictures=3, pixels=10**6, bytes=10**7)
    yield made
    network.go_on.set()
    made.close()


@pytest.fixture
def work(service):
    return page_work.PageWork(service, "")


def given(service, *pictures):
    """What the page's area holds when these pictures were sent."""
    uploads = []
    for number, picture in enumerate(pictures):
        path = service.store.new()
        path.write_bytes(png(picture))
        uploads.append({"id": path.name, "name": f"{number}.png"})
    return uploads


def restored(work, uploads, **options):
    """All that the button yields."""
    return list(work.restore(uploads, **{**DEFAULTS, **options}, request=TAB))


def compared(work, uploads, side=256, across=50, down=50):
    """All that Compare's button yields."""
    return work.compare(uploads, "inverting", "doubling", side, across, down, TAB)


def test_cancel_ends_its_own_tabs_work_alone(work, service, network):
    """One browser tab has the page's three tabs: while a photo is computed, a crop waits."""
    photo = work.restore(given(service, BLACK), **DEFAULTS, request=TAB)
    next(photo)
    assert network.started.wait(30)
    crop = compared(work, given(service, pixels(40, 40)))
    next(crop)
    work.cancel("compare", TAB)
    assert "Cancelled." in list(crop)[-1][0]
    assert "is being restored" in next(photo)[0]
    work.cancel("restore", TAB)
    assert "Cancelled." in list(photo)[-1][0]


def test_a_closed_tab_ends_all_of_its_work(work, service, network):
    photo = work.restore(given(service, BLACK), **DEFAULTS, request=TAB)
    next(photo)
    assert network.started.wait(30)
    crop = compared(work, given(service, pixels(40, 40)))
    next(crop)
    work.leave(TAB)
    for each in (crop, photo):
        assert "Cancelled." in list(each)[-1][0]


def test_cancel_between_two_pictures_is_heard(work, service):
    """Nothing is computed then: what was restored is being shown."""
    steps = work.restore(given(service, pixels(), pixels()), **DEFAULTS, request=TAB)
    shown = next(step for step in steps if "done" in step[0])
    assert "1 of 2" in shown[0]
    work.cancel("restore", TAB)
    last = list(steps)[-1]
    assert "Cancelled." in last[0] and "0_restored.png" in last[1] and "1_restored" not in last[1]
    assert "Done." in restored(work, given(service, pixels()))[-1][0]  # the next press is another


def test_one_archive_is_written_whatever_the_number_of_pictures(work, service):
    steps = restored(work, given(service, *(pixels(seed=seed) for seed in range(3))))
    assert "3 of 3 pictures restored." in steps[-1][0] and ".zip" in steps[-1][1]
    assert len(list(service.store.folder.glob("*.zip"))) == 1


@pytest.mark.parametrize("place", itertools.product([0, 50, 100], repeat=2))
def test_a_crop_of_a_tiny_picture_is_all_of_it(work, service, place):
    *_, (status, viewer) = compared(work, given(service, pixels(10, 10)), 256, *place)
    assert "Done." in status
    degraded = re.search(r'value="/page/results/(\w+\.png)">degraded', viewer)
    file = service.store.find(degraded[1]).read_bytes()
    np.testing.assert_array_equal(decoded(file), pixels(10, 10).repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("side", "size"), [(8, "1 kB"), (100, "30 kB"), (600, "1.1 MB")])
def test_sizes_are_told_in_fitting_units(work, service, side, size):
    *_, (_, results) = restored(work, given(service, pixels(side, side)), strength=0)
    assert f"<small>{size}; " in results


@pytest.mark.parametrize("field", ["strength", "stages"])
def test_an_emptied_field_is_its_default(work, service, field):
    assert "Done." in restored(work, given(service, pixels()), **{field: None})[-1][0]


def test_the_line_is_empty_after_all(work, service):
    restored(work, given(service, pixels()))
    assert service.line.taken == 0
