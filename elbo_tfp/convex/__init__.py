"""Bounds that need no draws, because they are concave in what one chooses.

Logistic regression by two quadratic bounds (`jaakkola_jordan`, `bohning`), and the
best Gaussian of any log-concave likelihood with the certificate that it is the best
(`gaussian_concave`).
"""

from elbo_tfp.convex.concave import gaussian_concave
from elbo_tfp.convex.logistic import GaussianBound, bohning, jaakkola_jordan

__all__ = ["GaussianBound", "bohning", "gaussian_concave", "jaakkola_jordan"]
