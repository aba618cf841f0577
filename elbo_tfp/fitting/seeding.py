"""The seeds of many steps at once, on the host.

One `fold_in` inside the compiled loop costs as much as a whole small step, so a
chunk's seeds are computed before it, with the arithmetic of TensorFlow's own
`tf.random.fold_in` (Philox 4x32, 10 rounds; Salmon et al. 2011), vectorised over
steps. (Under XLA `tf.random.fold_in` itself gives other numbers for negative seeds;
here they do not depend on what compiles the loop.)

The rule: shard r of step t draws with `fold_in(fold_in(seed, t), r)`.
"""

from __future__ import annotations

import functools

import numpy as np

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_SCRAMBLE = 0x3EC8F720, 0x02461E29
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def step_seeds(seed: tuple[int, int], first: int, count: int, shards: int):
    """Seeds of steps `first` to `first + count - 1`, `[count, shards, 2]` int32."""
    steps = np.arange(first, first + count, dtype=np.int64).astype(np.int32)
    step_seeds = np.empty([count, 2], np.int32)
    step_seeds[:, 0] = _hash_one(tuple(seed))
    step_seeds[:, 1] = steps
    seeds = np.empty([count, shards, 2], np.int32)
    seeds[..., 0] = _hash(step_seeds)[:, None]
    seeds[..., 1] = np.arange(shards)
    return seeds


@functools.lru_cache(64)
def _hash_one(seed: tuple[int, int]) -> np.ndarray:
    return _hash(np.asarray([seed], np.int32))


def _hash(seeds: np.ndarray) -> np.ndarray:
    """The first word of `tf.random.fold_in(seed, data)`, which holds no data, `[N]`."""
    # the sign-extended halves of both words fill the counter
    words = seeds.astype(np.int64).view(np.uint64)
    counter = [part for word in words.T for part in (word & _LOW, word >> _HALF)]
    key = [np.full(len(seeds), k, np.uint64) for k in _SCRAMBLE]
    mixed = _philox(counter, key)
    zero = np.zeros(len(seeds), np.uint64)
    hashed = _philox([zero, zero, mixed[2], mixed[3]], mixed[:2])[0]
    return hashed.astype(np.uint32).view(np.int32)


def _philox(counter, key):
    """Ten rounds of Philox 4x32 on uint64 arrays that hold 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        low, high = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (high >> _HALF) ^ c1 ^ k0,
            high & _LOW,
            (low >> _HALF) ^ c3 ^ k1,
            low & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return [c0, c1, c2, c3]
