"""A VAE of gene counts: what a cell is, apart from how deeply and where it was read.

The mean count of gene g in cell n is library_n times a share of the cell's transcripts,
a softmax of the decoder's output at z and the cell's batch. Dispersion (or scale) is a
number of the gene, or of gene and batch.

It is longer than most modules: what a count means (depth, batch, gene) is one model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from elbo_tfp.families import Encoder, mean_field
from elbo_tfp.ground.checks import whole, wrong
from elbo_tfp.ground.structures import as_data, filled
from elbo_tfp.models import likelihoods
from elbo_tfp.models.latent import LatentVariableModel
from elbo_tfp.models.vae import _Layers, _on_rows

tfd = tfp.distributions
_LIKELIHOODS = {
    "poisson": likelihoods.poisson,
    "negative_binomial": likelihoods.negative_binomial,
    "zero_inflated_negative_binomial": likelihoods.zero_inflated_negative_binomial,
    "log_normal_counts": likelihoods.log_normal_counts,
}


class CountVAE(NamedTuple):
    """A model of cells with the encoder that was built for it."""

    model: CellModel
    """Prior N(0, I); data are counts `[N, G]` or a dict of "x" and more parts."""
    encoder: Encoder
    """q(z | x, batch), batch shape `[B]`."""


class CellModel(LatentVariableModel):
    """p(z) p(x | z, library, batch): data are counts, or a dict with its parts.

    The parts are "x", `[N, G]` whole numbers; "library", `[N]`, positive, by default
    the sum of the cell's counts; "batch", `[N]`, whole numbers below `num_batches`,
    needed if there are several. Under `models.observed` the library is needed too: the
    total of counts that are hidden is unknown.
    """

    reads = frozenset({"library", "batch"})

    def __init__(self, prior, likelihood, network, raw, num_batches):
        super().__init__(prior, self.likelihood)
        self._kind, self._network, self._raw = likelihood, network, raw
        self.num_batches = num_batches

    def likelihood(self, *z):
        """Needs a library size: raises ValueError, and names what to use."""
        raise ValueError(
            "expected a library size and a batch: use model.likelihood_at(data, z), or "
            "model.shares(z, batch)."
        )

    def likelihood_at(self, x, *z):
        """p(x | z) at the library sizes and batches of these data."""
        log_shares, *zeros = self._heads(z[0], self._batch(x))
        log_mean = log_shares + tf.math.log(_library(x))[..., tf.newaxis]
        every = tf.repeat(self._raw, self.num_batches // self._raw.shape[0], 0)
        raw = tf.matmul(self._one_hot(self._batch(x)), every)
        heads = [log_mean, raw, *zeros]
        if self._kind.num_heads == 1:
            heads = heads[:1]
        return tfd.Independent(self._kind.build(*heads), 1)

    def shares(self, z, batch=0):
        """Each gene's share of the transcripts of a cell, `[..., G]`, sum 1.

        Args:
            z: latents, `[..., B, k]`.
            batch: in which it is read, an int or `[B]` ints.
        """
        z = tf.convert_to_tensor(z)
        return tf.exp(self._heads(z, tf.broadcast_to(batch, z.shape[-2:-1]))[0])

    def with_prior(self, prior):
        """The same likelihood under another prior."""
        return CellModel(prior, self._kind, self._network, self._raw, self.num_batches)

    def _heads(self, z, batch):
        hot = self._one_hot(batch)
        hot = tf.broadcast_to(hot, tf.concat([tf.shape(z)[:-1], [hot.shape[-1]]], 0))
        hot = tf.ensure_shape(hot, [*z.shape[:-1], hot.shape[-1]])
        first, *zeros = tf.split(
            _on_rows(self._network, tf.concat([z, hot], -1)),
            max(1, self._kind.num_heads - 1),
            -1,
        )
        return [tf.math.log_softmax(first), *zeros]

    def _one_hot(self, batch):
        return tf.one_hot(
            tf.cast(batch, tf.int32), self.num_batches, dtype=self._raw.dtype
        )

    def _batch(self, x):
        return x["batch"] if "batch" in x else tf.zeros(tf.shape(x["x"])[:1], tf.int32)

    def _checked(self, x, also=frozenset()):
        x = as_data(x, "x")
        x = dict(x) if isinstance(x, dict) else {"x": x}
        if "x" not in x or x["x"].shape.rank != 2:
            raise wrong("counts [N, G], one row for each cell", str(x), "Stack cells.")
        masked = "mask" in also
        if masked and "library" not in x:
            raise wrong(
                'a "library" beside a mask',
                "none, and the total of hidden counts is unknown",
                "Add the part: each cell's total before counts were hidden.",
            )
        if tf.executing_eagerly():
            if masked:
                _check_whole(filled(x)["x"].numpy(), "x")
            else:
                check_counts(x["x"].numpy())
            self._check_parts(x)
        return super()._checked(x, also)

    def _check_parts(self, x):
        if not np.all(np.asarray(_library(x)) > 0):
            raise wrong("positive library sizes", "0 or less", "Drop empty cells.")
        if "batch" not in x and self.num_batches > 1:
            raise wrong(f'a "batch" of {self.num_batches}', "none", "Add the part.")
        batch = np.asarray(self._batch(x))
        bad = (batch < 0) | (batch >= self.num_batches) | (batch != np.floor(batch))
        if bad.any():
            raise wrong(
                f"batches from 0 to {self.num_batches - 1}",
                f"{batch[bad][0]}, an unknown batch",
                "A new batch has no weights: train with it, or name one of these.",
            )


def count_vae(
    num_genes: int,
    latent_size: int,
    *,
    num_batches: int = 1,
    likelihood="negative_binomial",
    dispersion: str = "gene",
    hidden=(64,),
    dtype=tf.float32,
    seed,
) -> CountVAE:
    """A VAE of counts with library sizes and batches.

    Args:
        num_genes: G.
        latent_size: k.
        num_batches: how many batches the cells were read in.
        likelihood: "poisson", "negative_binomial", "zero_inflated_negative_binomial" or
            "log_normal_counts".
        dispersion: "gene", or "gene_batch" for one of each gene in each batch.
        hidden: units of the encoder's hidden layers; the decoder has them reversed.
        dtype: of networks and latents; counts must have it too.
        seed: int, pair of ints or tensor: where the weights start.

    Raises:
        ValueError: for sizes that are not positive and names that are unknown.

    Source: Lopez, Regier, Cole, Jordan and Yosef (2018).
    """
    whole("num_genes", num_genes), whole("num_batches", num_batches)
    if likelihood not in _LIKELIHOODS or dispersion not in ("gene", "gene_batch"):
        raise wrong(
            f"a likelihood of {sorted(_LIKELIHOODS)}, and dispersion 'gene' or "
            "'gene_batch'",
            f"{likelihood!r} and {dispersion!r}",
        )
    kind, make = _LIKELIHOODS[likelihood](num_genes), _Layers(seed, dtype)
    family = mean_field(latent_size, dtype=dtype)
    network = _network(
        make,
        latent_size + num_batches,
        hidden[::-1],
        max(1, kind.num_heads - 1) * num_genes,
    )
    reader = _network(make, num_genes + num_batches, hidden, family.parameters_size)
    rows = num_batches if dispersion == "gene_batch" else 1
    raw = tf.zeros([rows, num_genes], dtype)
    if kind.num_heads > 1:
        raw = tf.Variable(raw, name="raw_dispersion")
    zero = tf.zeros([latent_size], dtype)
    prior = tfd.Independent(tfd.Normal(zero, tf.ones_like(zero)), 1)
    model = CellModel(prior, kind, network, raw, num_batches)

    def encoder(x):
        x = x if isinstance(x, dict) else {"x": x}
        counts = tf.cast(x["x"], dtype)
        # of a cell whose counts are all hidden nothing is known
        total = tf.reduce_sum(counts, -1, keepdims=True)
        shares = tf.math.divide_no_nan(counts, total)
        # log(1 + counts per cell of a thousand), and the batch
        parts = [tf.math.log1p(1_000 * shares), model._one_hot(model._batch(x))]
        return reader(tf.concat(parts, -1))

    return CountVAE(model, Encoder(encoder, family))


def check_counts(x, name: str = "x") -> None:
    """Refuses what is no table of raw counts, and says how it was seen.

    Args:
        x: `[N, G]` numbers, or the stored values of a sparse matrix as one row.
        name: of the table, for the message.

    Raises:
        ValueError: for negative numbers, fractions, logs or normalised values, and for
            cells without a single count.
    """
    x = np.asarray(x)
    _check_whole(x, name)
    if (x.sum(-1) == 0).any():
        empty = int(np.argmin(x.sum(-1)))
        raise wrong(
            f"{name} to have a count in each cell",
            f"none in cell {empty}",
            "Drop empty cells: x[x.sum(1) > 0].",
        )


def _check_whole(x, name):
    if not np.isfinite(x).all() or (x < 0).any():
        raise wrong(
            f"{name} to be counts", "negative or missing numbers", "Use raw counts."
        )
    if (x != np.floor(x)).any():
        share = np.mean(x[x > 0] != np.floor(x[x > 0]))
        seen = f"{share:.0%} fractions among its entries above 0"
        logs = np.expm1(np.minimum(x, 80.0))
        for what, of, table in (("counts", "x", x), ("logs", "exp(x) - 1", logs)):
            sums = table.sum(-1)
            if len(x) > 1 and np.ptp(sums) < 1e-3 * sums.mean():
                seen += f"; {of} sums to {sums.mean():.5g} in every cell, as in "
                seen += f"normalised {what}"
                break
        raise wrong(
            f"{name} to be raw counts, whole numbers", seen, "Use the table before it."
        )


def _network(make, size, hidden, last):
    import keras

    layers = [make("Dense", n, activation="relu") for n in hidden]
    return keras.Sequential([make.input((size,)), *layers, make("Dense", last)])


def _library(x):
    if "library" in x:
        return tf.cast(x["library"], x["x"].dtype)
    return tf.reduce_sum(x["x"], -1)
