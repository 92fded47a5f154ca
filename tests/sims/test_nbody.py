import pytest
import torch

from pathline.sims import charged_nbody, gravity_nbody, simulate_bodies, spring_nbody
from pathline.sims.nbody import inverse_cube


@pytest.fixture(autouse=True)
def no_cache_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHLINE_CACHE", str(tmp_path))


def state(rollouts=8, bodies=4, dims=3):
    generator = torch.Generator().manual_seed(0)
    position, velocity = torch.randn(2, rollouts, bodies, dims, generator=generator, dtype=torch.float64)
    charge = 2.0 * torch.randint(2, (rollouts, bodies), generator=generator).double() - 1
    return position, 0.5 * velocity, charge[:, :, None] * charge[:, None, :]


def energy(motion, coupling, mass=None, softening=0.0):
    """Kinetic energy plus sum over pairs of c / sqrt(r^2 + softening^2): (rollouts, frames)."""
    mass = torch.ones(coupling.shape[:2], dtype=torch.float64) if mass is None else mass
    kinetic = 0.5 * (mass[:, None, :, None] * motion.velocities**2).sum((2, 3))
    i, j = torch.triu_indices(coupling.shape[1], coupling.shape[1], offset=1)
    square = (motion.positions[:, :, i] - motion.positions[:, :, j]).square().sum(-1)
    return kinetic + (coupling[:, None, i, j] / (square + softening**2).sqrt()).sum(-1)


def test_a_step_is_symplectic_euler_with_the_coulomb_force_of_a_double_loop():
    position, velocity, coupling = state()
    motion = simulate_bodies(position, velocity, coupling, inverse_cube, [0, 1, 2])
    for frame in (0, 1):
        x, v = motion.positions[:, frame], motion.velocities[:, frame]
        force = torch.zeros_like(x)
        for i in range(4):
            for j in range(4):
                if i != j:
                    apart = x[:, i] - x[:, j]
                    force[:, i] += coupling[:, i, j, None] * apart / apart.norm(dim=-1, keepdim=True) ** 3
        after = v + 0.001 * force
        torch.testing.assert_close(motion.velocities[:, frame + 1], after)
        torch.testing.assert_close(motion.positions[:, frame + 1], x + 0.001 * after)


def test_without_a_limit_momentum_is_kept_and_the_energy_error_is_of_first_order():
    position, velocity, _ = state()
    coupling = torch.ones(8, 4, 4, dtype=torch.float64)  # repulsion only: smooth paths
    errors = []
    for dt, steps in ((0.002, 500), (0.001, 1000)):
        motion = simulate_bodies(position, velocity, coupling, inverse_cube, [0, steps], dt=dt)
        momentum = motion.velocities.sum(2)
        torch.testing.assert_close(momentum[:, 0], momentum[:, 1], atol=1e-12, rtol=0)
        before, after = energy(motion, coupling).unbind(1)
        errors.append((after - before).abs().mean())
    assert errors[1] < 1e-2
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.15)


def test_turning_the_start_turns_a_run_unless_it_was_clamped():
    position, velocity, coupling = state(rollouts=60)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    frames = [600]
    plain = simulate_bodies(position, velocity, coupling, inverse_cube, frames, limit=100.0)
    turned = simulate_bodies(position @ turn.T, velocity @ turn.T, coupling, inverse_cube, frames, limit=100.0)
    error = (turned.positions - plain.positions @ turn.T).abs().amax((1, 2, 3))
    free = ~(plain.clamped | turned.clamped)
    assert free.sum() > 20 and (plain.clamped & turned.clamped).sum() > 5
    assert error[free].max() < 1e-7
    assert error[plain.clamped & turned.clamped].median() > 1e-4


def test_results_do_not_depend_on_how_rollouts_are_parted(monkeypatch):
    position, velocity, coupling = state()
    whole = simulate_bodies(position, velocity, coupling, inverse_cube, [50])
    monkeypatch.setattr("pathline.sims.nbody._PART", 3)
    parted = simulate_bodies(position, velocity, coupling, inverse_cube, [50])
    torch.testing.assert_close(whole.positions, parted.positions, atol=1e-12, rtol=0)


