"""What is done with a fitted q: functions that combine the other rooms.

`posterior_summary` says what q believes about each part of z: means, standard
deviations and quantiles, each with its Monte Carlo error, in the parts' own space.
"""

from elbo_tfp.applications.summaries import PartSummary, posterior_summary

__all__ = ["PartSummary", "posterior_summary"]
