"""Which units does the noise switch off? The movable figure of chapter 7."""

from __future__ import annotations

import math

import numpy as np

from elbo_tfp.show.interactive.figure import Axis, Curve, Mark, Slider, SliderFigure

_COLORS = ("blue", "orange", "green", "purple")


def noise_and_units(eigenvalues, *, log10_noise=-1.0, beta=1.0) -> SliderFigure:
    """Move the noise of a linear VAE and the weight on its rate; watch its units.

    The model has one unit per axis of the data and is at its best: a unit whose
    eigenvalue is below beta times the noise variance is off.

    Args:
        eigenvalues: of the data's covariance, between 2 and 4 of them, in 0.01 to 10.
        log10_noise: where the slider of log10 sigma^2 starts, a multiple of 0.05.
        beta: where the slider of the weight starts, a multiple of 0.1.

    Raises:
        ValueError: if there are other eigenvalues, or a start is off its slider.

    Source: Lucas, Tucker, Grosse and Norouzi (2019).
    """
    given = np.sort(np.ravel(eigenvalues).astype(float))[::-1]
    if not 2 <= len(given) <= 4 or not np.all((given >= 0.01) & (given <= 10)):
        raise ValueError(
            f"expected 2 to 4 eigenvalues between 0.01 and 10; got {given}."
        )
    axes = [f"lam{j}" for j in range(1, len(given) + 1)]
    rates = {f"rate{j}": _rate(a, "beta*noise") for j, a in enumerate(axes, 1)}
    here = "exp(x*log(10))"
    top = -0.5 * float(np.sum(np.log(2 * math.pi * given) + 1))  # no unit off
    return SliderFigure(
        sliders=[
            Slider("log10_noise", "log₁₀ σ²", -2.0, 1.0, log10_noise),
            Slider("beta", "weight β", 0.1, 8.0, beta, 0.1),
        ],
        constants=dict(zip(axes, given, strict=True)),
        quantities={
            "noise": "exp(log10_noise*log(10))",
            **rates,
            "elbo": _elbo(axes, "noise", "beta*noise"),
            "log_p": _log_p(axes, "noise", "beta*noise"),
        },
        curves=[
            Curve("trained with weight 1", _elbo(axes, here, here), "blue"),
            Curve(
                "trained with weight β",
                _elbo(axes, here, f"beta*{here}"),
                "orange",
                "9 5",
            ),
        ],
        x_axis=Axis(-2.0, 1.0, "log₁₀ σ²"),
        y_axis=Axis(top - 8.0, top + 0.5, "ELBO, nats per datum"),
        ruler=Axis(0.0, 4.0, "rate of a unit, nats"),
        marks=[
            Mark(f"unit {j}", name, _COLORS[j - 1]) for j, name in enumerate(rates, 1)
        ],
        readout={
            "ELBO": "elbo",
            "log p(x)": "log_p",
            **{f"unit {j}": name for j, name in enumerate(rates, 1)},
        },
        alt=(
            "Two falling curves, the bound against the noise variance on a logarithmic "
            "axis, trained with weight one and with the chosen weight. Below them a "
            "ruler in nats with one mark for the rate of each unit; as the noise or "
            "the weight grows the marks reach zero one after another."
        ),
    )


def _rate(eigenvalue, threshold) -> str:
    # log(lambda / (beta sigma^2)) / 2, or nothing
    return f"max(log({eigenvalue}/({threshold}))/2, 0)"


def _elbo(axes, noise, threshold) -> str:
    """Mean ELBO per datum: axes above `threshold` are coded, the others left out."""
    # E |x - Wz|^2 = sum_j min(lambda_j, beta sigma^2)
    error = " + ".join(f"min({a}, {threshold})" for a in axes)
    rate = " + ".join(_rate(a, threshold) for a in axes)
    return f"-({error})/(2*{noise}) - {len(axes)}*log(2*pi*{noise})/2 - ({rate})"


def _log_p(axes, noise, threshold) -> str:
    """Mean log p(x) per datum of the model trained with that threshold."""
    # variance of the model along axis j: max(lambda_j - beta sigma^2, 0) + sigma^2
    own = [f"(max({a} - {threshold}, 0) + {noise})" for a in axes]
    terms = (f"log(2*pi*{v}) + {a}/{v}" for a, v in zip(axes, own, strict=True))
    return f"-({' + '.join(terms)})/2"
