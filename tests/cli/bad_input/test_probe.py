"""Probes: targets that name no net, options out of range, and folders of something else."""

from support.bad_input import both, cases, in_table, put, run_of_ones_own

PUBLISHED_RUN = run_of_ones_own()

PROBES = {
    "foo": "No such command 'foo'; see resdepth probe --help",
    ("gradients", ""): "results: is empty; name a folder, or an override such as depth=20",
    "table nowhere": "results=nowhere: is not a folder; name one with probes",
    "gradients nowhere": "results=nowhere: is neither a folder of results nor an override such as depth=20",
    "gradients depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "gradients a b": "results=a b: a probe measures the runs of one folder; name one",
    "gradients name=a,b": "name=b: a probe writes to one folder",
    "gradients device=cuda:7": "device=cuda:7: torch finds no such CUDA device here",
    "gradients data=npz data.path=none.npz": "data.path=none.npz: ",
    "gradients --format eps": "--format=eps: choose one of png, svg, pdf",
    "gradients --every 0": "--every=0: needs a whole number from 1",
    "gradients --every x": "--every=x: needs a whole number",
    "gradients --every=1.5": "--every=1.5: needs a whole number",
    "identity": "probe=identity: measures trained nets; train them with resdepth sweep keep_weights=last, then name",
    "grow depth=20 seed=1": "probe=grow: measures trained nets; train them with resdepth sweep depth=20 seed=1 keep",
    "identity --blocks 0": "--blocks=0: needs whole numbers from 1 to 1,000",
    "identity --blocks 1,x": "--blocks=1,x: needs whole numbers",
    "grow --epochs 0": "--epochs=0: needs a whole number from 1",
    "grow --blocks -1": "--blocks=-1: needs a whole number from 1",
    "learn-identity nowhere": "results=nowhere: learn-identity trains stacks of its own",
    "gradients ~x": "overrides=~x: Could not delete from config",
}


@cases(*in_table("probe", PROBES))
def test_it_is_refused(prepare, words, line, refuse):
    refuse(prepare, words, line)


@cases(
    (put("results/x.txt"), ["probe", "identity", "results"], "results=results: contains no runs; make some with"),
    (
        PUBLISHED_RUN,
        ["probe", "identity", "results"],
        "results=results: runs without weights are left out (1); train them",
    ),
    (PUBLISHED_RUN, ["probe", "decay", "results", "depth=20"], "depth=20: cannot be changed in trained nets; only"),
    (PUBLISHED_RUN, ["probe", "decay", "results", "device=gpu"], "device='gpu': needs auto, cpu"),
    (PUBLISHED_RUN, ["probe", "decay", "results", "data.download=x"], "data.download=x: needs true or false"),
    (
        run_of_ones_own(config=b"{"),
        ["probe", "gradients", "results"],
        "results/digits/plain-8-s0/config.yaml: cannot be read",
    ),
    (
        both(PUBLISHED_RUN, put("results/digits/plain-8-s0/weights/epoch-x.safetensors")),
        ["probe", "gradients", "results"],
        "results=results: runs without weights are left out (1)",
    ),
    (put("out/mine.txt"), ["probe", "gradients", "depth=8", "--out", "out"], "--out=out: exists and is not a probe"),
    (put("out"), ["probe", "gradients", "depth=8", "--out", "out"], "--out=out: exists and is not a probe"),
)
def test_folders_without_trained_nets_are_refused(prepare, words, line, refuse):
    refuse(prepare, words, line)
