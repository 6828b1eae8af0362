from __future__ import annotations

import faiss
import numpy as np
import pytest

from genrec.semantic_ids.balance import EVEN, balanced_kmeans, even_offsets
from genrec.semantic_ids.kmeans import cluster_means, kmeans, nearest
from genrec.testing.contracts import clustered_vectors


def error(points, centroids):
    return ((points - centroids[nearest(points, centroids)]) ** 2).sum()


@pytest.fixture(scope="module")
def gaussian():
    return np.random.default_rng(0).normal(size=(3000, 24)).astype(np.float32)


def test_planted_clusters_are_found():
    points, labels = clustered_vectors(clusters=30, per_cluster=40, dimension=16, seed=0)
    cluster = nearest(points, kmeans(points, 30, 25, seed=1))
    assert len({*zip(cluster.tolist(), labels.tolist(), strict=True)}) == 30


def test_error_is_that_of_faiss(gaussian):
    theirs = faiss.Kmeans(24, 50, niter=25, seed=1, max_points_per_centroid=3000)
    theirs.train(gaussian)
    assert error(gaussian, kmeans(gaussian, 50, 25, seed=1)) < 1.01 * error(
        gaussian, theirs.centroids
    )


def test_nearest_is_the_brute_force_one(gaussian):
    centroids = gaussian[:70]
    squared = ((gaussian[:, None].astype(np.float64) - centroids) ** 2).sum(axis=2)
    np.testing.assert_array_equal(nearest(gaussian, centroids), squared.argmin(axis=1))
    offsets = np.random.default_rng(1).random(70).astype(np.float32) * 5
    priced = (squared / 2 + offsets).argmin(axis=1)
    np.testing.assert_array_equal(nearest(gaussian, centroids, offsets), priced)


def test_equal_centroids_tie_to_the_first_wherever_a_point_stands(gaussian):
    centroids = np.concatenate([gaussian[:5], gaussian[:5], gaussian[2:4], -gaussian[:1] * 0])
    for points in (gaussian[:5], gaussian[4::-1], np.tile(gaussian[:5], (201, 1))):
        assert nearest(points, centroids).max() < 5


def test_means_by_hand():
    points = np.array([[1, 0], [3, 0], [0, 5]], np.float32)
    otherwise = np.array([[9, 9], [8, 8], [7, 7]], np.float32)
    means = cluster_means(points, np.array([0, 0, 2]), otherwise)
    np.testing.assert_array_equal(means, [[2, 0], [8, 8], [0, 5]])


def test_no_centroid_stays_without_points():
    # one far point takes a centroid of its own; the rest must still share all the others
    points = np.random.default_rng(2).normal(size=(400, 4)).astype(np.float32)
    points[0] = 1e4
    cluster = nearest(points, kmeans(points, 40, 25, seed=0))
    assert len(np.unique(cluster)) == 40


def test_fewer_distinct_points_than_centroids():
    points = np.tile(np.eye(3, dtype=np.float32), (7, 1))
    centroids = kmeans(points, 8, 25, seed=0)
    assert centroids.shape == (8, 3)
    assert error(points, centroids) < 1e-10
    assert len(np.unique(nearest(points, centroids))) == 3


def test_balanced_clusters_are_even_and_stay_so_for_new_points():
    generator = np.random.default_rng(0)
    points = generator.lognormal(size=(8000, 1)) * generator.normal(size=(8000, 24))
    points, new = points[:6000].astype(np.float32), points[6000:].astype(np.float32)
    plain = kmeans(points, 60, 25, seed=0)
    centroids, offsets = balanced_kmeans(points, plain, 4, seed=0)
    counts = np.bincount(nearest(points, centroids, offsets), minlength=60)
    assert np.bincount(nearest(points, plain), minlength=60).max() > 3 * 100
    assert counts.max() <= EVEN * 100
    assert counts.min() > 0
    assert np.bincount(nearest(new, centroids, offsets), minlength=60).max() < 2 * 2000 / 60


def test_a_crowd_of_equal_points_cannot_be_parted_but_the_rest_is_even():
    points = np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32)
    points[:300] = points[0]
    centroids = kmeans(points, 10, 25, seed=0)
    cluster = nearest(points, centroids, even_offsets(points, centroids))
    assert len(np.unique(cluster[:300])) == 1
    others = np.bincount(cluster[300:], minlength=10)
    assert np.sort(others)[:-1].max() < 2.5 * 700 / 9


@pytest.mark.parametrize("points", [np.ones((6, 3)), np.zeros((1, 2)), np.zeros((5, 2))])
def test_points_that_say_nothing(points):
    points = points.astype(np.float32)
    centroids, offsets = balanced_kmeans(points, kmeans(points, 4, 5, seed=0), 3, seed=0)
    assert np.isfinite(centroids).all()
    assert np.isfinite(offsets).all()
    assert len(np.unique(nearest(points, centroids, offsets))) == 1
