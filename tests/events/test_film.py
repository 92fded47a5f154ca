"""Pictures of paths: dots where the model says, lines between who meets, and a film that moves."""

import pytest
import torch

from pathline.events.film import FRAMES, Film, film_figure, still
from pathline.events.pivem import PiVeM
from pathline.sims.contacts import merging_clusters


@pytest.fixture(scope="module")
def fitted():
    record = merging_clusters(points=12, contacts=800, pieces=6, seed=0)
    data = record.events()
    model = PiVeM.seeded(data, 0, bins=6).eval()
    with torch.no_grad():
        model.velocity.normal_(std=2)
    return model, data


def test_dots_are_where_the_model_says(fitted):
    model, data = fitted
    film = Film(model, data)
    picture = film.frame(20)
    (dots,) = picture.axes[0].collections
    moment = torch.full((12,), 20 / (FRAMES - 1), dtype=torch.float64)
    expected = model.paths().at(moment, torch.arange(12)).detach()
    torch.testing.assert_close(torch.tensor(dots.get_offsets().data).float(), expected)


def test_lines_join_who_meets_about_then(fitted):
    model, data = fitted
    film = Film(model, data)
    picture = film.frame(40)
    moment = 40 / (FRAMES - 1)
    share = model.own_time(data.clock)
    near = (share - moment).abs() < 1 / 24
    met = set(zip(data.source[near].tolist(), data.target[near].tolist(), strict=True))
    lines = [line for line in picture.axes[0].lines if line.get_zorder() == 1]
    assert len(lines) == len(met) > 3


def test_frames_share_their_limits_and_differ(fitted):
    film = Film(*fitted)
    first, second = film.frame(3).axes[0], film.frame(50).axes[0]
    assert first.get_xlim() == second.get_xlim() and first.get_ylim() == second.get_ylim()
    assert not (first.collections[0].get_offsets() == second.collections[0].get_offsets()).all()


def test_colours_are_the_classes_that_node_features_name(fitted):
    from dataclasses import replace

    model, data = fitted
    classes = torch.arange(12) % 3
    film = Film(model, replace(data, node_features=torch.nn.functional.one_hot(classes, 3).float()))
    assert torch.equal(film.kind, classes)


def test_moments_have_equal_shares_of_the_contacts(fitted):
    model, data = fitted
    moments = Film(model, data).moments()
    assert moments == sorted(moments) and len(set(moments)) == 6
    assert len(still(model, data).axes) == 7


def test_reports_and_files_hold_the_film(fitted, tmp_path, monkeypatch):
    model, data = fitted
    monkeypatch.setattr("pathline.events.film.FRAMES", 3)
    figure = film_figure("pivem", model, data)
    assert figure.animation.count == 3
    (own,) = model.own_figures("pivem", data)
    assert own.title == figure.title
    path = tmp_path / "film.gif"
    model.writers()[".gif"](data, path, 0)
    assert path.read_bytes()[:6] == b"GIF89a"
