"""The evidence, by the method that can give it: exactly, from below, or sandwiched."""

from __future__ import annotations

from elbo_tfp.evidence.methods import Evidence, as_method
from elbo_tfp.evidence.problem import Problem


def estimate(
    model,
    x=None,
    method="importance",
    *,
    surrogate_posterior=None,
    jit_compile=True,
    seed=None,
    **options,
) -> Evidence:
    """Estimates log p(x) for every datum of a batch.

    `"quadrature"` sums over a grid: exact, for 1 to 3 latent dimensions.
    `"importance"` averages weights of draws from q: on average too low, by an amount it
    cannot see. `"annealed"` walks from q to the posterior with Hamiltonian Monte Carlo:
    also too low on average, usually far less. `"bidirectional"` walks back too, from an
    exact draw of the posterior, and so bounds log p(x) from both sides. Their options
    stand at `Quadrature`, `Importance`, `Annealed` and `Bidirectional`: pass them as
    keywords beside a name, or in one of these objects instead of the name.

    With a global latent data are dependent, and log p(x) is one number for all of them.

    Args:
        model: a `LatentVariableModel` with x; or, with `x=None`, what already holds
            the data: a `log_joint(x)`, a pinned joint distribution, or any function
            z -> log p(x, z).
        x: data, `[B]` + event, or a structure of such.
        method: one of the four names, or an object such as
            `evidence.Annealed(num_temperatures=200)`.
        surrogate_posterior: where draws and walks start, batch shape `[B]`; None means
            the prior. A bare function or pin needs one. With a global prior, the pair
            `(q of z, q of the global latent)`.
        jit_compile: whether to compile with XLA.
        seed: int, pair of ints or integer tensor; stateless. Quadrature needs none.
        **options: of a method given by its name.

    Returns:
        An `Evidence`, each number `[B]` (`[]` with a global latent), nats.

    Raises:
        ValueError: if the method is unknown or an option not its own; the latents are
            too many for quadrature, or discrete; `"bidirectional"` has no exact draw;
            a walk rejects all its proposals; or log-weights are NaN.

    Source: Neal (2001), equation 11; Burda et al. (2016); Grosse, Ghahramani and Adams
    (2015), sections 3 and 4; error: Geweke (1989).
    """
    # None has always stood for the default of an option
    options = {name: v for name, v in options.items() if v is not None}
    way = as_method(method, **options)
    problem = Problem.of(model, x, surrogate_posterior)
    return way.measure(problem, seed, jit_compile)
