import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmar.choices import FITS
from palmar.errors import BadValue, UnknownName
from palmar.pictures import Resizer, fit, size_for, sizes_for


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_shrinking_is_the_mean_of_what_a_pixel_covers():
    image = noise(480, 640)
    mean = image.reshape(96, 5, 128, 5, 3).mean((1, 3))
    assert np.abs(fit(image, 96, 128).astype(float) - mean).max() <= 1.5  # weights are multiples of 1/256
    uneven = fit(noise(9, 12), 6, 8).astype(float)  # 1.5 old pixels each
    wide = noise(9, 12).astype(float).repeat(2, 0).repeat(2, 1).reshape(6, 3, 8, 3, 3).mean((1, 3))
    assert np.abs(uneven - wide).max() <= 1.5


def test_growing_is_linear_between_centres():
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 200
    assert fit(image, 2, 4)[0, :, 0].tolist() == [0, 50, 150, 200]
    assert (fit(np.full((1, 1, 3), 7, np.uint8), 4, 4) == 7).all()


@given(st.sampled_from(FITS), *(st.integers(1, 40) for _ in range(4)), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_any_size_becomes_any_other_and_one_colour_stays_that_colour(how, h, w, height, width, grey):
    out = fit(np.full((2, h, w, 3), grey, np.uint8), height, width, how)
    assert out.shape == (2, height, width, 3) and out.dtype == np.uint8
    if how != "pad":
        assert (out == grey).all()
    else:
        assert set(np.unique(out)) <= {0, grey} and (out == grey).any()


@pytest.mark.parametrize("how", FITS)
def test_one_picture_or_many_is_the_same_bit_for_bit(how):
    images = noise(3, 2, 48, 62)
    together = fit(images, 20, 24, how)
    alone = Resizer(48, 62, 20, 24, how)
    assert all(np.array_equal(together[i, k], alone(images[i, k])) for i in range(3) for k in range(2))


def test_crop_cuts_both_ends_and_pad_adds_black_at_both():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 90
    assert (fit(image, 20, 20, "crop") == 90).all()
    padded = fit(np.full((40, 80, 3), 90, np.uint8), 40, 40, "pad")
    assert (padded[10:30] == 90).all() and not padded[:10].any() and not padded[30:].any()


def test_the_same_size_is_the_same_array():
    image = noise(16, 24)
    assert fit(image, 16, 24) is image


def test_sizes_for_a_short_side():
    assert size_for((480, 640), 96) == (96, 128)
    assert size_for((720, 1280), 96) == (96, 176)
    assert size_for((1280, 720), 96) == (176, 96)
    assert size_for((96, 96), 96) == (96, 96)
    assert size_for((64, 80), 96) == (64, 80)  # small pictures are not enlarged
    assert size_for((90, 160), 96) == (96, 160)  # but models need multiples of 8
    with pytest.raises(BadValue, match="short side of 8 px"):
        size_for((480, 640), 8)


def test_sizes_are_given_as_one_number_for_all_or_by_camera():
    recorded = {"front": (480, 640), "wrist": (240, 320)}
    assert sizes_for(recorded, None) == recorded
    assert sizes_for(recorded, 96) == {"front": (96, 128), "wrist": (96, 128)}
    assert sizes_for(recorded, (64, 64)) == {"front": (64, 64), "wrist": (64, 64)}
    assert sizes_for(recorded, {"front": (96, 128)}) == {"front": (96, 128), "wrist": (240, 320)}
    with pytest.raises(BadValue, match="camera 'front'"):
        sizes_for(recorded, (0, 64))


@pytest.mark.parametrize(
    "images", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8), noise(0, 4)]
)
def test_what_is_no_picture_is_refused(images):
    with pytest.raises(BadValue, match="expected uint8"):
        fit(images, 8, 8)


def test_other_ways_and_sizes_are_refused():
    with pytest.raises(UnknownName, match="crop"):
        fit(noise(8, 8), 4, 4, "squash")
    with pytest.raises(BadValue, match="0×4 px"):
        fit(noise(8, 8), 0, 4)
    with pytest.raises(BadValue, match="8×8 px; expected 4×4"):
        Resizer(4, 4, 2, 2)(noise(8, 8))