def test_the_charged_protocol_gives_what_the_paper_describes():
    """45 % of 8000 runs are clamped by step 4100; x + v misses by a mean square of about 0.11."""
    data = charged_nbody(400, seed=1)
    assert data.positions.shape == (400, 2, 5, 3) and data.positions.dtype == torch.float32
    assert data.interval == pytest.approx(1.0) and data.edge_index.shape == (2, 20)
    charge = data.features[..., 0]
    assert set(charge.unique().tolist()) == {-1.0, 1.0} and abs(charge.mean()) < 0.1
    sender, receiver = data.edge_index
    assert torch.equal(data.edge_features[..., 0], charge[:, sender] * charge[:, receiver])
    assert 0.37 < data.flags["clamped"].float().mean() < 0.53
    assert not (data.flags["clamped"] & ~data.flags["close"]).any()  # a force of 100 takes a distance near 0.1


def test_the_start_of_the_charged_protocol():
    data = charged_nbody(400, frames=(0, 1), seed=1)
    torch.testing.assert_close(data.velocities[:, 0].norm(dim=-1), torch.full((400, 5), 0.5), atol=0.2, rtol=0)
    assert data.positions[:, 0].std() == pytest.approx(1.0, abs=0.03)


def test_gravity_keeps_the_centre_of_mass_at_rest_and_the_energy():
    data = gravity_nbody(20, frames=range(0, 1001, 500))
    mass = data.features
    momentum = (mass[:, None] * data.velocities).sum(2)
    assert momentum.abs().max() < 1e-5  # float32 storage
    centre = (mass[:, None] * data.positions).sum(2)
    torch.testing.assert_close(centre[:, 0], centre[:, -1], atol=1e-5, rtol=0)
    product = mass * mass.transpose(1, 2)
    total = energy(data, -product, mass[..., 0], softening=0.1)
    assert ((total[:, -1] - total[:, 0]).abs() < 0.03 * total[:, 0].abs() + 0.05).all()
    assert (data.velocities[:, -1] - data.velocities[:, 0]).abs().mean() > 0.1  # and something happened


def test_springs_follow_the_exact_solution_of_their_linear_system():
    """x'' = -L x with the stiffness Laplacian L, solved by its eigenvectors; symplectic Euler is O(dt) away."""
    data = spring_nbody(10, frames=range(0, 2001, 1000))
    sender, receiver = data.edge_index
    laplacian = torch.zeros(10, 5, 5, dtype=torch.float64)
    laplacian[:, receiver, sender] = -data.edge_features[..., 0].double()
    assert torch.equal(laplacian, laplacian.transpose(1, 2)) and (laplacian < 0).sum() > 20
    laplacian = laplacian - torch.diag_embed(laplacian.sum(2))
    square, basis = torch.linalg.eigh(laplacian)
    omega = square.clamp(min=0).sqrt()[..., None]
    x, v = (basis.transpose(1, 2) @ s[:, 0].double() for s in (data.positions, data.velocities))
    for frame, time in ((1, 1.0), (2, 2.0)):
        sine = torch.where(omega > 1e-6, torch.sin(omega * time) / omega.clamp(min=1e-6), time)
        exact = basis @ (torch.cos(omega * time) * x + sine * v)
        assert (data.positions[:, frame] - exact).abs().max() < 0.005
    torch.testing.assert_close(data.velocities[:, 0].sum(1), data.velocities[:, 2].sum(1), atol=1e-5, rtol=0)


def test_equal_seeds_give_equal_runs_and_the_second_call_reads_the_cache(tmp_path):
    first = charged_nbody(3, frames=(0, 10), seed=4)
    assert len(list(tmp_path.iterdir())) == 1
    assert torch.equal(first.positions, charged_nbody(3, frames=(0, 10), seed=4).positions)
    assert len(list(tmp_path.iterdir())) == 1
    assert not torch.equal(first.positions, charged_nbody(3, frames=(0, 10), seed=5).positions)


def test_frames_must_be_evenly_spaced():
    with pytest.raises(ValueError, match="equal distances"):
        charged_nbody(3, frames=(0, 10, 30))
    with pytest.raises(ValueError, match="increasing"):
        simulate_bodies(*state(), inverse_cube, [10, 0])
