"""A probe's files: written, continued after a kill, kept apart from those of other nets, the same from processes."""

import json
from dataclasses import replace

import pytest
from support.probes import SHORT, probed

from resdepth.errors import ConfigError, RecordError
from resdepth.probes import nets
from resdepth.probes import probe as shell
from resdepth.probes.probe import measure
from resdepth.probes.rows import PROBES, DecayRow, GradientRow
from resdepth.probes.selection import Selection
from resdepth.results.files import rows
from resdepth.results.files.lock import locked

GRADIENTS = PROBES["gradients"]


def selection(folder, *nets):
    return Selection(nets or (probed("plain"), probed("residual")), folder / "gradients")


def run(folder, *nets, **keys):
    return measure(GRADIENTS, selection(folder, *nets), {}, "resdepth probe gradients", **keys)


@pytest.fixture
def alone(monkeypatch):
    """Measure in this process."""
    monkeypatch.setattr(shell, "cores", lambda: 1)


def test_a_csv_holds_the_rows_of_every_net_with_configuration_and_environment_beside_it(tmp_path, alone):
    csv, failures = run(tmp_path)
    assert failures == []
    found = rows.read(csv, GradientRow)
    assert [(row.run, row.layer) for row in found] == [
        (f"{v}-8-s0", i) for v in ("plain", "residual") for i in range(9)
    ]
    settings = json.loads((csv.parent / "probe.json").read_text())
    assert settings["commands"] == ["resdepth probe gradients"]
    assert settings["all_nets"]["recipe.lr"] == 0.02
    assert settings["nets"]["plain-8-s0"]["variant"] == "plain"
    assert json.loads((csv.parent / "environment.json").read_text())["device"] == "cpu"
    assert sorted(path.name for path in csv.parent.iterdir()) == ["environment.json", "gradients.csv", "probe.json"]


def test_processes_give_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr(shell, "cores", lambda: 1)
    here, _ = run(tmp_path / "here")
    monkeypatch.setattr(shell, "cores", lambda: 2)
    seen = []
    there, failures = run(tmp_path / "there", on_net=lambda net: seen.append(net.label))
    assert failures == []
    assert sorted(seen) == ["plain-8-s0", "residual-8-s0"]
    assert there.read_bytes() == here.read_bytes()


def test_what_was_measured_is_not_measured_again_and_more_nets_are_added(tmp_path, alone):
    seen = []
    csv, _ = run(tmp_path, probed("plain"), on_net=seen.append)
    first = csv.read_text().splitlines()
    run(tmp_path, probed("plain"), probed("residual"), on_net=seen.append)
    assert [net.label for net in seen] == ["plain-8-s0", "residual-8-s0"]
    assert csv.read_text().splitlines()[: len(first)] == first
    run(tmp_path, on_net=seen.append)
    assert len(seen) == 2


def test_an_interrupted_probe_keeps_what_it_has_and_continues(tmp_path, alone):
    def stop(net):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_net=stop)
    csv = tmp_path / "gradients/gradients.csv"
    assert {row.run for row in rows.read(csv, GradientRow)} == {"plain-8-s0"}
    run(tmp_path)
    whole, _ = run(tmp_path / "whole")
    assert csv.read_bytes() == whole.read_bytes()


def test_a_net_that_fails_is_reported_and_the_others_are_measured(tmp_path, alone, monkeypatch):
    from resdepth.probes.measures import gradients

    original = gradients.measure

    def fail(net, data):
        if net.config.variant == "plain":
            raise RuntimeError("no such thing\nat all")
        return original(net, data)

    monkeypatch.setattr(gradients, "measure", fail)
    csv, failures = run(tmp_path)
    (line,) = failures
    assert line.startswith("plain-8-s0: failed: RuntimeError: no such thing (test_probe.py, line ")
    assert {row.run for row in rows.read(csv, GradientRow)} == {"residual-8-s0"}


def test_a_killed_process_is_reported_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(shell, "cores", lambda: 2)
    monkeypatch.setattr(shell, "_measure_batch", _killed)
    csv, failures = run(tmp_path)
    assert failures == ["plain-8-s0: failed: its process was killed by signal 9; run the same command again"]
    assert {row.run for row in rows.read(csv, GradientRow)} == {"residual-8-s0"}


def _killed(name, nets, options, data, connection):
    import os
    import signal

    if nets[0].config.variant == "plain":
        os.kill(os.getpid(), signal.SIGKILL)
    connection.send(shell._rows_of(PROBES[name], nets[0], options))


