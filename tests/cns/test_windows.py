"""Windows of pictures with several things in them."""

from __future__ import annotations

import numpy as np
import pytest

from cns.windows import best_similarities, windows


def colours(images: np.ndarray) -> np.ndarray:
    """An encoder that knows the mean colour alone, as unit rows."""
    means = images.reshape(len(images), -1, 3).mean(1) + 1e-6
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("side", [64, 128])
def test_windows_have_the_size_of_the_picture_and_the_first_is_itself(side):
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    found = list(windows(images))
    assert len(found) == 10
    assert {one.shape for one in found} == {images.shape}
    np.testing.assert_array_equal(found[0], images)


def test_each_of_two_things_is_found_in_its_own_window_and_a_missing_one_is_not():
    red, blue = np.array([[1.0, 0, 0]], np.float32), np.array([[0, 0, 1.0]], np.float32)
    both, alone = np.zeros((2, 64, 64, 3), np.uint8)
    both[:, :32, 0], both[:, 32:, 2] = 255, 255
    alone[..., 0] = 255
    in_red, in_blue = best_similarities(np.stack([both, alone]), colours, [red, blue])
    assert in_red == pytest.approx([0.99, 1], abs=0.02)
    assert in_blue == pytest.approx([0.99, 0], abs=0.02)
