"""Benches that cannot be measured or written."""

from support.bad_input import cases, in_table

SEVERAL = "--sweep, --busy, --runs, --minutes=several: each is a bench of its own; give one of them"
BENCH = {
    "depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "depth=8 --at-once 0": "--at-once=0: needs whole numbers from 1 to 32, such as 1,2,4",
    "depth=8 --at-once 1,,2": "--at-once=1,,2: needs whole numbers from 1 to 32, such as 1,2,4",
    "depth=8 --minutes 0": "--minutes=0.0: needs a number above 0",
    "depth=8 --minutes nan": "--minutes=nan: needs a number above 0",
    "depth=8 --minutes 5 --sweep": SEVERAL,
    "--runs 0": "--runs=0: needs a whole number from 1 to 10000, the most that a sweep may have",
    "--runs 10001": "--runs=10001: needs a whole number from 1 to 10000",
    "depth=8 --runs 5": "--runs=5: measures runs of its own; leave depth=8 out",
    "depth=8 --busy --sweep": SEVERAL,
    "depth=8 --busy threads=1": "threads=1: a single thread waits for no other; measure with two or more",
    "depth=8 engine=graph device=cpu": "engine=graph: captures CUDA graphs; on cpu use engine=auto or engine=eager",
    "--sweep depth=8 engine=graph device=cpu": "engine=graph: captures CUDA graphs; on cpu use engine=auto",
    "depth=8 device=cuda:999": "device=cuda:999: torch finds no such CUDA device here",
    "depth=8 device=cpu precision=tf32": "precision=tf32: needs a CUDA device; on cpu use fp32 or bf16",
    "depth=20000 model.width=512": "depth=20000: with model.width=512 and minibatches of 128 needs at least",
    "depth=8 hydra/launcher=joblib": "hydra/launcher=joblib: is for sweeps; a bench measures in this process",
    "depth=8 --out /dev/null": "--out=/dev/null: exists and is not a bench; choose another folder",
    "depth=8 --out /dev/null/x": "--out=/dev/null/x: cannot be written to (Not a directory); use --out FOLDER",
    "depth=8 --sweep --out /dev/null/x": "--out=/dev/null/x: cannot be written to (Not a directory); use --out FOLDER",
    "data=npz": "data.path=null: data=npz needs data.path=FILE.npz",
}


@cases(*in_table("bench", BENCH))
def test_bad_input_gets_one_line_and_nothing_is_written_or_trained(prepare, words, line, refuse):
    refuse(prepare, words, line)
