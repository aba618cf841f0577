"""The three problems, in NumPy: data, parameters and sizes that all libraries share.

iwae   z ~ N(0, I_10), x | z ~ N(W z, I_20), one datum; q = N(loc, scale) near the
       posterior; L_16; gradients for loc, log scale and W.
enum   means m_c ~ N(0, 9), classes summed out, 100 data ~ N(m_class, 1); q mean-field
       over the five means; the ELBO with 16 samples.
score  z ~ Bernoulli(1/2)^10, x | z ~ N(W z, I_20), one datum; q = Bernoulli(logits);
       the ELBO with 16 samples (VIMCO: L_16).
"""

import json
import sys
import time

import numpy as np

SAMPLES, CALLS = 16, 20
_rng = np.random.default_rng(0)


def _f(x):
    return np.asarray(x, np.float32)


W = _f(_rng.normal(size=[20, 10]) / np.sqrt(10))
X = _f(W @ _rng.normal(size=10) + _rng.normal(size=20))
_precision = np.eye(10) + W.T @ W
_mean = np.linalg.solve(_precision, W.T @ X)
LOC = _f(_mean + 0.1 * _rng.normal(size=10))
LOG_SCALE = _f(-0.5 * np.log(np.diag(_precision)))

MEANS = _f([-6.0, -3.0, 0.0, 2.5, 6.0])
DATA = _f(MEANS[_rng.integers(5, size=100)] + _rng.normal(size=100))
MEANS_LOC, MEANS_LOG_SCALE = _f(MEANS + 0.1), _f(np.full(5, np.log(0.25)))

BITS = _f(_rng.integers(2, size=10))
X_BITS = _f(W @ BITS + 0.5 * _rng.normal(size=20))
LOGITS = _f(2.0 * (2 * BITS - 1) + 0.5 * _rng.normal(size=10))


def arguments():
    """(case, seconds, seed) of this process."""
    return sys.argv[1], float(sys.argv[2]), int(sys.argv[3])


def report(name, run, seconds, seed):
    """Times `run(seed, n)`, which returns sums over n gradients, and prints one line.

    `run` returns (sum of gradients, sum of their squares), each a list of arrays, of
    q's parameters only. It is called once to compile, then 20 times with an n that
    together fills the time; the quickest call counts, since only it was alone.
    """
    run(seed, 20)
    start = time.perf_counter()
    run(seed + 1, 20)
    each = (time.perf_counter() - start) / 20
    number = int(np.clip(seconds / max(each, 1e-7) / CALLS, 20, 20_000))
    times, totals = [], 0.0
    for call in range(CALLS):
        start = time.perf_counter()
        found = run(1_000 * seed + call + 2, number)
        times.append(time.perf_counter() - start)
        flat = [np.concatenate([np.ravel(v) for v in group]) for group in found]
        totals = totals + np.array(flat, np.float64) / (number * CALLS)
    sums, squares = totals
    variance = float(np.sum(squares - sums**2))
    found = {"name": name, "seconds": min(times) / number, "variance": variance}
    found["mean"] = float(np.linalg.norm(sums))
    print("@" + json.dumps(found), flush=True)
