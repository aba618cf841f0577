"""Counts of genes in cells: real ones that ship, simulated ones, and a reader's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Cells(NamedTuple):
    """Counts of genes in cells."""

    x: Any
    """Counts, `[N, G]`; sparse if they were read so."""
    label: np.ndarray | None
    """The type of each cell, `[N]` ints, an estimate; None if there is none."""
    label_names: tuple
    """Names of the types."""
    genes: np.ndarray
    """Names of the genes, `[G]`."""
    library: np.ndarray
    """All counts of the cell, of genes not kept too, `[N]`."""


class SimulatedCells(NamedTuple):
    """Cells whose truth is known."""

    x: np.ndarray
    """Counts, `[N, G]`."""
    type: np.ndarray
    """`[N]` ints."""
    batch: np.ndarray
    """`[N]` ints."""
    library: np.ndarray
    """The expected total of the cell, `[N]`."""
    mean: np.ndarray
    """Expected counts before zeros were added, `[N, G]`."""
    shares: np.ndarray
    """What a type's transcripts consist of, without batch, `[types, G]`, sum 1."""
    dispersion: np.ndarray
    """Of each gene, `[G]`."""


def pbmc(*, dtype="float32") -> Cells:
    """700 human blood cells, 765 variable genes, 10 estimated types.

    Provenance: 10x Genomics "Fresh 68k PBMCs (Donor A)", Zheng et al. (2017), doi
    10.1038/ncomms14049, CC BY 4.0. The subset is published as log1p of counts per
    10,000; whole numbers were recovered by inverting that with the cell's total
    (largest distance from a whole number 0.08). Gene names, an array of Python objects
    there, were stored again as text. Types are named by correlation with purified
    populations.

    Args:
        dtype: of the counts and totals.
    """
    from scipy.sparse import csr_matrix

    with np.load(Path(__file__).with_name("pbmc700.npz")) as file:
        parts = tuple(file[name] for name in ("data", "indices", "indptr"))
        x = csr_matrix(parts, shape=file["shape"]).toarray().astype(dtype)
        names, label = tuple(map(str, file["label_names"])), file["label"].astype(int)
        total = file["total_counts"].astype(dtype)
        return Cells(x, label, names, file["genes"].astype(str), total)


def simulated_cells(
    num: int = 4_000,
    num_genes: int = 300,
    *,
    num_types: int = 6,
    num_batches: int = 2,
    dispersion: float = 0.5,
    zero_inflation: float = 0.0,
    depth: float = 600.0,
    seed: int = 0,
    dtype="float32",
) -> SimulatedCells:
    """Negative-binomial cells: a fifth of the genes differ in each type.

    Args:
        num: of cells, N.
        num_genes: G.
        num_types: equally likely.
        num_batches: each multiplies every gene by a log-normal factor, sd 0.3.
        dispersion: the median gene's; 0 makes Poisson counts.
        zero_inflation: probability that a count is replaced by 0.
        depth: median of the library size.
        seed: of the draws.
        dtype: of counts and means.

    Raises:
        ValueError: if a size is not positive or `zero_inflation` no probability.
    """
    sizes = num, num_genes, num_types, num_batches
    possible = 0 <= zero_inflation < 1 and dispersion >= 0 and depth > 0
    if min(sizes) < 1 or not possible:
        raise ValueError(
            "expected positive sizes and depth, dispersion >= 0 and zero_inflation in "
            f"[0, 1); got {sizes}, {depth}, {dispersion}, {zero_inflation}."
        )
    rng = np.random.default_rng(seed)
    differs = rng.random((num_types, num_genes)) < 0.2
    logs = rng.normal(size=num_genes) + differs * rng.normal(0, 1.2, differs.shape)
    shares = np.exp(logs) / np.exp(logs).sum(-1, keepdims=True)
    kind, batch = rng.integers(num_types, size=num), rng.integers(num_batches, size=num)
    library = depth * np.exp(0.4 * rng.normal(size=num))
    bias = np.exp(0.3 * rng.normal(size=(num_batches, num_genes)))
    mean = shares[kind] * bias[batch]
    mean *= library[:, None] / mean.sum(-1, keepdims=True)
    alpha = dispersion * np.exp(0.3 * rng.normal(size=num_genes))
    rate = mean
    if dispersion > 0:
        rate = mean * rng.gamma(1 / alpha, size=mean.shape) * alpha
    x = rng.poisson(rate) * (rng.random(mean.shape) >= zero_inflation)
    floats = (a.astype(dtype) for a in (library, mean, shares, alpha))
    return SimulatedCells(x.astype(dtype), kind, batch, *floats)


def read_h5ad(path, *, layer: str | None = None) -> Cells:
    """A reader's own cells from an `.h5ad` file; counts stay sparse if they are.

    Args:
        path: of the file.
        layer: of the counts; None for the file's `X`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if `anndata` is missing or cannot read the file, or the layer is not
            there. HDF5 has no check sums: a count that was changed is not seen, and
            some damage keeps HDF5 busy without end. Compare a check sum first.
    """
    try:
        import anndata
    except ImportError as error:
        raise ValueError(
            "expected the package anndata, which reads .h5ad; got none. Install it: "
            "pip install 'elbo-tfp[cells]'."
        ) from error
    try:
        read = anndata.read_h5ad(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever damage makes HDF5 and anndata raise
        raise ValueError(
            f"expected {path} to be an .h5ad file; anndata cannot read it: "
            f"{type(error).__name__}: {error}"
        ) from error
    if layer is not None and layer not in read.layers:
        raise ValueError(f"expected a layer of {sorted(read.layers)}; got {layer!r}.")
    x = read.X if layer is None else read.layers[layer]
    total = np.asarray(x.sum(1)).ravel()
    return Cells(x, None, (), np.asarray(read.var_names), total)


def sparse_rows(x, *, rows: int = 1_024, seed: int | None = 0, dtype="float32"):
    """A `tf.data.Dataset` of single cells from a SciPy sparse matrix, for `fit`.

    Blocks of `rows` cells become dense one after another, never the whole.

    Args:
        x: SciPy sparse matrix `[N, G]` of counts.
        rows: cells in a block.
        seed: of the order of cells, a fresh one in each pass; None keeps the order.
        dtype: of the dense rows.

    Raises:
        ValueError: if x is not sparse, holds negative numbers or fractions, or a cell
            is empty.
    """
    import tensorflow as tf
    from scipy.sparse import issparse

    if not issparse(x):
        raise ValueError(f"expected a SciPy sparse matrix; got {type(x).__name__}.")
    x = x.tocsr()
    if (x.data < 0).any() or (x.data != np.floor(x.data)).any():
        raise ValueError(
            "expected raw counts; got negative or fractional numbers, as normalised or "
            "logged tables have. Use the table before normalisation."
        )
    if (np.asarray(x.sum(1)) == 0).any():
        raise ValueError("expected a count in each cell; got an empty cell. Drop it.")
    rng = None if seed is None else np.random.default_rng(seed)

    def blocks():
        order = np.arange(x.shape[0]) if rng is None else rng.permutation(x.shape[0])
        for start in range(0, len(order), rows):
            yield x[order[start : start + rows]].toarray().astype(dtype)

    spec = tf.TensorSpec([None, x.shape[1]], dtype)
    return tf.data.Dataset.from_generator(blocks, output_signature=spec).unbatch()