def test_other_nets_of_the_same_name_and_other_options_are_refused_and_a_restart_keeps_the_earlier_file(
    tmp_path, alone
):
    csv, _ = run(tmp_path, probed("plain"))
    before = csv.read_bytes()
    other = replace(probed("plain", width=8), label="plain-8-s0")
    with pytest.raises(
        ConfigError, match=r"holds another net called plain-8-s0 \(model.width=4 there, 8 here\); choose"
    ):
        run(tmp_path, other)
    with pytest.raises(ConfigError, match="holds the probe gradients; choose another --out"):
        measure(PROBES["decay"], selection(tmp_path), {}, "resdepth", restart=False)
    with pytest.raises(ConfigError, match="was measured with other options"):
        measure(GRADIENTS, selection(tmp_path), {"x": 1}, "resdepth", restart=False)
    assert csv.read_bytes() == before
    run(tmp_path, other, restart=True)
    assert csv.read_bytes() != before
    assert (tmp_path / ".aside/gradients.1/gradients.csv").read_bytes() == before


def test_what_a_killed_probe_leaves_before_its_first_file_is_no_obstacle(tmp_path, alone):
    (tmp_path / "gradients").mkdir()
    for name in (".lock", "probe.json.part"):
        (tmp_path / "gradients" / name).touch()
    assert run(tmp_path)[1] == []


def test_the_settings_are_the_first_file(tmp_path, alone, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shell.environment, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert [path.name for path in (tmp_path / "gradients").iterdir()] == ["probe.json"]
    assert run(tmp_path)[1] == []


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "gradients").mkdir()
    (tmp_path / "gradients/mine.txt").touch()
    with pytest.raises(ConfigError, match="exists and is not a probe's folder; choose another --out"):
        run(tmp_path)


def test_a_folder_that_another_process_writes_to_is_refused(tmp_path, alone):
    run(tmp_path)
    with locked(tmp_path / "gradients"), pytest.raises(ConfigError, match="another process writes to it"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("probe.json", "{", "holds a damaged probe.json"),
        ("probe.json", "[]", "holds a damaged probe.json"),
        ("gradients.csv", "a,b\n1,2\n", "line 1 is not the header of a GradientRow"),
        ("gradients.csv", None, "line 3 is not a GradientRow"),
    ],
)
def test_damaged_files_are_refused_and_kept(name, content, problem, tmp_path, alone):
    csv, _ = run(tmp_path)
    lines = csv.read_text().splitlines(keepends=True)
    damaged = content or "".join([*lines[:2], lines[2].replace(",", ";", 1), *lines[3:]])
    (csv.parent / name).write_text(damaged)
    with pytest.raises(Exception, match=problem):
        run(tmp_path)
    assert (csv.parent / name).read_text() == damaged


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_every_probe_has_a_module_that_measures_and_columns_that_are_explained(probe):
    import importlib
    from dataclasses import fields

    assert callable(importlib.import_module(probe.module).measure)
    assert all(column.metadata["meaning"] for column in fields(probe.row))


def test_rows_are_read_as_they_were_written(tmp_path):
    net = probed()
    row = DecayRow(**net.columns, weight_decay=0.1, decay_bias=False, decay_bn=True, block=1, branch_ratio=0.5,
                   weight_norm=2.0, bias_norm=0.0, bn_scale=1.0, error=12.5)  # fmt: skip
    rows.write(tmp_path / "x.csv", [row])
    assert rows.read(tmp_path / "x.csv", DecayRow) == [row]


