"""How do I climb it?

An estimator takes what `draw` takes and returns an `Estimate`: one value that all
estimators share, and a surrogate whose gradient differs between them. What an
estimator needs stands in its docstring under **Requires**; asking it for more is an
error, not a wrong gradient.
"""

from elbo_tfp.gradients.pathwise import reparameterized, sticking_the_landing

__all__ = ["reparameterized", "sticking_the_landing"]
