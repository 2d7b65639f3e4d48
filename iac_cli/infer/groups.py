"""Which of some voxels touch: 26-connected groups, from the voxels' indices alone.

`measure.lesions` groups a mask; here voxels are few and far apart, of one scan or of many at once,
and a mask of all of them would be nearly empty.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

IndexArray = NDArray[np.intp]


def groups_of(voxels: IndexArray) -> IndexArray:
    """The group, from 0, of each of some voxels (k, n); one apart in every axis still touches."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    k = len(voxels)
    if not k:
        return np.zeros(0, dtype=np.intp)
    pairs = KDTree(voxels).query_pairs(1.0, p=np.inf, output_type="ndarray")
    touching = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), (k, k))
    labels: Any = connected_components(touching, directed=False)[1]
    return np.asarray(labels, dtype=np.intp)


def mean_in_groups(groups: IndexArray, p: NDArray[Any]) -> NDArray[np.float64]:
    """For each voxel (k,) the mean of `p` over its group."""
    n = np.bincount(groups)
    total = np.bincount(groups, weights=p.astype(np.float64))
    mean: NDArray[np.float64] = (total / n)[groups]
    return mean
