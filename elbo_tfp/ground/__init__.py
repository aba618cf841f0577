"""The floor that all rooms stand on; it knows no model, no bound and no q.

`seeds` are stateless, `checks` turn wrong input into a `ValueError`, `compiled` is the
one cache of programs, `structures` knows what a datum is made of, `measured` is a
number with its errors, `files` are written whole or not at all, and `wrappers` looks
into `tfd.Independent` and `tfd.Sample`.
"""

from elbo_tfp.ground import checks, compiled, files, measured, seeds, structures, tables

__all__ = [
    "checks",
    "compiled",
    "files",
    "measured",
    "seeds",
    "structures",
    "tables",
]
