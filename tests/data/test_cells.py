"""Cells that ship, simulated ones, and a reader's own."""

import sys
import types

import numpy as np
import pytest
from scipy import sparse

from elbo_tfp import data


def test_blood_cells_are_as_described():
    cells = data.pbmc()
    assert cells.x.shape == (700, 765) and cells.x.dtype == np.float32
    assert cells.x.sum() == 486_651 and cells.x.max() == 259
    sizes = np.bincount(cells.label)
    assert len(cells.label_names) == 10 and (sizes.max(), sizes.min()) == (240, 8)
    assert cells.genes.shape == (765,) and np.all(cells.library >= cells.x.sum(1))


def test_simulated_counts_have_their_mean_and_variance():
    s = data.simulated_cells(3_000, 40, zero_inflation=0.0, seed=1, dtype="float64")
    variance = s.mean + s.dispersion * s.mean**2
    z = (s.x - s.mean) / np.sqrt(variance)
    assert abs(z.mean()) < 4 / z.size**0.5 and abs(np.mean(z**2) - 1) < 0.05
    np.testing.assert_allclose(s.mean.sum(1), s.library)
    np.testing.assert_allclose(s.shares.sum(1), 1)
    empty = data.simulated_cells(500, 40, zero_inflation=0.5, seed=1)
    assert np.mean(empty.x == 0) > 0.5


def test_without_dispersion_the_counts_are_poisson():
    s = data.simulated_cells(3_000, 40, dispersion=0.0, seed=1, dtype="float64")
    # of the rest of a Poisson variable both square and mean are known
    square = ((s.x - s.mean) ** 2 - s.mean) / np.sqrt(s.mean + 2 * s.mean**2)
    assert abs(square.mean()) < 4 / square.size**0.5
    assert (s.dispersion == 0).all()


def test_h5ad_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ValueError, match=r"elbo-tfp\[cells\]"):
        data.read_h5ad("x.h5ad")


def test_h5ad_is_read_sparse(monkeypatch):
    x = sparse.csr_matrix([[1, 0], [2, 3]])
    file = types.SimpleNamespace(X=0 * x, layers={"counts": x}, var_names=["a", "b"])
    stand_in = types.SimpleNamespace(read_h5ad=lambda path: file)
    monkeypatch.setitem(sys.modules, "anndata", stand_in)
    cells = data.read_h5ad("x.h5ad", layer="counts")
    assert sparse.issparse(cells.x) and list(cells.library) == [1, 5]
    with pytest.raises(ValueError, match="counts"):
        data.read_h5ad("x.h5ad", layer="raw")


@pytest.mark.parametrize("kind", [OSError, KeyError, RuntimeError, AttributeError])
def test_a_damaged_h5ad_is_named(monkeypatch, kind):
    def broken(path):
        raise kind("b-tree")

    stand_in = types.SimpleNamespace(read_h5ad=broken)
    monkeypatch.setitem(sys.modules, "anndata", stand_in)
    with pytest.raises(ValueError, match=rf"x.h5ad to be .*{kind.__name__}.*b-tree"):
        data.read_h5ad("x.h5ad")


def test_sparse_rows_stream_every_cell_once_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    dense = rng.poisson(0.5, (50, 6)) + np.eye(50, 6) + [[1, 0, 0, 0, 0, 0]]
    x, largest = sparse.csr_matrix(dense), []
    whole = sparse.csr_matrix.toarray
    monkeypatch.setattr(
        sparse.csr_matrix,
        "toarray",
        lambda self: largest.append(self.shape[0]) or whole(self),
    )
    rows = np.stack(list(data.sparse_rows(x, rows=8).as_numpy_iterator()))
    assert max(largest) == 8 and sum(largest) >= 50
    assert sorted(map(tuple, rows)) == sorted(map(tuple, dense.astype("float32")))
    kept = np.stack(list(data.sparse_rows(x, rows=8, seed=None).as_numpy_iterator()))
    np.testing.assert_array_equal(kept, dense)


@pytest.mark.parametrize("bad", [[[-1.0, 2]], [[0.5, 1]], [[0.0, 0]]])
def test_sparse_tables_that_are_no_counts_are_refused(bad):
    with pytest.raises(ValueError, match="counts|empty"):
        data.sparse_rows(sparse.csr_matrix(bad))


@pytest.mark.parametrize("bad", [{"dispersion": np.nan}, {"depth": np.nan}])
def test_a_simulation_of_nan_is_named(bad):
    with pytest.raises(ValueError, match="nan"):
        data.simulated_cells(**bad)
