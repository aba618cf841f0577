"""How far below am I?

Estimates of the evidence itself, and of what separates a bound from it. What stands
here need not be a bound: each docstring says on which side its number lies, if on any.
"""

from elbo_tfp.gaps.jackknife import jackknife

__all__ = ["jackknife"]
