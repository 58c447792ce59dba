"""How weights count people: by their ratios, and as many as they are worth.

Weights of a survey come in any unit, so only their ratios may matter. Where a number of people
does matter, as in every penalty, it is Kish's effective sample size (Σw)² / Σw² (Kish 1965, Survey
Sampling): n for n equal weights, of any size, and less the more they differ.
"""

import numpy as np
from jaxtyping import Float


def effective_weight(weight: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Weights in the ratios given, with Kish's effective sample size as their sum.

    Equal weights are exactly 1; weights that are all 0 stay 0.

    **Arguments:** `weight`: (n,), at least 0.
    """
    largest = np.max(weight, initial=0)
    share = weight / largest if largest > 0 else weight
    square = np.sum(share**2)
    return share * (np.sum(share) / square) if square > 0 else share
