"""The numbers that all libraries get: seeded, float64, plain NumPy."""

from pathlib import Path

import numpy as np

rng = np.random.default_rng(0)

# one datum of a factor model: z ~ N(0, I), x ~ N(W z, NOISE^2 I); q = N(LOC, SCALE^2)
W, NOISE = rng.normal(size=(4, 2)), 0.6
X = np.array([0.8, -0.3, 1.1, 0.2])
LOC, SCALE = np.array([0.3, -0.2]), np.array([0.4, 0.5])
Z = LOC + SCALE * rng.normal(size=(200, 2))

# 30 data of three classes with the means m ~ N(0, 3^2); q(m) = N(MEANS, WIDTHS^2)
SHARES = np.array([0.5, 0.3, 0.2])
MEANS, WIDTHS = np.array([-2.0, 0.5, 3.0]), np.array([0.3, 0.4, 0.5])
DATA = rng.choice(MEANS, 30, p=SHARES) + rng.normal(size=30)
M = MEANS + WIDTHS * rng.normal(size=(5, 3))

# the importance-weighted bounds: draws in a bound, and how often it is estimated
PARTICLES, REPLICATES = 8, 20_000

# counts: a grid for the densities, and a regression with a few zeros too many
URN = 0.7, 2.5  # alpha and beta of the beta-binomial
GRID = np.meshgrid([0, 1, 5, 40, 1_000], [0.01, 1.0, 30.0, 1e4], [1e-3, 0.5, 8.0])
DESIGN = np.stack([np.ones(60), np.linspace(-1, 1, 60)], -1)
SLOPES, DISPERSION, INFLATION = np.array([1.0, 0.7]), 0.6, -1.2
COUNTS = rng.negative_binomial(
    1 / DISPERSION, 1 / (1 + DISPERSION * np.exp(DESIGN @ SLOPES))
)
COUNTS = np.where(rng.random(60) < 0.2, 0, COUNTS).astype(float)

# logistic regression with the prior N(0, 4 I)
LOGISTIC_X = np.array([-2, -1, -0.5, 0, 0.5, 1, 1.5, 2])
LOGISTIC_Y = np.array([0.0, 0, 1, 0, 1, 1, 0, 1])

# linear regression, and a Gaussian process on twelve points
INPUTS = rng.normal(size=(40, 3))
PRECISION, NOISE_PRECISION = 1.5, 4.0  # of the weights, of the noise
OUTCOME = INPUTS @ [1.0, -0.5, 0.2] + 0.5 * rng.normal(size=40)
TIMES = np.linspace(0, 3, 12)
PROCESS, JITTER = np.sin(2 * TIMES) + 0.2 * rng.normal(size=12), 0.04

# two regimes with a mean each
MOVES = np.array([[0.9, 0.1], [0.3, 0.7]])
START = np.array([0.75, 0.25])  # stationary
LEVELS, SPREAD = np.array([0.0, 2.0]), 0.8
REGIMES = LEVELS[(np.arange(60) // 11) % 2] + SPREAD * rng.normal(size=60)

# a Gaussian path: z_t = COUPLING z_(t - 1) + PUSH epsilon_t
COUPLING, PUSH, STEPS = 0.8, 0.5, 6
PATHS = rng.normal(size=(4, STEPS))

# the Nile's local level, z_1 ~ N(1000, 300^2)
NILE = Path(__file__).parents[2] / "elbo_tfp" / "data" / "nile.csv"
FLOW = np.loadtxt(NILE, delimiter=",", skiprows=1)[:, 1]
LEVEL_VARIANCE, FLOW_VARIANCE = 1469.1, 15099.0
SEEN = np.ones(100, bool)
SEEN[[0, 20, 21, 22, 60, 99]] = False


def answers(functions: dict, names=None):
    """(name, value, error) of every public function; exact ones return no error."""
    for name, function in functions.items():
        if getattr(function, "is_row", False) and (names is None or name in names):
            found = function()
            value, error = found if isinstance(found, tuple) else (found, 0.0)
            yield name, np.asarray(value, float).ravel(), float(error)


def asked(function):
    """Marks a function as a row of the table."""
    function.is_row = True
    return function


def mean(values):
    """The mean of independent estimates, and its standard error."""
    values = np.asarray(values, float)
    return values.mean(), values.std(ddof=1) / len(values) ** 0.5