def test_one_net_gives_the_same_numbers_alone_and_with_others(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(shell, "cores", lambda: 2)
    torch.set_num_threads(2)
    try:
        learn = PROBES["learn-identity"]
        nets = (probed("plain", 14, "dense"), probed("residual", 14, "dense"))
        both, _ = measure(learn, Selection(nets, tmp_path / "both"), {}, "")
        alone, _ = measure(learn, Selection(nets[:1], tmp_path / "alone"), {}, "")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert both.read_text().splitlines()[1] == alone.read_text().splitlines()[1]
    assert json.loads((tmp_path / "alone/environment.json").read_text())["threads"] == 1


def test_rows_are_written_while_others_are_measured_sorted_and_with_every_command(tmp_path, alone, monkeypatch):
    monkeypatch.setattr(shell, "_WRITE_SECONDS", 0)
    csv = tmp_path / "gradients/gradients.csv"
    sizes = []
    run(tmp_path, probed("plain", 14), probed("plain", 8), on_net=lambda _: sizes.append(len(csv.read_text())))
    assert 0 < sizes[0] < sizes[1]
    assert [row.depth for row in rows.read(csv, GradientRow)] == [8] * 9 + [14] * 15
    measure(GRADIENTS, selection(tmp_path, probed("plain", 20)), {}, "resdepth probe gradients depth=20")
    commands = json.loads((csv.parent / "probe.json").read_text())["commands"]
    assert commands == ["resdepth probe gradients", "resdepth probe gradients depth=20"]


def test_several_epochs_of_a_run_keep_their_rows_in_processes(tmp_path, monkeypatch):
    from support.probes import data_of

    from resdepth.results.checkpoint import save_weights, weights_path
    from resdepth.training.trainer import Trainer

    monkeypatch.setattr(shell, "cores", lambda: 2)
    net = probed("plain")
    trainer = Trainer(net.config, data_of(net))
    nets = [net]
    for record in trainer.epochs():
        save_weights(tmp_path, net.config, record.epoch, trainer.weights)
        nets.append(replace(net, epoch=record.epoch, weights=weights_path(tmp_path, record.epoch)))
    csv, _ = run(tmp_path, *nets, probed("residual"))
    found = {e: [r for r in rows.read(csv, GradientRow) if (r.run, r.epoch) == (net.label, e)] for e in (0, 1, 2)}
    from resdepth.probes.measures import gradients

    for each in nets:
        expected = gradients.measure(each, data_of(each))
        assert [r.activation for r in found[each.epoch]] == pytest.approx([r.activation for r in expected], rel=1e-4)
    assert len({tuple(r.activation for r in part) for part in found.values()}) == 3


def test_a_net_that_this_machine_cannot_hold_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shell.devices, "memory_bytes", lambda _: 1000)
    with pytest.raises(ConfigError, match=r"needs at least .* of memory and this device has"):
        run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_data_other_than_those_of_the_training_are_refused(tmp_path, images, monkeypatch):
    import numpy as np

    from resdepth.config.schema import DataConfig

    np.savez(tmp_path / "mine.npz", **images)
    net = probed("plain")
    data = DataConfig(name="npz", source="npz", path=str(tmp_path / "mine.npz"), fingerprint="of other images")
    with pytest.raises(ConfigError, match="holds other images than the nets were trained on"):
        run(tmp_path / "out", replace(net, config=replace(net.config, data=data)))


def test_a_restart_does_not_move_what_another_process_writes(tmp_path, alone):
    csv, _ = run(tmp_path)
    with locked(tmp_path / "gradients"), pytest.raises(ConfigError, match="another process writes to it"):
        run(tmp_path, restart=True)
    assert csv.exists()


def test_rows_of_a_net_that_the_settings_do_not_name_are_refused(tmp_path, alone):
    csv, _ = run(tmp_path)
    settings = json.loads((csv.parent / "probe.json").read_text())
    del settings["nets"]["plain-8-s0"]
    (csv.parent / "probe.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match=r"holds rows of a net that probe.json does not name"):
        run(tmp_path)


@pytest.mark.parametrize("change", [lambda line: line.rpartition(",")[0], lambda line: line + ",1"])
def test_a_line_with_a_column_too_few_or_too_many_is_refused(change, tmp_path, alone):
    csv, _ = run(tmp_path, probed("plain"))
    header, first, *others = csv.read_text().splitlines()
    csv.write_text("\n".join([header, change(first), *others]) + "\n")
    with pytest.raises(RecordError, match=r"line 2 is not a GradientRow \(1[57] columns instead of 16\)"):
        rows.read(csv, GradientRow)


def test_images_come_as_pixels_to_a_probe_that_takes_them_and_to_the_others_as_the_recipe_says(alone, monkeypatch):
    import importlib

    for name in ("learn-identity", "gradients"):
        probe, seen = PROBES[name], []
        module = importlib.import_module(probe.module)
        monkeypatch.setattr(module, "measure", lambda net, data, seen=seen: seen.append(data) or [])
        shell._rows_of(probe, probed(recipe=replace(SHORT, normalise="channel", pad=2)), {})
        (data,) = seen
        is_pixels = data.mean.eq(0).all() and data.deviation.eq(1).all()
        assert is_pixels == probe.takes_pixels


def test_a_process_uses_the_data_that_it_is_given(monkeypatch, tmp_path):
    from resdepth.data import sources

    class Pipe:
        def __init__(self):
            self.sent = []

        def send(self, message):
            self.sent.append(message)

    net, pipe = probed("plain"), Pipe()
    data = sources.load(net.config.data)
    monkeypatch.setattr(sources, "_load", None)
    monkeypatch.setattr(sources, "_loaded", {})
    nets._device_data.cache_clear()
    shell._measure_batch("gradients", [net], {}, data, pipe)
    (found,) = pipe.sent
    assert len(found) == 9


def test_a_command_that_measures_nothing_is_not_noted_and_its_device_is_checked(tmp_path, alone):
    csv, _ = run(tmp_path)
    before = (csv.parent / "probe.json").read_text()
    measure(GRADIENTS, selection(tmp_path), {}, "resdepth probe gradients --format png")
    assert (csv.parent / "probe.json").read_text() == before
    other = replace(probed(), config=replace(probed().config, device="cuda:7"))
    with pytest.raises(ConfigError, match="device=cuda:7"):
        run(tmp_path, other)
