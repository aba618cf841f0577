"""Every row of the table in this package; the first line of a docstring is its name."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import elbo_tfp as et
from benchmarks.crosschecks import problem as p
from benchmarks.crosschecks.problem import asked

tfd = tfp.distributions


def f64(value):
    return tf.constant(value, tf.float64)


def factor():
    """The factor model, its datum and q."""
    model = et.models.linear_gaussian(f64(p.W), noise_scale=p.NOISE)
    q = tfd.MultivariateNormalDiag(f64(p.LOC), f64(p.SCALE))
    return model, model.log_joint(p.X), q


def draws(size, seed):
    """Log-weights `[PARTICLES, size]` of the factor model."""
    _, target, q = factor()
    found = et.draw(target, q, p.PARTICLES * size, seed=seed)
    return et.Draws(
        *(
            None if part is None else tf.reshape(part, [p.PARTICLES, size])
            for part in (None, *found[1:])
        )
    )


@asked
def log_weights():
    """log weights on the same 200 draws"""
    _, target, q = factor()
    z = f64(p.Z)
    return target(z) - q.log_prob(z)


@asked
def kl():
    """KL(q || prior), closed form"""
    model, _, q = factor()
    return et.bounds.analytic_kl(q, model.prior)


@asked
def elbo():
    """ELBO of a factor model"""
    found = et.draw(*factor()[1:], 100_000, seed=1)
    return et.bounds.elbo(found), float(et.bounds.standard_error(found))


@asked
def renyi_half():
    """Renyi bound, order 1/2, 8 draws"""
    return p.mean(et.bounds.renyi(draws(p.REPLICATES, 2), 0.5))


@asked
def renyi_two():
    """Renyi bound, order 2, 8 draws"""
    return p.mean(et.bounds.renyi(draws(p.REPLICATES, 3), 2.0))


@asked
def iwae():
    """importance-weighted bound, 8 draws"""
    return p.mean(et.bounds.iwae(draws(p.REPLICATES, 4)))


def mixture():
    """The mixture with its means as a latent, classes summed out."""
    prior = tfd.JointDistributionNamed(
        {
            "m": tfd.Sample(tfd.Normal(f64(0), f64(3)), 3),
            "c": tfd.Sample(tfd.Categorical(probs=f64(p.SHARES)), 30),
        }
    )

    def likelihood(z):
        loc = tf.gather(z["m"], z["c"], axis=-1, batch_dims=z["m"].shape.rank - 1)
        return tfd.Independent(tfd.Normal(loc, f64(1)), 1)

    return et.marginals.enumerate_discrete(et.LatentVariableModel(prior, likelihood))


@asked
def enumerated_log_joint():
    """log p(x, m), 30 classes summed out"""
    return mixture().log_joint(p.DATA)(f64(p.M))


@asked
def enumerated_elbo():
    """ELBO, 30 classes summed out"""
    q = tfd.MultivariateNormalDiag(f64(p.MEANS), f64(p.WIDTHS))
    found = et.draw(mixture().log_joint(p.DATA), q, 20_000, seed=5)
    return et.bounds.elbo(found), float(et.bounds.standard_error(found))


def classes():
    """The mixture with fixed means: the class is the only latent of a datum."""
    prior = tfd.Categorical(probs=f64(p.SHARES))
    means = f64(p.MEANS)
    return et.marginals.enumerate_discrete(
        et.LatentVariableModel(prior, lambda c: tfd.Normal(tf.gather(means, c), f64(1)))
    )


@asked
def mixture_evidence():
    """log p(x) of each datum under a mixture"""
    return classes().log_evidence(p.DATA)


@asked
def mixture_posterior():
    """p(class | x) of each datum"""
    model = classes()
    return tf.nn.softmax(model.posterior(p.DATA).logits, -1)


@asked
def negative_binomial():
    """density of the negative binomial on a grid"""
    x, mean, dispersion = map(f64, p.GRID)
    return et.distributions.NegativeBinomial(mean, dispersion).log_prob(x)


@asked
def beta_binomial():
    """density of the beta-binomial, 16 trials"""
    a, b = p.URN
    d = et.distributions.BetaBinomial(16, f64(np.log(a / b)), f64(1 / (a + b)))
    return d.log_prob(f64(np.arange(17.0)))


@asked
def markov_gaussian():
    """density of a Gaussian path of six steps"""
    ones = np.ones([p.STEPS, 1, 1])
    path = et.distributions.MarkovGaussian(
        f64(np.zeros([p.STEPS, 1])), f64(p.COUPLING * ones), f64(p.PUSH * ones)
    )
    return path.log_prob(f64(p.PATHS[..., None]))


def logistic():
    """Bayesian logistic regression and its data."""
    x = f64(p.LOGISTIC_X)
    prior = tfd.MultivariateNormalDiag(f64([0, 0]), f64([2, 2]))

    def likelihood(w):
        logits = w[..., :1] + w[..., 1:] * x
        return tfd.Independent(tfd.Bernoulli(logits=logits, dtype=tf.float64), 1)

    return et.LatentVariableModel(prior, likelihood), f64(p.LOGISTIC_Y)


@asked
def logistic_evidence():
    """evidence of a logistic regression, quadrature"""
    model, y = logistic()
    return et.evidence.estimate(model, y, method=et.evidence.Quadrature()).estimate


@asked
def importance_evidence():
    """evidence of a logistic regression, importance"""
    model, y = logistic()
    q = tfd.MultivariateNormalDiag(f64([-0.2, 0.6]), f64([0.9, 0.9]))
    method = et.evidence.Importance(sample_size=100_000)
    found = et.evidence.estimate(model, y, method=method, surrogate_posterior=q, seed=6)
    return found.estimate, float(np.squeeze(found.standard_error))


@asked
def factor_evidence():
    """log p(x) of irises under PCA's factor model"""
    from sklearn.decomposition import PCA

    x = et.data.iris()
    pca = PCA(2).fit(x)
    gain = np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    weights = pca.components_.T * gain
    model = et.models.linear_gaussian(weights, pca.mean_, pca.noise_variance_**0.5)
    return model.log_evidence(f64(x))


