"""A VAE with Keras networks, the same in every process once its weights are saved."""

import numpy as np

from elbo_tfp import models
from elbo_tfp.fitting.saving import load, save


def vae(seed):
    """64 pixels of 17 values under 10 latents."""
    likelihood = models.binomial(64, 16)
    return models.vae(64, 10, hidden=(128,), likelihood=likelihood, seed=seed)


def saved(path):
    """A VAE, saved at `path`."""
    made = vae(seed=0)
    save(path, **made._asdict(), x=data()[:4].astype("float32"))
    return made


def loaded(path):
    """The VAE that was saved at `path`."""
    made = vae(seed=1)
    load(path, **made._asdict())
    return made


def data():
    """Waves `[300, 64]`, uint8."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.arange(64) * rng.uniform(0.1, 1, (300, 1)))
    return np.round(8 + 8 * waves).astype("uint8")
