import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[np.float64]

def multipletests(
    pvals: _Array, alpha: float = ..., method: str = ...
) -> tuple[npt.NDArray[np.bool_], _Array, float, float]: ...
