"""What does it look like?

`plots` draws with Matplotlib, `interactive` makes figures that move without a server,
and `show_source` prints a function as the package has it.
"""

from elbo_tfp.show import interactive, plots
from elbo_tfp.show.source import show_source

__all__ = ["interactive", "plots", "show_source"]
