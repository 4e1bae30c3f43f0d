"""Random images for timing: the shape asked for, the same at every call, not zeros."""

import numpy as np

from resdepth.data.dataset import Shape
from resdepth.data.synthetic import random_dataset


def test_random_images_have_the_shape_and_classes_asked_for_and_are_the_same_at_every_call():
    data, again = (random_dataset(Shape(3, 5, 7, classes=4, train_images=9), images=200) for _ in range(2))
    assert data.train is data.test
    assert (data.train.images.shape, data.train.images.dtype) == ((200, 3, 5, 7), np.uint8)
    assert (data.train.labels.dtype, data.classes) == (np.int64, 4)
    assert len(np.unique(data.train.images)) == 256
    assert set(data.train.labels) == set(range(4))
    assert np.array_equal(data.train.images, again.train.images)
    assert np.array_equal(data.train.labels, again.train.labels)
