"""Flows between noise (t = 0) and data (t = 1): probability paths, couplings, objectives, guidance,
likelihood.

    path = OptimalTransport()
    loss = flow_matching_loss(net, path, noise, data, uniform_times(len(data)))
    samples = integrate(as_velocity(net), noise, time_grid(8), method="midpoint").final
"""

from pathline.flow.bayesian import CategoricalBayesianFlow, GaussianBayesianFlow, bin_centres, bin_probabilities
from pathline.flow.couplings import independent, minibatch_optimal_transport
from pathline.flow.edm import (
    Denoiser,
    NoiseSchedule,
    Preconditioning,
    denoising_loss,
    denoising_slope,
    denoising_walk,
)
from pathline.flow.guidance import drop_labels, guided_velocity
from pathline.flow.likelihood import (
    Likelihood,
    bits_per_dimension,
    density_along,
    divergence,
    gaussian_log_density,
    hutchinson_divergence,
    log_likelihood,
    rademacher,
)
from pathline.flow.mean_velocity import (
    MeanVelocityLoss,
    check_jvp,
    error_by_interval,
    guided_target_velocity,
    interval_times,
    mean_velocity_loss,
    mean_velocity_target,
    sample_mean_velocity,
    total_derivative,
)
from pathline.flow.optimal_transport import (
    barycentric_map,
    entropic_plan,
    exact_plan,
    relative_mass_error,
    sample_pairs,
    sinkhorn_divergence,
    squared_distances,
    transport_cost,
    wasserstein,
)
from pathline.flow.paths import (
    GaussianPath,
    OptimalTransport,
    Schedule,
    VarianceExploding,
    VariancePreserving,
)
from pathline.flow.poisson import oracle_denoiser, poisson_field, poisson_noise, posterior_mean, posterior_weights
from pathline.flow.velocity import (
    Velocity,
    VelocityNetwork,
    as_velocity,
    flow_matching_loss,
    noise_matching_loss,
    squared_error,
    uniform_times,
    velocity_of_noise_network,
)

__all__ = [
    "CategoricalBayesianFlow",
    "Denoiser",
    "GaussianBayesianFlow",
    "GaussianPath",
    "Likelihood",
    "MeanVelocityLoss",
    "NoiseSchedule",
    "OptimalTransport",
    "Preconditioning",
    "Schedule",
    "VarianceExploding",
    "VariancePreserving",
    "Velocity",
    "VelocityNetwork",
    "as_velocity",
    "barycentric_map",
    "bin_centres",
    "bin_probabilities",
    "bits_per_dimension",
    "check_jvp",
    "denoising_loss",
    "denoising_slope",
    "denoising_walk",
    "density_along",
    "divergence",
    "drop_labels",
    "entropic_plan",
    "error_by_interval",
    "exact_plan",
    "flow_matching_loss",
    "gaussian_log_density",
    "guided_target_velocity",
    "guided_velocity",
    "hutchinson_divergence",
    "independent",
    "interval_times",
    "log_likelihood",
    "mean_velocity_loss",
    "mean_velocity_target",
    "minibatch_optimal_transport",
    "noise_matching_loss",
    "oracle_denoiser",
    "poisson_field",
    "poisson_noise",
    "posterior_mean",
    "posterior_weights",
    "rademacher",
    "relative_mass_error",
    "sample_mean_velocity",
    "sample_pairs",
    "sinkhorn_divergence",
    "squared_distances",
    "squared_error",
    "total_derivative",
    "transport_cost",
    "uniform_times",
    "velocity_of_noise_network",
    "wasserstein",
]
