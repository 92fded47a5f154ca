"""Motion from the command line: pictures in, flow files out."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pathline.cli.app import app
from pathline.data.readers.flow_files import read_flo


@pytest.fixture
def shifted(tmp_path):
    """Two pictures, the second moved by two pixels to the right."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 14, 3), dtype=np.uint8)
    smooth = Image.fromarray(pixels).resize((56, 48), Image.Resampling.BICUBIC)
    paths = [tmp_path / "scene_0.png", tmp_path / "scene_1.png"]
    for path, left in zip(paths, (4, 2), strict=True):
        smooth.crop((left, 0, left + 48, 48)).save(path)
    return [str(path) for path in paths]


def test_two_pictures_become_a_flow_file_a_picture_and_a_table(shifted, tmp_path):
    run = CliRunner().invoke
    folder, out = str(tmp_path / "run"), tmp_path / "motion.flo"
    (tmp_path / "pairs").mkdir()
    for path in shifted:
        Image.open(path).save(tmp_path / "pairs" / path.rpartition("/")[2])
    done = run(app, ["fit", "horn-schunck", str(tmp_path / "pairs"), "--out", folder])
    assert done.exit_code == 0, done.output
    done = run(app, ["predict", folder, *shifted, "--out", str(out)])
    assert done.exit_code == 0, done.output
    flow, valid = read_flo(out)
    assert flow.shape == (2, 48, 48) and bool(valid.all())
    assert abs(float(flow[0, 8:-8, 8:-8].median()) - 2) < 0.2 and abs(float(flow[1, 8:-8, 8:-8].median())) < 0.2
    assert run(app, ["predict", folder, *shifted, "--out", str(tmp_path / "motion.png")]).exit_code == 0
    with Image.open(tmp_path / "motion.png") as picture:
        assert picture.size == (48, 48)
    assert run(app, ["predict", folder, *shifted, "--size", "24", "--out", str(tmp_path / "t.csv")]).exit_code == 0
    assert (tmp_path / "t.csv").read_text().startswith("pair,mean_x,mean_y,mean_speed")
    done = run(app, ["evaluate", folder, str(tmp_path / "pairs"), "--json"])
    assert list(json.loads(done.stdout)["metrics"]) == ["photometric_error"]
