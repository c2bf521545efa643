"""Array types by element, for annotations, and their names; shapes are in the names of variables."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Texts = NDArray[np.str_]
Array = NDArray[np.generic]


@cache
def dtype_name(dtype: np.dtype[np.generic]) -> str:
    """`dtype.name`, which numpy finds anew each time, at the price of hashing an array of a run."""
    return dtype.name
