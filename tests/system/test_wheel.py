"""An installed wheel works from anywhere."""

import os
import subprocess
import sys

import pytest
from support.commands import ROOT


@pytest.mark.slow
def test_an_installed_wheel_works_from_anywhere(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site, work, mine = tmp_path / "site", tmp_path / "work", tmp_path / "mine" / "recipe"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)
    work.mkdir()
    mine.mkdir(parents=True)
    (mine / "fast.yaml").write_text("defaults: [short]\nlr: 0.07\nepochs: 1\n")
    env = {**os.environ, "PYTHONPATH": str(site)}
    words = ["sweep", "depth=8", "recipe=fast", "data.limit=128", "device=cpu", "--config-dir", str(mine.parent)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "resdepth", *words], cwd=work, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (work / "results" / "digits").iterdir()) == [
        f"{v}-8-s0,recipe=fast,data.limit=128" for v in ("plain", "residual")
    ]
    assert "rate 0.07, 1 epoch, data.limit 128)" in done.stdout
    assert (site / "resdepth" / "config" / "yaml" / "config.yaml").exists()
