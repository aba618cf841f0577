"""The public names: a contract with chapters and readers, documented one by one."""

import importlib
import inspect
import pkgutil
import re

import pytest

import elbo_tfp

CONTRACT = {
    "elbo_tfp": "Draws Encoder Estimate LatentVariableModel audit bounds data draw "
    "families gradients models particle_filter plots posterior_summary show_source "
    "to_arviz",
    "elbo_tfp.models": "LatentVariableModel from_joint gamma_poisson linear_gaussian "
    "normal_normal probabilistic_pca ConditionalModel observed conditional_vae "
    "StateSpaceModel deep_markov",
    "elbo_tfp.families": "Encoder mean_field full_rank low_rank mean_field_for "
    "full_rank_for flow_for markov",
    "elbo_tfp.distributions": "BetaBinomial DiscretizedLogistic unwrap "
    "MarkovGaussian Optimality StudentT Trajectories",
    "elbo_tfp.bounds": "elbo iwae decompose Decomposition standard_error analytic_kl",
    "elbo_tfp.gradients": "reparameterized sticking_the_landing",
    "elbo_tfp.fitting": "Checkpoint Convergence EarlyStopping FitResult HeldOut "
    "HoldOut KLSchedule NonFiniteError Traceable fit fit_restarts load save tf32",
    "elbo_tfp.data": "digits iris mnist eight_schools two_humps nile sunspots "
    "pbmc simulated_cells read_h5ad sparse_rows Shards shards write_shards "
    "Posterior posteriordb posteriordb_fits",
    "elbo_tfp.show.plots": "use_style density images",
    "elbo_tfp.evidence": "Annealed Bidirectional Importance Quadrature estimate",
    "elbo_tfp.models.cells": "CellModel CountVAE count_vae",
    "elbo_tfp.models.control": "MarkovDecisionProcess TrajectoryPosterior",
    "elbo_tfp.applications": "PartSummary posterior_summary Optimism SampledElbo "
    "optimism policy_family policy_gradient sampled_elbo FreeEnergy Hierarchy "
    "LocalGradients Relaxation free_energy hierarchy laplace local_gradients "
    "local_objective relax Imputation impute carry_over coreset freeze multi_head "
    "regress restrict split_tasks to_arviz Comparison PredictiveCheck compare "
    "posterior_predictive",
    "elbo_tfp.show.interactive": "GridFigure window_and_noise",
    "elbo_tfp.audit": "Audit FAULTS Finding audit judge",
}
ROOMS = ["elbo_tfp"] + [
    f"elbo_tfp.{room.name}"
    for room in pkgutil.iter_modules(elbo_tfp.__path__)
    if room.ispkg
]
PUBLIC = [
    (room, name)
    for room in ROOMS
    for name in importlib.import_module(room).__all__
    if not inspect.ismodule(getattr(importlib.import_module(room), name))
]


def test_the_contract_is_kept():
    for module, names in CONTRACT.items():
        found = importlib.import_module(module)
        for name in names.split():
            assert hasattr(found, name), f"{module}.{name} is gone"
            assert module not in ROOMS or name in found.__all__, f"{name} is not public"


@pytest.mark.parametrize("room", ROOMS)
def test_all_is_sorted_and_true(room):
    module = importlib.import_module(room)
    assert all(hasattr(module, name) for name in module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    assert inspect.getdoc(module) and len(inspect.getdoc(module)) > 80


@pytest.mark.parametrize(("room", "name"), PUBLIC, ids=lambda v: v)
def test_every_name_is_documented(room, name):
    thing = getattr(importlib.import_module(room), name)
    if not callable(thing):
        return
    text = inspect.getdoc(thing) or ""
    assert len(text) > 20
    if not inspect.isfunction(thing) or "as `" in text.lower():
        return
    for parameter in inspect.signature(thing).parameters:
        assert re.search(rf"\b{parameter}\b", text), (
            f"{name}: {parameter} not explained"
        )


@pytest.mark.parametrize(("room", "name"), PUBLIC, ids=lambda v: v)
def test_results_explain_each_field(room, name):
    thing = getattr(importlib.import_module(room), name)
    for field in getattr(thing, "_fields", ()):
        source = inspect.getsource(thing)
        assert re.search(rf'    {field}: [^\n]+\n    """', source), f"{name}.{field}"


def test_the_version_and_the_types_marker():
    assert re.fullmatch(r"\d+\.\d+\.\d+", elbo_tfp.__version__)
    assert (importlib.resources.files("elbo_tfp") / "py.typed").is_file()
