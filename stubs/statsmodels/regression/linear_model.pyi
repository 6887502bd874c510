import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[np.float64]

class RegressionResults:
    params: _Array
    normalized_cov_params: _Array
    wresid: _Array

class WLS:
    def __init__(self, endog: _Array, exog: _Array, weights: _Array = ...) -> None: ...
    def fit(self) -> RegressionResults: ...
