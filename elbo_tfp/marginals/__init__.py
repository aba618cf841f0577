"""What can be integrated exactly?

A function of this room takes a model and the names of some latents, integrates or sums
these out in closed form, and returns a model over the latents that remain, with the
same evidence. What was integrated is not lost: `conditional` is its exact posterior
given the rest, and `complete` puts a draw of it back. The ELBO of the smaller model is
never below that of the larger one, since

    L(q_1) - L(q_1 q_2) = E_q1[KL(q_2 || p(z_2 | z_1, x))] >= 0.

`enumerate_discrete` sums finite latents, `linear_gaussian` and `conjugate` integrate
Gaussian, Gamma and Beta ones, `kalman` and `forward` whole paths of a Markov chain.
Each finds what it needs by evaluating the model itself, and one may follow another.
A joint distribution with its data pinned serves as well, `joint.experimental_pin(x=x)`:
the answer is then a target of what remains, for `draw`, whose `model` is the marginal.
What `tfd.Masked` hides in the data is left out, exactly (`conjugate` refuses it).
`Marginal` says what every kind of them must answer.
"""

from elbo_tfp.marginals.base import Marginal
from elbo_tfp.marginals.conjugate import conjugate
from elbo_tfp.marginals.enumeration import enumerate_discrete
from elbo_tfp.marginals.forward import forward
from elbo_tfp.marginals.kalman import kalman
from elbo_tfp.marginals.linear import linear_gaussian

__all__ = [
    "Marginal",
    "conjugate",
    "enumerate_discrete",
    "forward",
    "kalman",
    "linear_gaussian",
]