def linear(design, outcome, prior, noise):
    """The marginal of y ~ N(design w, noise^2), w ~ prior, and y."""
    design = f64(design)
    model = et.LatentVariableModel(
        prior,
        lambda w: tfd.Independent(tfd.Normal(tf.linalg.matvec(design, w), noise), 1),
    )
    return et.marginals.linear_gaussian(model), f64(outcome)


def ridge():
    """Bayesian linear regression, weights integrated out."""
    prior = tfd.Sample(tfd.Normal(f64(0), f64(p.PRECISION**-0.5)), 3)
    return linear(p.INPUTS, p.OUTCOME, prior, f64(p.NOISE_PRECISION**-0.5))


@asked
def ridge_evidence():
    """evidence of a linear regression"""
    model, y = ridge()
    return model.log_evidence(y)


@asked
def ridge_mean():
    """posterior mean of a linear regression"""
    model, y = ridge()
    return model.posterior(y).mean()


def process():
    """Twelve values of a Gaussian process with a kernel of length 1."""
    kernel = np.exp(-((p.TIMES[:, None] - p.TIMES) ** 2) / 2)
    factor = np.linalg.cholesky(kernel + 1e-12 * np.eye(12))
    # f = L w, w ~ N(0, I)
    prior = tfd.Sample(tfd.Normal(f64(0), f64(1)), 12)
    return factor, *linear(factor, p.PROCESS, prior, f64(p.JITTER**0.5))


@asked
def process_evidence():
    """evidence of a Gaussian process"""
    _, model, y = process()
    return model.log_evidence(y)


@asked
def process_mean():
    """posterior mean of a Gaussian process"""
    factor, model, y = process()
    return factor @ model.posterior(y).mean().numpy()


def local_level(seen=None):
    """The Nile's model; its path integrated out."""
    chain = tfd.MarkovChain(
        initial_state_prior=tfd.Normal(f64(1000), f64(300)),
        transition_fn=lambda _, z: tfd.Normal(z, f64(p.LEVEL_VARIANCE**0.5)),
        num_steps=100,
    )

    def likelihood(z):
        steps = tfd.Normal(z, f64(p.FLOW_VARIANCE**0.5))
        return tfd.Independent(steps if seen is None else tfd.Masked(steps, seen), 1)

    return et.marginals.kalman(et.LatentVariableModel(chain, likelihood))


@asked
def nile_evidence():
    """evidence of the Nile's local level"""
    return local_level().log_evidence(p.FLOW)


@asked
def nile_missing():
    """evidence of the Nile, six years missing"""
    return local_level(p.SEEN).log_evidence(p.FLOW)


@asked
def nile_smoothed():
    """smoothed level of the Nile"""
    return local_level().posterior(p.FLOW).mean()


@asked
def negative_binomial_regression():
    """log-likelihood of a negative binomial regression"""
    mean = np.exp(p.DESIGN @ p.SLOPES)
    counts = et.distributions.NegativeBinomial(f64(mean), f64(p.DISPERSION))
    return tf.reduce_sum(counts.log_prob(p.COUNTS))


@asked
def zero_inflated_regression():
    """log-likelihood of a zero-inflated regression"""
    mean = np.exp(p.DESIGN @ p.SLOPES)
    counts = et.distributions.ZeroInflatedNegativeBinomial(
        f64(mean), f64(p.DISPERSION), f64(p.INFLATION)
    )
    return tf.reduce_sum(counts.log_prob(p.COUNTS))


def regimes():
    """The hidden Markov model, its path summed out."""
    chain = tfd.MarkovChain(
        initial_state_prior=tfd.Categorical(probs=f64(p.START)),
        transition_fn=lambda _, k: tfd.Categorical(probs=tf.gather(f64(p.MOVES), k)),
        num_steps=60,
    )
    levels = f64(p.LEVELS)
    return et.marginals.forward(
        et.LatentVariableModel(
            chain,
            lambda k: tfd.Independent(
                tfd.Normal(tf.gather(levels, k), f64(p.SPREAD)), 1
            ),
        )
    )


@asked
def regimes_evidence():
    """evidence of a hidden Markov model"""
    return regimes().log_evidence(p.REGIMES)


@asked
def regimes_marginals():
    """p(state | series) of a hidden Markov model"""
    return regimes().posterior(p.REGIMES).marginals().probs_parameter()
