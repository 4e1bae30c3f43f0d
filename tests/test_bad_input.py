"""Bad input, in one table over every command: one line on stderr, exit code 2, nothing written, nothing trained.

The command runs in this process, so that hundreds of cases take seconds; a few of each kind run in one of their own.
"""

import ctypes
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import ROOT, command
from support.downloads import OFFERS, Server, serving
from support.images import write_folder, write_npz

from resdepth import host
from resdepth.cli.main import main
from resdepth.config.schema import DataConfig
from resdepth.data import sources
from resdepth.sweep import launch, preflight

# Words of the command line -> the beginning of the line. A tuple where a word holds white space or nothing.
SWEEP = {
    "depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "depth=2": "depth=2: a conv net has 6n+2 layers; nearest is 8",
    "depth=-20": "depth=-20: a conv net has 6n+2 layers",
    "depth=20,21": "depth=21: a conv net has 6n+2 layers",
    "depth=abc": "depth=abc: needs a whole number",
    "depth=20.5": "depth=20.5: needs a whole number",
    "depth=": "depth=: needs a whole number",
    "depth=null": "depth=null: needs a whole number",
    "depth=10**9": "depth=10**9: needs a whole number",
    "depth=999999998": "depth=999999998: no device holds that net",
    "depth=range(0,0)": "depth=range(0,0): the axis is empty",
    "depth=interval(1,2)": "depth=interval(1,2): is no list of values",
    "depth": "depth=: cannot be read as an override; write key=value",
    "depht=20": "depht=20: no such key; did you mean depth?",
    "depht=20,32": "depht=20,32: no such key; did you mean depth?",
    "lr=0.1": "lr=0.1: no such key; did you mean recipe.lr?",
    "+recipe.foo=1": "recipe.foo=1: no such key",
    "modle=conv": "modle=conv: no such key; did you mean model?",
    "~recipe.lr": "recipe.lr=~: a key of the schema cannot be deleted",
    "data=nope": "data=nope: choose one of cifar10",
    "recipe=nope": "recipe=nope: choose one of",
    "experiment=nope": "experiment=nope: choose one of digits",
    "experiment=digits,digits_rates": "experiment=digits,digits_rates: one experiment at a time; name=... and",
    "hydra/launcher=nope": "hydra/launcher=nope: choose one of basic",
    "variant=foo": "variant=foo: choose one of plain, residual",
    "variant=plain,foo": "variant=foo: choose one of plain, residual",
    "seed=-1": "seed=-1: needs a number at least 0",
    "seed=1.5": "seed=1.5: needs a whole number",
    "device=gpu": "device='gpu': choose auto, cpu, cuda, cuda:N or mps",
    "precision=fp16": "precision=fp16: choose one of fp32, tf32, bf16",
    "name=../../x": "name='../../x': names a folder below the results",
    "name=/tmp/x": "name='/tmp/x': names a folder below the results",
    "name=published": "name=published: is the folder of the results that came with the program",
    "recipe.name=a/b": "recipe.name='a/b': use letters",
    "recipe.milestones=[a]": "recipe.milestones=[a]: needs a list",
    "seed=3000000000": "seed=3000000000: needs a number at least 0 and at most 2,147,483,647",
    "results='~nouser/x'": "results=~nouser/x: names a home folder that does not exist",
    "name=''": "name='': names a folder below the results",
    "checkpoint_seconds=-1": "checkpoint_seconds=-1.0: needs a number at least 0",
    "recipe.lr=-1": "recipe.lr=-1.0: needs a number above 0",
    "recipe.lr=nan": "recipe.lr=nan: needs a number above 0",
    "recipe.lr=fast": "recipe.lr=fast: needs a number",
    "recipe.momentum=1": "recipe.momentum=1.0: needs a number at least 0",
    "recipe.batch_size=0": "recipe.batch_size=0: needs a number at least 2",
    "recipe.epochs=0": "recipe.epochs=0: needs a number at least 1",
    "recipe.epochs=null": "recipe.epochs=None: set it or recipe.iterations",
    "recipe.milestones=[0.5,100]": "recipe.milestones=[0.5, 100.0]: needs a rising list",
    "recipe.milestones=[0.7,0.5]": "recipe.milestones=[0.7, 0.5]: needs a rising list",
    "recipe.milestones=3": "recipe.milestones=3: needs a list",
    "recipe.normalise=max": "recipe.normalise=max: choose one of pixel_mean, channel, none",
    "recipe.pad=-1": "recipe.pad=-1: needs a number at least 0",
    "recipe.flip=maybe": "recipe.flip=maybe: needs true or false",
    "model.width=0": "model.width=0: needs a number at least 1",
    "model.shortcut=D": "model.shortcut=D: choose one of A, B, C",
    "model.downsample=none": "model.downsample=none: choose one of stride, max, avg",
    "data=npz": "data.path=None: data=npz needs data.path=the .npz file",
    "data=folder": "data.path=None: data=folder needs data.path=the folder",
    "data=npz data.path=/nowhere/x.npz": "data.path=/nowhere/x.npz: does not exist",
    "data=folder data.path=/dev/null": "data.path=/dev/null: is not a folder",
    "data.path=mine.npz": "data.path=mine.npz: only data=npz and data=folder read it; say which",
    "data.limit=3": "data.limit=3: leaves a class without an image; at least 10",
    "data=cifar100 data.limit=99": "data.limit=99: leaves a class without an image; at least 100",
    "~data": "data=~: a group cannot be deleted; choose another one with data=NAME",
    "hydra.launcher.n_jobs=2": "hydra.launcher.n_jobs=2: Hydra has no such key; the keys of",
    "data.limit=0": "data.limit=0: needs a number at least 2",
    "data.validation=-1": "data.validation=-1: needs a number at least 0",
    "data.size=32": "data.size=32: only data=folder is resized",
    "name=${nope}": "name=${nope}: the interpolation fails",
    "data=npz data.path=nowhere.npz": "data.path=nowhere.npz: does not exist",
    "--config-dir nowhere": "--config-dir=nowhere: is not a folder",
    "--depth 20": "No such option: --depth; overrides are written key=value, as in",
    ("name=a\nb",): "name=a\\nb: cannot be read as an override; write key=value, and quote",
    "name=a\x00b": "name=a\\x00b: cannot be read as an override; write key=value, and quote",
    "name=\x1b[31m": "name=\\x1b[31m: cannot be read as an override; write key=value, and",
    "results=a\x00b": "results='a\\x00b': holds a control character, or bytes that are no UTF-8",
    ("results=a\nb",): "results='a\\nb': holds a control character, or bytes that are no UTF-8",
    "data=npz data.path=a\x00b": "data.path='a\\x00b': holds a control character, or bytes that are no",
    (
        "data=npz",
        "data.path=a\nb",
    ): "data.path='a\\nb': holds a control character, or bytes that are no UTF-8",
    "data.root=a\x00b": "data.root='a\\x00b': holds a control character, or bytes that are no",
    ("experiment=a\nb",): "experiment=a\\nb: cannot be read as an override; write key=value, and",
    "experiment=a\x00b": "experiment=a\\x00b: cannot be read as an override; write key=value, and",
    "experiment=../../etc/passwd": "experiment=../../etc/passwd: choose one of digits, digits_1202,",
    "data=/etc/passwd": "data=/etc/passwd: choose one of cifar10, cifar100, digits,",
    "data=..": "data=..: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "data=": "data=: choose one of cifar10, cifar100, digits, fashion_mnist, folder,",
    "recipe=": "recipe=: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "model=": "model=: choose one of conv",
    "experiment=": "experiment=: choose one of digits, digits_1202, digits_rates,",
    "data=null": "data=null: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "model=null": "model=null: choose one of conv",
    "recipe=null": "recipe=null: choose one of cifar10, cifar100, digits, fashion_mnist,",
    ("a\nb=1",): "a\\nb=1: cannot be read as an override; write key=value, and quote what",
    ("depth\n=20",): "depth\\n=20: cannot be read as an override; write key=value, and quote",
    ("depth=2\n0",): "depth=2\\n0: cannot be read as an override; write key=value, and quote",
    ("depth=20\n",): "depth=20\\n: cannot be read as an override; write key=value, and quote",
    "\x00": "\\x00=: cannot be read as an override; write key=value, and quote what",
    "--config-dir a\x00b": "Invalid value for '--config-dir': Value error, embedded null byte;",
    "name=\udcff": "name=\\udcff: cannot be read as an override; write key=value, and quote",
    "results=\udcff": "results='\\udcff': holds a control character, or bytes that are no UTF-8",
    "\udcff=1": "\\udcff=1: cannot be read as an override; write key=value, and quote",
    "data=npz data.path=\udcff": "data.path='\\udcff': holds a control character, or bytes that are no",
    "data=\udcff": "data=\\udcff: cannot be read as an override; write key=value, and quote",
    "depth=\udcff": "depth=\\udcff: cannot be read as an override; write key=value, and quote",
    "recipe.lr=\udcff": "recipe.lr=\\udcff: cannot be read as an override; write key=value, and",
    "depth=٢٠": "depth=٢٠: cannot be read as an override; write key=value, and quote",
    "seed=²": "seed=²: cannot be read as an override; write key=value, and quote what",
    "seed=１": "seed=１: cannot be read as an override; write key=value, and quote what",
    ("",): "=: cannot be read as an override; write key=value, and quote what the",
    "=": "=: cannot be read as an override; write key=value, and quote what the",
    "=3": "=3: cannot be read as an override; write key=value, and quote what the",
    "a=b=c": "a=b=c: cannot be read as an override; write key=value, and quote what",
    "depth=a=b": "depth=a=b: cannot be read as an override; write key=value, and quote",
    "depth=20=20": "depth=20=20: cannot be read as an override; write key=value, and quote",
    (" ",): " =: cannot be read as an override; write key=value, and quote what the",
    ("depth= ",): "depth= : needs a whole number",
    ("depth=20 21",): "depth=20 21: needs a whole number",
    "+": "+=: cannot be read as an override; write key=value, and quote what the",
    "~": "~=: cannot be read as an override; write key=value, and quote what the",
    "++": "++=: cannot be read as an override; write key=value, and quote what the",
    "~~depth": "~~depth=: cannot be read as an override; write key=value, and quote",
    "depth@x=20": "overrides=depth@x=20: Override depth@x=20 looks like a config group",
    "data@x=digits": "overrides=data@x=digits: Could not override 'data@x'; resdepth sweep",
    "+data@x=digits": "x=?: 'data/digits' sets it: no such key; resdepth sweep --help lists the",
    "recipe@=short": "overrides=recipe@=short: Could not override 'recipe@'; resdepth sweep",
    "depth=[20]": "depth=[20]: needs a whole number",
    "depth=[]": "depth=[]: needs a whole number",
    "depth={a:1}": "depth={a:1}: needs a whole number",
    "depth={}": "depth={}: needs a whole number",
    "depth=[20": "depth=[20: cannot be read as an override; write key=value, and quote",
    "depth=(20": "depth=(20: cannot be read as an override; write key=value, and quote",
    "depth=choice()": "depth=choice(): cannot be read as an override; write key=value, and",
    "depth=choice(a)": "depth=choice(a): needs a whole number",
    "depth=range()": "depth=range(): cannot be read as an override; write key=value, and",
    "depth=range(8,20,0)": "depth=range(8,20,0): is no axis (range() arg 3 must not be zero); write",
    "depth=range(8,20,-6)": "depth=range(8,20,-6): the axis is empty; give it at least one value",
    "depth=range(a,b)": "depth=range(a,b): cannot be read as an override; write key=value, and",
    "depth=range(0.5,1.5)": "depth=range(0.5,1.5): needs a whole number",
    "depth=glob(*)": "depth=glob(*): the axis is empty; give it at least one value",
    "data=glob(*)": "data.path=None: data=folder needs data.path=the folder that holds",
    "data=glob(x*)": "data=glob(x*): the axis is empty; give it at least one value",
    "depth=sort(8,abc)": "depth=sort(8,abc): cannot be read as an override; write key=value, and",
    "depth=int(abc)": "depth=int(abc): cannot be read as an override; write key=value, and",
    "depth=tag(a,b)": "depth=tag(a,b): cannot be read as an override; write key=value, and",
    "depth=foo(3)": "depth=foo(3): cannot be read as an override; write key=value, and quote",
    "depth=8,,14": "depth=8,,14: cannot be read as an override; write key=value, and quote",
    "depth=,8": "depth=,8: cannot be read as an override; write key=value, and quote",
    "depth=8,": "depth=8,: cannot be read as an override; write key=value, and quote",
    "variant=,": "variant=,: cannot be read as an override; write key=value, and quote",
    "variant=": "variant=: choose one of plain, residual",
    "variant=null": "variant=null: needs a text",
    "variant=[]": "variant=[]: needs a text",
    "data=[]": "data=[]: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "data=[digits,mnist]": "data=[digits,mnist]: choose one of cifar10, cifar100, digits,",
    "data={a:1}": "data={a:1}: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "data={limit:20}": "data={limit:20}: choose one of cifar10, cifar100, digits,",
    "recipe=3": "recipe=3: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "recipe={lr:1}": "recipe={lr:1}: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "recipe.milestones=null": "recipe.milestones=null: needs a list, such as [0.5,0.75]",
    "recipe.milestones=[[1]]": "recipe=?: Could not create instance of `RecipeConfig`: '<' not",
    "recipe.milestones=[null]": "recipe.milestones=[null]: needs a list, such as [0.5,0.75]",
    "recipe.milestones={a:1}": "recipe.milestones={a:1}: Cannot merge DictConfig with ListConfig;",
    "recipe.milestones=[nan]": "recipe.milestones=[nan]: needs a rising list, all fractions of the",
    "recipe.milestones=[inf]": "recipe.milestones=[inf]: needs a rising list, all fractions of the",
    "recipe.milestones=[-1]": "recipe.milestones=[-1.0]: needs a rising list, all fractions of the",
    "recipe.milestones=[1e999]": "recipe.milestones=[inf]: needs a rising list, all fractions of the",
    "recipe.milestones=[0]": "recipe.milestones=[0.0]: needs a rising list, all fractions of the",
    "recipe.milestones=[1.5]": "recipe.milestones=[1.5]: needs a rising list, all fractions of the",
    "recipe.lr=1e999": "recipe.lr=inf: needs a number above 0 and at most 1,000",
    "recipe.lr=inf": "recipe.lr=inf: needs a number above 0 and at most 1,000",
    "recipe.lr=-inf": "recipe.lr=-inf: needs a number above 0 and at most 1,000",
    "recipe.lr=null": "recipe.lr=null: needs a number",
    "recipe.lr=true": "recipe.lr=true: needs a number",
    "recipe.lr=": "recipe.lr=: needs a number",
    "recipe.lr=[]": "recipe.lr=[]: needs a number",
    "recipe.lr=0": "recipe.lr=0.0: needs a number above 0 and at most 1,000",
    "depth=true": "depth=true: needs a whole number",
    "depth=1e3": "depth=1e3: needs a whole number",
    "depth=20.0": "depth=20.0: needs a whole number",
    "depth=0x14": "depth=0x14: needs a whole number",
    "depth=99999999999999999999999999999999999999998": "depth=99999999999999999999999999999999999999998: no device",
    "recipe.batch_size=65537": "recipe.batch_size=65537: needs a number at least 2 and at most 65,536",
    "recipe.batch_size=10000000000": "recipe.batch_size=10000000000: needs a number at least 2 and at most",
    "recipe.iterations=0": "recipe.iterations=0: needs a number at least 1 and at most",
    "recipe.iterations=1.5": "recipe.iterations=1.5: needs a whole number or null",
    "recipe.iterations=5 recipe.epochs=5": "recipe.iterations=5: recipe.epochs=5 is set too; null one",
    "recipe.epochs=1000001": "recipe.epochs=1000001: needs a number at least 1 and at most 1,000,000",
    "recipe.foo=1": "recipe.foo=1: no such key; did you mean recipe.flip?",
    "foo.bar=1": "foo=?: no such key; resdepth sweep --help lists the keys",
    "+foo=1": "foo=1: no such key; resdepth sweep --help lists the keys",
    "++foo=1": "foo=1: no such key; resdepth sweep --help lists the keys",
    "~foo": "overrides=~foo: Could not delete from config. 'foo' does not exist;",
    "~recipe": "recipe=~: a group cannot be deleted; choose another one with",
    "~data.limit": "overrides=~data.limit: Could not delete from config. 'data.limit' does",
    "~hydra.sweeper.params.foo": "overrides=~hydra.sweeper.params.foo: Could not delete from config.",
    "hydra.foo=1": "hydra.foo=1: is not for a sweep to set; hydra/launcher=NAME,",
    "+hydra.foo=1": "hydra.foo=1: is not for a sweep to set; hydra/launcher=NAME,",
    "hydra.run.dir=x": "hydra.run.dir=x: is not for a sweep to set; hydra/launcher=NAME,",
    "hydra/launcher=joblib,basic": "hydra/launcher=joblib,basic: Hydra's own settings are no axis; give one",
    "hydra/launcher=": "hydra/launcher=: choose one of basic, joblib",
    "hydra/sweeper=nope": "hydra/sweeper=nope: is not for a sweep to set; hydra/launcher=NAME,",
    "hydra=x": "overrides=hydra=x: Could not override 'hydra'. No match in the defaults",
    "hydra.sweeper.params=3": "hydra.sweeper.params=3: cannot take this value; resdepth sweep --help",
    "hydra.sweeper.params=[1]": "hydra.sweeper.params=[1]: Cannot merge DictConfig with ListConfig;",
    "hydra.sweeper.params.foo=1": "hydra.sweeper.params.foo=1: Hydra has no such key; the keys of",
    "+hydra.sweeper.params.foo=1": "foo=?: no such key; resdepth sweep --help lists the keys",
    "hydra.sweeper.params.depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "hydra.sweeper.params.depth=[8,14]": "hydra.sweeper.params.depth=[8,14]: cannot take this value; resdepth",
    "hydra.sweeper.params.depth=null": "hydra.sweeper.params.depth=null: cannot take this value; resdepth sweep",
    "hydra.sweeper.params.depth=": "depth=?: needs a whole number",
    "hydra.mode=RUN": "hydra.mode=RUN: is not for a sweep to set; hydra/launcher=NAME,",
    "hydra.searchpath=[file:///tmp]": "hydra.searchpath=[file:///tmp]: is not for a sweep to set;",
    "depth=${seed}": "depth=0: a conv net has 6n+2 layers; nearest is 8",
    "depth=${nope}": "depth=${nope}: the interpolation fails: Interpolation key 'nope' not",
    "depth=${depth}": "depth=${depth}: the interpolation fails: Recursive interpolation",
    "name=${oc.env:NOPE}": "name=${oc.env:NOPE}: the interpolation fails: KeyError raised while",
    "name=${nope:x}": "name=${nope:x}: the interpolation fails: Unsupported interpolation type",
    "name=${hydra:job.name}": "name=${hydra:job.name}: the interpolation fails: ValueError raised",
    "name=${": "name=${: cannot be read as an override; write key=value, and quote what",
    "name=${name}": "name=${name}: the interpolation fails: Recursive interpolation detected",
    "results=/dev/null": "results=/dev/null: /dev/null/digits cannot be written to (Not a directory); say",
    "results=/dev/null/x": "results=/dev/null/x: /dev/null/x/digits cannot be written to (Not a directory); say",
    "results=": "results='': names no place; write the path out, or leave it out",
    "results=null": "results=null: needs a text",
    "device=cuda:999999999999999999999": "device='cuda:999999999999999999999': choose auto, cpu, cuda, cuda:N or",
    "device=cuda:-1": "device='cuda:-1': choose auto, cpu, cuda, cuda:N or mps",
    "device=": "device='': choose auto, cpu, cuda, cuda:N or mps",
    "device=CPU": "device='CPU': choose auto, cpu, cuda, cuda:N or mps",
    "precision=tf32 device=cpu": "precision=tf32: is CUDA's; on cpu choose fp32 or bf16",
    "depth=8 seed=range(0,100000000)": "seed=range(0,100000000): makes a sweep of more than 10,000 points; give",
    "depth=shuffle(range(0,100000000))": "depth=shuffle(range(0,100000000)): makes a sweep of more than 10,000",
    "recipe.lr=range(0,1,1e-300)": "recipe.lr=range(0,1,1e-300): makes a sweep of more than 10,000 points;",
    "depth=sort(range(0,100000000))": "depth=sort(range(0,100000000)): makes a sweep of more than 10,000",
    "data.fingerprint=x": "data.fingerprint=x: is filled in by the program, from the data's",
    "name=.": "name='.': names a folder below the results: letters, digits, '.', '_'",
    "name=..": "name='..': names a folder below the results: letters, digits, '.', '_'",
    "name=a/b": "name='a/b': names a folder below the results: letters, digits, '.', '_'",
    "name=a\\\\b": "name='a\\\\b': names a folder below the results: letters, digits, '.',",
    ("name='a b'",): "name='a b': names a folder below the results: letters, digits, '.', '_'",
    ("variant='plain '",): "variant=plain : choose one of plain, residual",
    "device='cuda:٢'": "device='cuda:٢': choose auto, cpu, cuda, cuda:N or mps",
    "data.limit=2,3": "data.limit=2: leaves a class without an image; at least 10",
    "data.validation=1436": "data.validation=1436: leaves fewer than 2 training images; at most 1435",
    "data=cifar10 data.validation=60000 --dry-run": "data.validation=60000: leaves fewer than 2 training images; at",
    "data.download=maybe": "data.download=maybe: needs true or false",
    "data=npz data.path=/": "data.path=/: is not a file; data=npz needs a file",
    "data=npz data.path=.": "data.path=.: is not a file; data=npz needs a file",
    "data=npz data.path=": "data.path=: data=npz needs data.path=the .npz file",
    "data=npz data.path=null": "data.path=None: data=npz needs data.path=the .npz file",
    "data=npz data.path=/dev/zero": "data.path=/dev/zero: is not a file; data=npz needs a file",
    "data=npz data.path=/dev/null": "data.path=/dev/null: is not a file; data=npz needs a file",
    "data=npz data.path=/dev/tty": "data.path=/dev/tty: is not a file; data=npz needs a file",
    "data=folder data.path=/": "data.path=/: has no folder train/; needs train/<class>/* and",
    "data=folder data.path=.": "data.path=.: has no folder train/; needs train/<class>/* and",
    "data=folder data.path=. data.size=3": "data.size=3: needs a number at least 4 and at most 512",
    "data=folder data.path=. data.size=513": "data.size=513: needs a number at least 4 and at most 512",
    "data.source=npz": "data.path=None: data=npz needs data.path=the .npz file",
    "data.source=nope": "data.source=nope: choose one of digits, cifar10, cifar100, mnist,",
    "data.name=a/b": "data.name='a/b': use letters, digits, '.', '_' and '-', beginning with",
    "model.name=a/b": "model.name='a/b': use letters, digits, '.', '_' and '-', beginning with",
    "model.width=4097": "model.width=4097: needs a number at least 1 and at most 4,096",
    "model.width=1.5": "model.width=1.5: needs a whole number",
    "model.zero_init_residual=x": "model.zero_init_residual=x: needs true or false",
    "keep_checkpoint=x": "keep_checkpoint=x: needs true or false",
    "checkpoint_seconds=inf": "checkpoint_seconds=inf: needs a number at least 0 and at most",
    "checkpoint_seconds=nan": "checkpoint_seconds=nan: needs a number at least 0 and at most",
    "checkpoint_seconds=1e10": "checkpoint_seconds=10000000000.0: needs a number at least 0 and at most",
    "recipe.momentum=-0.1": "recipe.momentum=-0.1: needs a number at least 0 and at most 0.9999",
    "recipe.weight_decay=-1": "recipe.weight_decay=-1.0: needs a number at least 0 and at most 1",
    "recipe.weight_decay=2": "recipe.weight_decay=2.0: needs a number at least 0 and at most 1",
    "recipe.gamma=0": "recipe.gamma=0.0: needs a number above 0 and at most 1",
    "recipe.gamma=2": "recipe.gamma=2.0: needs a number above 0 and at most 1",
    "recipe.pad=65": "recipe.pad=65: needs a number at least 0 and at most 64",
    "recipe.eval_every=0": "recipe.eval_every=0: needs a number at least 1 and at most 1,000,000",
    "recipe.warmup_lr=-1": "recipe.warmup_lr=-1.0: needs a number above 0 and at most 1,000",
    "recipe.warmup_error=0": "recipe.warmup_error=0.0: needs a number above 0 and at most 100",
    "recipe.warmup_error=101": "recipe.warmup_error=101.0: needs a number above 0 and at most 100",
    "recipe.warmup_epochs=-1": "recipe.warmup_epochs=-1: needs a number at least 0 and at most",
    "recipe.warmup_depth=0": "recipe.warmup_depth=0: needs a number at least 1 and at most",
    "recipe.warmup_depth=1.5": "recipe.warmup_depth=1.5: needs a whole number",
    "recipe.decay_bias=null": "recipe.decay_bias=null: needs true or false",
    "recipe.eval_clean=x": "recipe.eval_clean=x: needs true or false",
    "recipe.iterations=-1": "recipe.iterations=-1: needs a number at least 1 and at most",
    "recipe.batch_size=1": "recipe.batch_size=1: needs a number at least 2 and at most 65,536",
    "recipe.batch_size=null": "recipe.batch_size=null: needs a whole number",
    "data.limit=1.5": "data.limit=1.5: needs a whole number or null",
    "data.limit=-1": "data.limit=-1: needs a number at least 2 and at most 1,000,000,000",
    "data.limit=1000000001": "data.limit=1000000001: needs a number at least 2 and at most",
    "seed=null": "seed=null: needs a whole number",
    "seed=": "seed=: needs a whole number",
    "--config-dir": "Option '--config-dir' requires an argument; resdepth --help shows what there",
    "--config-dir /dev/null": "--config-dir=/dev/null: is not a folder; name one that holds data/, recipe/,",
    "--dry-run=3": "Option '--dry-run' does not take a value; resdepth --help shows what there",
    "--quiet --quiet=no": "Option '--quiet' does not take a value; resdepth --help shows what there",
    "-q depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "--restart depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "--format png": "No such option: --format; overrides are written key=value, as in",
    "~seed=3": "overrides=~seed=3: Could not delete from config. The value of 'seed' is",
    "recipe.lr.x=3": "recipe.lr=?: needs a number",
    "recipe.milestones[0]=3": "recipe.milestones[0]=3: cannot be read as an override; write key=value,",
    "data.path.x=3": "data.path=?: needs a text or null",
    "results.x=3": "results=?: needs a text",
    "hydra.launcher._target_=os.system": "hydra.launcher._target_=os.system: is not for a sweep to set;",
    "hydra.callbacks.x._target_=os.system": "hydra.callbacks.x._target_=os.system: is not for a sweep to set;",
    "+hydra.callbacks.x._target_=os.system": "hydra.callbacks.x._target_=os.system: is not for a sweep to set;",
    "_target_=os.system": "_target_=os.system: no such key; resdepth sweep --help lists the keys",
    "+data._target_=os.system": "data._target_=os.system: no such key; did you mean data.root?",
    "experiment=digits_1202,digits": "experiment=digits_1202,digits: one experiment at a time; name=... and",
    "experiment=[digits]": "experiment=[digits]: choose one of digits, digits_1202, digits_rates,",
    "experiment={a:1}": "experiment={a:1}: choose one of digits, digits_1202, digits_rates,",
    "experiment=3": "experiment=3: choose one of digits, digits_1202, digits_rates,",
    "model=[conv]": "model=[conv]: choose one of conv",
    "model=3": "model=3: choose one of conv",
    "data=3": "data=3: choose one of cifar10, cifar100, digits, fashion_mnist, folder,",
    "recipe=[short]": "recipe=[short]: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "recipe=[]": "recipe=[]: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "recipe=digits,nope": "recipe=nope: choose one of cifar10, cifar100, digits, fashion_mnist,",
    "/data=digits": "/data=digits: cannot be read as an override; write key=value, and quote",
    "data/x=y": "data/x=y: no such key; did you mean data?",
    "experiment=digits hydra.sweeper.params.depth=null": "hydra.sweeper.params.depth=null: cannot take this value;",
    "#depth=3": "#depth=3: cannot be read as an override; write key=value, and quote",
    "depth=20#": "depth=20#: cannot be read as an override; write key=value, and quote",
    "depth=20;ls": "depth=20;ls: cannot be read as an override; write key=value, and quote",
    "name=$(ls)": "name=$(ls): cannot be read as an override; write key=value, and quote",
    "name=`ls`": "name=`ls`: cannot be read as an override; write key=value, and quote",
    "name=%s": "name='%s': names a folder below the results: letters, digits, '.', '_'",
    "name={0}": "name={0}: cannot be read as an override; write key=value, and quote",
    "seed=0b1": "seed=0b1: needs a whole number",
    "results=~nouser": "results=~nouser: names a home folder that does not exist; write the path",
    "data.root=~nouser data=mnist": "data.root=~nouser: names a home folder that does not exist; write the path",
    "data=npz data.path=~nouser/x.npz": "data.path=~nouser/x.npz: names a home folder that does not exist; write",
}
TRAIN = {
    "depth=20,56": "train=2: makes one run",
    "seed=0,1": "train=2: makes one run, and these overrides make several; use resdepth",
    "variant=plain,residual": "train=2: makes one run, and these overrides make several; use resdepth",
    "depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "depht=20": "depht=20: no such key; did you mean depth?",
    "--nope": "No such option: --nope; overrides are written key=value, as in",
    "-x": "No such option: -x; overrides are written key=value, as in depth=20;",
    "data=npz": "data.path=None: data=npz needs data.path=the .npz file",
    "experiment=nope": "experiment=nope: choose one of digits, digits_1202, digits_rates,",
    "name=/tmp/x": "name='/tmp/x': names a folder below the results: letters, digits, '.',",
    "depth=8 hydra/launcher=nope": "hydra/launcher=nope: choose one of basic, joblib",
}
PLOT = {
    "nowhere": "results=nowhere: is no folder",
    ". --format pdf": "--format=pdf: choose one of png, svg",
    ". --metric speed": "--metric=speed: choose one of error, loss, clean",
    ". --x time": "--x=time: choose one of epoch, iteration",
    ".": "results=.: holds no rows to plot",
    "--out": "Option '--out' requires an argument",
    "a b": "Got unexpected extra argument(s) (b); resdepth --help shows what there",
    (
        "--format",
        "",
    ): "--format=: choose one of png, svg",
    "--format ,": "--format=: choose one of png, svg",
    "--format png,": "--format=: choose one of png, svg",
    "--format png,pdf": "--format=pdf: choose one of png, svg",
    (
        "--metric",
        "",
    ): "--metric=: choose one of error, loss, clean",
    "--x '": "--x=': choose one of epoch, iteration",
    "--metric": "Option '--metric' requires an argument; resdepth --help shows what there",
    "/dev/null": "results=/dev/null: is no folder; name one that holds runs, such as",
    "a\x00b": "Invalid value for 'results': Value error, embedded null byte; resdepth",
    ("a\nb",): "results=a\\nb: is no folder; name one that holds runs, such as results/",
    "\udcff": "results=\\udcff: is no folder; name one that holds runs, such as",
    ("",): "results=.: holds no rows to plot; make some with resdepth sweep",
    "--bogus": "No such option: --bogus (Possible options: --out); overrides are",
}
SUMMARY = {
    ".": "results=.: holds no rows to sum up",
    "nowhere": "results=nowhere: is no folder",
    "a b": "Got unexpected extra argument(s) (b); resdepth --help shows what there",
    ("a\nb",): "results=a\\nb: is no folder; name one that holds runs, such as results/",
    ("",): "results=.: holds no rows to sum up; make some with resdepth sweep",
    "--csv": "Option '--csv' requires an argument; resdepth --help shows what there",
    "--out x": "No such option: --out; overrides are written key=value, as in depth=20;",
    "/dev/null": "results=/dev/null: is no folder; name one that holds runs, such as",
}
BENCH = {
    "depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "depth=8 --at-once 0": "--at-once=0: needs whole numbers from 1 to 32, such as 1,2,4",
    "depth=8 --at-once 1,,2": "--at-once=1,,2: needs whole numbers from 1 to 32, such as 1,2,4",
    "depth=8 engine=graph device=cpu": "engine=graph: captures CUDA graphs; on cpu say engine=auto or engine=eager",
    "--sweep depth=8 engine=graph device=cpu": "engine=graph: captures CUDA graphs; on cpu say engine=auto",
    "depth=8 device=cuda:999": "device=cuda:999: torch finds no such CUDA device here",
    "depth=8 device=cpu precision=tf32": "precision=tf32: is CUDA's; on cpu choose fp32 or bf16",
    "depth=20000 model.width=512": "depth=20000: with model.width=512 and minibatches of 128 needs at least",
    "depth=8 hydra/launcher=joblib": "hydra/launcher=joblib: is for sweeps; a bench measures in this process",
    "depth=8 --out /dev/null": "--out=/dev/null: exists and holds no bench; choose another folder",
    "depth=8 --out /dev/null/x": "--out=/dev/null/x: cannot be written to (Not a directory); say --out FOLDER",
    "depth=8 --sweep --out /dev/null/x": "--out=/dev/null/x: cannot be written to (Not a directory); say --out FOLDER",
    "data=npz": "data.path=None: data=npz needs data.path=the .npz file",
}
BARE = {
    "swep": "No such command 'swep'",
    ("",): "No such command ''; resdepth --help shows what there is",
    ("\n",): "No such command '\\n'; resdepth --help shows what there is",
    "\udcff": "No such command '\\udcff'; resdepth --help shows what there is",
    "-x": "No such option: -x; overrides are written key=value, as in depth=20;",
    "--nope": "No such option: --nope; overrides are written key=value, as in",
    "--version=3": "Option '--version' does not take a value; resdepth --help shows what there",
    "depth=20": "No such command 'depth=20'; resdepth --help shows what there is",
}
# What is too long to be shown whole: field, how much of what, and the end of the line.
LONG = [
    (["sweep", "name=" + "a" * 9_990], "name='aaaa", "beginning with a letter or digit, at most 80"),
    (["sweep", "name=" + "a" * 10_000], "name=aaaa", "at most 10,000, an axis as range(from,to,step)"),
    (["sweep", "k" * 10_000 + "=1"], "kkkk", "at most 10,000, an axis as range(from,to,step)"),
    (["sweep", "k" * 5_000 + "=1"], "overrides=kkkk", "resdepth sweep --help shows how overrides are written"),
    (["sweep", "depth=" + "9" * 5_000], "depth=9999", "'data.path=\"a b.npz\"'"),
    (["sweep", "recipe.lr=" + "9" * 5_000], "recipe.lr=9999", "'data.path=\"a b.npz\"'"),
    (["sweep", "depth=" + "[" * 3_000], "depth=[[[[", "'data.path=\"a b.npz\"'"),
    (["sweep", "depth=" + "[" * 3_000 + "]" * 3_000], "depth=[[[[", "'data.path=\"a b.npz\"'"),
    (["sweep", "depth=" + "{a:" * 1_000 + "1" + "}" * 1_000], "depth={a:{a:", "'data.path=\"a b.npz\"'"),
    (["sweep", "data=npz", "data.path=" + "a" * 5_000], "data.path='aaaa", "characters; shorten it"),
    (["sweep", "data=npz", "data.path=" + "a/" * 2_500], "data.path='a/a/", "characters; shorten it"),
    (["sweep", "results=" + "a" * 5_000], "results='aaaa", "characters; shorten it"),
    (["sweep", "results=" + "a/" * 2_500], "results='a/a/", "characters; shorten it"),
    (["sweep", "results=" + "a" * 900], "results=aaaa", "name another place"),
    (["sweep", "data=npz", "data.path=" + "a" * 900], "data.path=aaaa", "name another place"),
    (["sweep", "data=mnist", "data.root=" + "a" * 900], "data.root=aaaa", "name another place"),
    (["sweep", "data=mnist", "data.root=" + "a" * 5_000], "data.root='aaaa", "characters; shorten it"),
    (["sweep", "--config-dir", "a" * 5_000], "--config-dir=aaaa", "name another place"),
    (["plot", "a" * 5_000], "results=aaaa", "name another place"),
    (["summary", "a" * 5_000], "results=aaaa", "name another place"),
    (["a" * 5_000], "No such command 'aaaa", "resdepth --help shows what there is"),
]


# --- Files, and what is wrong with them. Each takes an empty folder and writes what the case needs.


def spoilt(**changes):
    """mine.npz with some arrays changed; a change is given all arrays and returns one, or None to leave it out."""

    def prepare(folder, images):
        arrays = {**images, **{key: change(images) for key, change in changes.items()}}
        write_npz(folder / "mine.npz", {key: value for key, value in arrays.items() if value is not None})

    return prepare


def content(make):
    """mine.npz with these bytes, made from those of a good one."""

    def prepare(folder, images):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **images)
        (folder / "mine.npz").write_bytes(make(buffer.getvalue()))

    return prepare


def one_array(folder, images):
    with (folder / "mine.npz").open("wb") as file:
        np.save(file, images["x_train"])


def declared(folder, images):
    """x_train's header speaks of 10**12 images of a byte; no byte follows."""
    write_npz(folder / "mine.npz", {key: value for key, value in images.items() if key != "x_train"})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 1, 1)})
    with zipfile.ZipFile(folder / "mine.npz", "a") as archive:
        archive.writestr("x_train.npy", header.getvalue())


def zeros(folder, images):
    """64 MiB of zeros in a file of some 64 KiB."""
    write_npz(folder / "mine.npz", {key: value for key, value in images.items() if key != "x_train"})
    with zipfile.ZipFile(folder / "mine.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(2**26))


def tree(damage=lambda folder: None):
    """train/<class>/* and test/<class>/* of the images, then damaged."""

    def prepare(folder, images):
        write_folder(folder, images)
        damage(folder)

    return prepare


def image(path, mode="RGB", size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def yaml(path, text):
    """own/<path> with this text."""

    def prepare(folder, _images):
        (folder / "own" / path).parent.mkdir(parents=True)
        (folder / "own" / path).write_text(text)

    return prepare


def run_of_ones_own(name="results/digits/plain-8-s0", **damage):
    """A finished run, with some of its files (by stem) replaced by these bytes, or made a folder (None)."""

    def prepare(folder, _images):
        source = ROOT / "results" / "published" / "digits" / "plain-8-s0"
        shutil.copytree(source, folder / name)
        for file in (folder / name).iterdir():
            if file.stem in damage:
                file.unlink()
                new = damage[file.stem]
                if callable(new):
                    new = new((source / file.name).read_bytes())
                file.mkdir() if new is None else file.write_bytes(new)

    return prepare


def put(name, text="in the way\n"):
    def prepare(folder, _images):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return prepare


def both(*parts):
    def prepare(folder, images):
        for part in parts:
            part(folder, images)

    return prepare


NPZ, FOLDER, OWN = "sweep data=npz data.path=mine.npz", "sweep data=folder data.path=.", "sweep --config-dir own "
NO_NPZ = "data.path=mine.npz: is no .npz of plain arrays ("
DIGITS = "results/digits/plain-8-s0"
CSV = "results=results: holds no rows to sum up (results/digits/plain-8-s0/"

# Preparation, words, the beginning of the line.
FILES = [
    (spoilt(x_test=lambda a: None, y_test=lambda a: None), NPZ, "data.path=mine.npz: lacks x_test, y_test (has "),
    (spoilt(x_test=lambda a: None), NPZ, "data.path=mine.npz: lacks x_test (has "),
    (spoilt(y_train=lambda a: np.array(a["y_train"], dtype=object)), NPZ, NO_NPZ + "Object arrays cannot be loaded"),
    (spoilt(x_train=lambda a: a["x_train"][:, 0, 0]), NPZ, "data.path=mine.npz: x_train has shape (60, 3); needs"),
    (spoilt(x_train=lambda a: np.float32(3)), NPZ, "data.path=mine.npz: x_train has shape (); needs"),
    (spoilt(y_train=lambda a: a["y_train"][:-1]), NPZ, "data.path=mine.npz: y_train has shape (59,), int64; needs 60"),
    (spoilt(y_train=lambda a: a["y_train"] + 0.5), NPZ, "data.path=mine.npz: y_train has shape (60,), float64; needs"),
    (spoilt(y_train=lambda a: a["y_train"].astype(str)), NPZ, "data.path=mine.npz: y_train has shape (60,), <U21"),
    (spoilt(x_train=lambda a: a["x_train"].astype(str)), NPZ, "data.path=mine.npz: x_train holds <U3; needs numbers"),
    (spoilt(x_train=lambda a: a["x_train"] * 1j), NPZ, "data.path=mine.npz: x_train holds complex128; needs numbers"),
    (spoilt(y_train=lambda a: a["y_train"] - 1), NPZ, "data.path=mine.npz: a label is -1; number the classes from 0"),
    (spoilt(y_test=lambda a: a["y_test"] - 1), NPZ, "data.path=mine.npz: a label is -1; number the classes from 0"),
    (spoilt(y_train=lambda a: a["y_train"] * 2), NPZ, "data.path=mine.npz: class 1 of 5 has no training image"),
    (spoilt(y_train=lambda a: a["y_train"] + 2**62), NPZ, "data.path=mine.npz: class 0 of "),
    (
        spoilt(y_train=lambda a: a["y_train"].astype(np.uint64) + np.uint64(2**63)),
        NPZ,
        "data.path=mine.npz: a label is",
    ),
    (spoilt(y_test=lambda a: np.full(15, 7)), NPZ, "data.path=mine.npz: y_train has 3 classes and y_test a 7; both"),
    (
        spoilt(y_train=lambda a: a["y_train"] * 0, y_test=lambda a: a["y_test"] * 0),
        NPZ,
        "data.path=mine.npz: y_train has 1",
    ),
    (spoilt(x_train=lambda a: a["x_train"].astype(int) - 300), NPZ, "data.path=mine.npz: x_train holds pixels from -"),
    (spoilt(x_train=lambda a: a["x_train"].astype(int) + 300), NPZ, "data.path=mine.npz: x_train holds pixels from 3"),
    (spoilt(x_train=lambda a: a["x_train"] * np.nan), NPZ, "data.path=mine.npz: x_train holds pixels from nan to nan"),
    (spoilt(x_test=lambda a: np.full(a["x_test"].shape, np.inf)), NPZ, "data.path=mine.npz: x_test holds pixels from "),
    (
        spoilt(x_test=lambda a: a["x_test"][:, :4]),
        NPZ,
        "data.path=mine.npz: x_train and x_test hold images of different",
    ),
    (
        spoilt(x_train=lambda a: np.zeros((60, 3, 8, 8), np.uint8)),
        NPZ,
        "data.path=mine.npz: x_train has shape (60, 3, 8, 8), channels first",
    ),
    (
        spoilt(x_train=lambda a: a["x_train"][:0], y_train=lambda a: a["y_train"][:0]),
        NPZ,
        "data.path=mine.npz: x_train has shape (0, 8, 8, 3); needs",
    ),
    (spoilt(), NPZ + " data.limit=2", "data.limit=2: leaves a class without an image; at least 3"),
    (spoilt(), NPZ + " data.validation=59", "data.validation=59: leaves fewer than 2 training images; at most 58"),
    (spoilt(), NPZ + " data.size=8", "data.size=8: only data=folder is resized"),
    (
        spoilt(),
        NPZ + " depth=20000 model.width=1024",
        "depth=20000: with model.width=1024 and minibatches of 60 needs at least ",
    ),
    (content(lambda good: b"not a zip file"), NPZ, NO_NPZ),
    (content(lambda good: b""), NPZ, NO_NPZ + "No data left in file); write it with numpy.savez"),
    (content(lambda good: good[:-200]), NPZ, NO_NPZ),
    (content(lambda good: good[:200] + bytes(40) + good[240:]), NPZ, NO_NPZ),
    (content(lambda good: good[: len(good) // 2]), NPZ, NO_NPZ),
    (content(lambda good: b"PK\x03\x04" + bytes(99)), NPZ, NO_NPZ),
    (one_array, NPZ, NO_NPZ + "it holds one array without a name); write it with numpy.savez"),
    (declared, NPZ, NO_NPZ),
    (lambda folder, _: os.mkfifo(folder / "mine.npz"), NPZ, "data.path=mine.npz: is not a file; data=npz needs a file"),
    (lambda folder, _: (folder / "mine.npz").mkdir(), NPZ, "data.path=mine.npz: is not a file; data=npz needs a file"),
    (
        lambda folder, _: (folder / "mine.npz").symlink_to("mine.npz"),
        NPZ,
        "data.path=mine.npz: cannot be used (Too many",
    ),
    (
        tree(lambda f: (f / "train/a/000.png").write_bytes(b"\x89PNG broken")),
        FOLDER,
        "data.path=train/a/000.png: is no readable image (",
    ),
    (
        tree(lambda f: (f / "train/a/000.png").write_bytes(b"")),
        FOLDER,
        "data.path=train/a/000.png: is no readable image (",
    ),
    (
        tree(lambda f: (f / "test/a/000.png").write_bytes((f / "test/a/000.png").read_bytes()[:60])),
        FOLDER,
        "data.path=test/a/000.png: is no readable image (",
    ),
    (
        tree(lambda f: image(f / "train/a/000.png", size=(9, 8))),
        FOLDER,
        "data.path=.: images differ in size: train/a/000.png is 9x8 and train/b/001.png 8x8; say data.size=N",
    ),
    (
        tree(lambda f: image(f / "test/b/001.png", size=(8, 9))),
        FOLDER,
        "data.path=.: images differ in size: train/a/000.png is 8x8 and test/b/001.png 8x9",
    ),
    (
        tree(lambda f: image(f / "test/d/000.png")),
        FOLDER,
        "data.path=.: train/ and test/ must hold the same classes; only one has d",
    ),
    (
        tree(lambda f: shutil.rmtree(f / "test/a")),
        FOLDER,
        "data.path=.: train/ and test/ must hold the same classes; only one has a",
    ),
    (tree(lambda f: (f / "train/d").mkdir()), FOLDER, "data.path=train: Found no valid file for the classes d"),
    (tree(lambda f: shutil.rmtree(f / "test")), FOLDER, "data.path=.: has no folder test/; needs train/<class>/*"),
    (
        tree(lambda f: [shutil.rmtree(f / s / c) for s in ("train", "test") for c in "bc"]),
        FOLDER,
        "data.path=.: train/ holds one class (a)",
    ),
    (
        lambda f, _: [(f / s).mkdir() for s in ("train", "test")],
        FOLDER,
        "data.path=train: Couldn't find any class folder in train; needs",
    ),
    (tree(), FOLDER + " data.limit=2", "data.limit=2: leaves a class without an image; at least 3"),
    (
        put("a.txt"),
        "sweep data=npz data.path=a.txt/x.npz",
        "data.path=a.txt/x.npz: does not exist; data=npz needs a file",
    ),
    (put("a.txt"), "sweep data=npz data.path=a.txt", "data.path=a.txt: is no .npz of plain arrays ("),
    (
        put("results"),
        "sweep",
        "results=results: results/digits cannot be written to (Not a directory); say results=FOLDER",
    ),
    (
        put("results"),
        "sweep results=results/x",
        "results=results/x: results/x/digits cannot be written to (Not a directory)",
    ),
    (
        put("results/digits"),
        "sweep",
        "results=results: results/digits cannot be written to (File exists); say results=FOLDER",
    ),
    (
        put("results/digits/residual-20-s0"),
        "train",
        "name=digits: results/digits/residual-20-s0 exists and is not a run",
    ),
    (
        put("results/digits/residual-20-s0/mine.txt"),
        "train",
        "name=digits: results/digits/residual-20-s0 exists and is",
    ),
    (
        put("results/digits/residual-20-s0/config.yaml"),
        "train",
        "results/digits/residual-20-s0/config.yaml: is not a run's configuration; move",
    ),
    (
        put("results/digits/residual-20-s0/config.yaml", "a: [\n"),
        "train",
        "results/digits/residual-20-s0/config.yaml: cannot be read: ",
    ),
    (
        run_of_ones_own(config=lambda good: good.replace(b"lr: 0.02", b"lr: 0.5")),
        "sweep depth=8 variant=plain",
        "name=digits: results/digits/plain-8-s0 holds another run (recipe.lr=0.5 there, 0.02 here); choose another",
    ),
    # --config-dir
    (
        put("own"),
        "sweep --config-dir own",
        "--config-dir=own: is not a folder; name one that holds data/, recipe/, ...",
    ),
    (
        yaml("config.yaml", "depth: 8\n"),
        "sweep --config-dir own",
        "--config-dir=own: holds a config.yaml, the program's own",
    ),
    (
        yaml("recipe/typo.yaml", "lrr: 0.07\n"),
        OWN + "recipe=typo",
        "recipe.lrr=?: 'recipe/typo' sets it: no such key; did you mean recipe.lr?",
    ),
    (yaml("recipe/typo.yaml", "lr: fast\n"), OWN + "recipe=typo", "recipe.lr=?: 'recipe/typo' sets it: needs a number"),
    (yaml("recipe/typo.yaml", "lr: [1\n"), OWN + "recipe=typo", "--config-dir=YAML: a file cannot be read: "),
    (
        yaml("recipe/typo.yaml", "- 1\n- 2\n"),
        OWN + "recipe=typo",
        "--config-dir='recipe/typo': is no mapping of keys to values",
    ),
    (yaml("recipe/typo.yaml", "three\n"), OWN + "recipe=typo", "recipe.three=?: 'recipe/typo' sets it: no such key"),
    (yaml("recipe/typo.yaml", "lr: -1\n"), OWN + "recipe=typo", "recipe.lr=-1.0: needs a number above 0"),
    (
        yaml("recipe/typo.yaml", "lr: ${recipe.lr}\n"),
        OWN + "recipe=typo",
        "recipe.lr=?: the interpolation fails: Recursive",
    ),
    (
        yaml("recipe/typo.yaml", "lr: ${nope}\n"),
        OWN + "recipe=typo",
        "recipe.lr=?: the interpolation fails: Interpolation",
    ),
    (yaml("recipe/typo.yaml", "lr: ${\n"), OWN + "recipe=typo", "lr=?: no viable alternative at input"),
    (
        yaml("recipe/typo.yaml", "lr: 0.1\nlr: 0.2\n"),
        OWN + "recipe=typo",
        "--config-dir=YAML: a file cannot be read: while constructing a mapping",
    ),
    (yaml("recipe/typo.yaml", "defaults: [nope]\n"), OWN + "recipe=typo", "recipe=nope: choose one of "),
    (
        yaml("recipe/typo.yaml", "defaults: 3\n"),
        OWN + "recipe=typo",
        "overrides=recipe=typo: Hydra cannot use this (Invalid defaults list in 'recipe/typo'",
    ),
    (
        yaml("recipe/typo.yaml", "defaults: [typo]\n"),
        OWN + "recipe=typo",
        "overrides=recipe=typo: Hydra cannot use this (something is nested too deeply, or includes itself)",
    ),
    (yaml("recipe/typo.yaml", "a: &a [x]\nb: *c\n"), OWN + "recipe=typo", "--config-dir=YAML: a file cannot be read: "),
    (
        yaml("recipe/typo.yaml", "lr: \x00\n"),
        OWN + "recipe=typo",
        "--config-dir=YAML: a file cannot be read: unacceptable character",
    ),
    (yaml("recipe/typo.yaml", "name: '../x'\n"), OWN + "recipe=typo", "recipe.name='../x': use letters, digits"),
    (yaml("data/mine.yaml", "source: digits\n"), OWN + "data=mine", "recipe=mine: choose one of "),
    (
        yaml("data/mine.yaml", "source: nope\n"),
        OWN + "data=mine recipe=short",
        "data.source=nope: choose one of digits, cifar10",
    ),
    (
        yaml("experiment/far.yaml", "# @package _global_\nname: ../../x\n"),
        OWN + "experiment=far",
        "name='../../x': names a folder",
    ),
    (
        yaml(
            "experiment/far.yaml", "# @package _global_\ndefaults:\n  - override /hydra/launcher: joblib\nname: far\n"
        ),
        OWN + "experiment=far",
        "hydra/launcher=joblib: stands in an experiment",
    ),
    (
        yaml("experiment/far.yaml", "# @package _global_\nhydra: {sweeper: {params: {depth: 21}}}\n"),
        OWN + "experiment=far",
        "depth=21: a conv net has 6n+2",
    ),
    (
        yaml("experiment/far.yaml", "# @package _global_\nhydra: {sweeper: {params: {depth: [8]}}}\n"),
        OWN + "experiment=far",
        "hydra.sweeper.params.depth=?: 'experiment/far' sets it: cannot take this value",
    ),
    (
        yaml("experiment/far.yaml", "# @package _global_\nhydra: {sweeper: {params: {seed: 'range(0,20000)'}}}\n"),
        OWN + "experiment=far",
        "seed=range(0,20000): makes a sweep of more than 10,000 points",
    ),
    # plot and summary
    (
        run_of_ones_own(),
        "plot results --out results/digits/plain-8-s0/config.yaml",
        "--out=results/digits/plain-8-s0/config.yaml: cannot be written to (File exists)",
    ),
    (run_of_ones_own(), "plot results --out results/digits/plain-8-s0/config.yaml/x", "--out="),
    (
        both(run_of_ones_own(), put("results/digits/figures")),
        "plot results",
        "--out=results/digits/figures: cannot be written to (File exists); say --out FOLDER",
    ),
    (
        run_of_ones_own(),
        "summary results --csv results",
        "--csv=results: cannot be written (Is a directory); name a file",
    ),
    (run_of_ones_own(), "summary results --csv nowhere/x.csv", "--csv=nowhere/x.csv: cannot be written ("),
    (run_of_ones_own(), "summary results --csv results/digits/plain-8-s0/config.yaml/x", "--csv="),
    *[
        (run_of_ones_own(**{stem: new}), words, f"results=results: holds no rows to {purpose} ({DIGITS}/{said}")
        for words, purpose in (("summary results", "sum up"), ("plot results", "plot"))
        for stem, new, said in (
            ("metrics", b"nonsense\n", "metrics.csv: line 1 is not the header"),
            ("metrics", b"\xff\xfe\x00", "metrics.csv: cannot be read"),
            ("metrics", None, "metrics.csv: cannot be read"),
            ("metrics", lambda good: good + good, "metrics.csv: line 22 repeats the header"),
            (
                "metrics",
                lambda good: good.replace(b"plain", b"pl\x1bin"),
                "metrics.csv: line 2: variant='pl\\x1bin': needs a text",
            ),
            ("metrics", lambda good: good.replace(b"\n1,", b"\n7,"), "metrics.csv: line 2 is of schema '7'"),
            (
                "metrics",
                lambda good: good[:-1].rpartition(b",")[0] + b",inf\n",
                "metrics.csv: line 21: epoch_seconds='inf': needs a number from 0 to",
            ),
            (
                "metrics",
                lambda good: good.replace(b",8,none", b",-8,none"),
                "metrics.csv: line 2: depth='-8': needs a number from 0 to",
            ),
            ("config", b"a: [\n", "config.yaml: cannot be read"),
            ("config", b"\xff\xfe\x00", "config.yaml: cannot be read"),
            ("config", b"[" * 9_999, "config.yaml: cannot be read"),
            ("config", b"- 1\n", "config.yaml: is not a run's configuration"),
            (
                "config",
                lambda good: good.replace(b"lr: 0.02", b"lr: fast"),
                "config.yaml: is not a run's configuration",
            ),
            (
                "config",
                lambda good: good.replace(b"lr: 0.02", b"lr: .inf"),
                "config.yaml: is not a run's configuration",
            ),
            (
                "config",
                lambda good: good.replace(b"epochs: 20", b"epochs: !!set {a}"),
                "config.yaml: is not a run's configuration",
            ),
            ("config", None, "config.yaml: cannot be read"),
            ("outcome", b"{", "outcome.json: cannot be read"),
            ("outcome", b"[]", "outcome.json: cannot be read"),
            ("outcome", b"[" * 99_999, "outcome.json: cannot be read"),
            ("outcome", b'{"state": "odd", "seconds": 1}', "outcome.json: cannot be read"),
            ("outcome", b'{"state": "finished", "seconds": NaN}', "outcome.json: cannot be read"),
            ("outcome", b'{"state": "finished", "seconds": 1, "more": 2}', "outcome.json: cannot be read"),
            ("outcome", None, "outcome.json: cannot be read"),
        )
    ],
]


def as_words(command_name, words):
    return [*([command_name] if command_name else []), *(words.split() if isinstance(words, str) else words)]


CASES = [
    *(
        (None, as_words(name, words), line)
        for name, table in (
            ("sweep", SWEEP),
            ("train", TRAIN),
            ("plot", PLOT),
            ("summary", SUMMARY),
            ("bench", BENCH),
            ("", BARE),
        )
        for words, line in table.items()
    ),
    *((prepare, words.split(), line) for prepare, words, line in FILES),
]


def named(i, words):
    return f"{i}-" + "".join(c if c.isascii() and c.isprintable() else "?" for c in " ".join(words))[:60]


def everything(folder):
    """All there is below a folder: name, kind, content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in folder.rglob("*")
    }


class Said:
    """What the command left: exit code, standard output, standard error."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def resdepth(tmp_path, monkeypatch, capfd):
    """The command in this process, in an empty folder, unable to train."""
    monkeypatch.chdir(tmp_path)
    for module, name in ((launch, "launch"), (preflight, "estimate_seconds")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("something was trained"))
    # What another case has read from a file of the same name.
    sources._loaded.clear()
    sources.fingerprint.cache_clear()

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["resdepth", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return Said(ended.value.code, *capfd.readouterr())

    return run


def check_refused(said, line):
    assert said.err.startswith(f"resdepth: {line}")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err[:-1].isprintable()
    # Something is named, and what to do about it said.
    assert len(said.err.split(maxsplit=2)) == 3
    assert len(said.err) < 1200


@pytest.mark.parametrize(
    ("prepare", "words", "line"), CASES, ids=[named(i, words) for i, (_, words, _) in enumerate(CASES)]
)
def test_bad_input_gets_one_line_and_nothing_is_written_or_trained(prepare, words, line, resdepth, tmp_path, images):
    if prepare is not None:
        prepare(tmp_path, images)
    before = everything(tmp_path)
    check_refused(resdepth(*words), line)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(("words", "begins", "ends"), LONG, ids=[named(i, words) for i, (words, *_) in enumerate(LONG)])
def test_what_is_very_long_is_named_by_its_beginning_and_the_remedy_stays(words, begins, ends, resdepth, tmp_path):
    said = resdepth(*words)
    check_refused(said, begins)
    assert said.err.endswith(f"{ends}\n")
    assert not everything(tmp_path)


def test_the_table_has_every_command_and_no_case_twice():
    assert len(CASES) + len(LONG) > 400
    assert {words[0] for _, words, _ in CASES if words} >= {"sweep", "train", "plot", "summary"}
    pairs = [(prepare, tuple(words)) for prepare, words, _ in CASES]
    assert len(set(pairs)) == len(pairs)


# --- Memory


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("depth=20000 model.width=4096", "depth=20000: with model.width=4096 and minibatches of 128 needs at least "),
        (
            "depth=8 model.width=4096 precision=bf16 recipe.batch_size=1000",
            "depth=8: with model.width=4096 and minibatches of 1000 needs at least 58.4 GiB",
        ),
    ],
)
def test_a_net_that_no_memory_holds_is_refused_by_estimate(words, line, resdepth, monkeypatch):
    monkeypatch.setattr("resdepth.device.host_bytes", lambda: 2**33)
    check_refused(resdepth("sweep", "device=cpu", *words.split()), line)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [(zeros, NPZ), (tree(), FOLDER), (tree(), FOLDER + " data.size=512")],
    ids=["npz", "folder", "resized"],
)
def test_images_that_no_memory_holds_are_refused_before_they_are_read(
    prepare, words, resdepth, monkeypatch, tmp_path, images
):
    prepare(tmp_path, images)
    monkeypatch.setattr(host, "host_bytes", lambda: 10_000)
    path = "mine.npz" if prepare is zeros else "."
    check_refused(resdepth(*words.split()), f"data.path={path}: holds ")


def test_a_decompression_bomb_is_refused_and_one_that_might_be_is_read_in_silence(
    resdepth, monkeypatch, tmp_path, images
):
    write_folder(tmp_path, images)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 31)
    check_refused(resdepth(*FOLDER.split()), "data.path=train/a/000.png: is no readable image (Image size (64 pixels)")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 63)
    said = resdepth(*FOLDER.split(), "--dry-run")
    assert (said.code, said.err) == (0, "")


def test_images_of_other_modes_in_a_folder_become_rgb(resdepth, tmp_path, images):
    write_folder(tmp_path, images)
    for i, mode in enumerate(("L", "RGBA", "P", "LA", "1", "I;16")):
        image(tmp_path / "train" / "a" / f"z{i}.png", mode)
    said = resdepth(*FOLDER.split(), "--dry-run", "depth=8")
    assert (said.code, said.err) == (0, "")
    assert "2 runs, 2 to train" in said.out


# --- Downloads


@pytest.mark.parametrize("source", OFFERS)
@pytest.mark.parametrize("way", Server.WAYS)
def test_a_download_that_fails_is_one_line_and_the_next_try_gets_the_data(source, way, resdepth, tmp_path, monkeypatch):
    words = ["sweep", f"data={source}", "data.root=root"]
    with serving(way) as server:
        OFFERS[source](monkeypatch, server)
        check_refused(resdepth(*words), f"data={source}: not in root and not to be had (")
        assert not (tmp_path / "results").exists()
    with serving() as server:
        OFFERS[source](monkeypatch, server)
        data = sources.load(DataConfig(source=source, root="root"))
    assert (len(data.train.labels), len(data.test.labels)) == {"cifar10": (100, 20), "mnist": (40, 20)}[source]


@pytest.mark.parametrize("source", OFFERS)
def test_what_was_unpacked_by_half_is_not_taken_for_good(source, resdepth, tmp_path, monkeypatch):
    with serving() as server:
        OFFERS[source](monkeypatch, server)
        config = DataConfig(source=source, root="root")
        whole = sources.load(config)
        name = {"cifar10": "data_batch_1", "mnist": "train-images-idx3-ubyte"}[source]
        (file,) = (tmp_path / "root").rglob(name)
        file.write_bytes(file.read_bytes()[:1000])
        sources._loaded.clear()
        if source == "mnist":  # torchvision has no sum of the file, only of the archive
            check_refused(
                resdepth("sweep", "data=mnist", "data.root=root"), "data=mnist: not in root and not to be had ("
            )
        assert np.array_equal(sources.load(config).train.images, whole.train.images)


# --- In a process of its own


@pytest.mark.parametrize(
    ("prepare", "words", "line"),
    [
        (None, ["sweep", "depth=21"], "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26"),
        (None, ["sweep", b"name=\xff"], "name=\\udcff: cannot be read as an override"),
        (None, ["sweep", b"results=\xff"], "results='\\udcff': holds a control character, or bytes that are no UTF-8"),
        (None, ["sweep", "name=a\nb"], "name=a\\nb: cannot be read as an override"),
        (None, ["sweep", "seed=range(0,100000000)"], "seed=range(0,100000000): makes a sweep of more than 10,000"),
        (None, ["sweep", "depth=20000", "model.width=4096"], "depth=20000: with model.width=4096"),
        (None, ["swep"], "No such command 'swep'"),
        (None, ["plot", b"\xff"], "results=\\udcff: is no folder"),
        (None, ["summary", "."], "results=.: holds no rows to sum up"),
        (declared, NPZ.split(), NO_NPZ),
        (put("results"), ["sweep"], "results=results: results/digits cannot be written to"),
        (run_of_ones_own(outcome=b"{"), ["plot", "results"], "results=results: holds no rows to plot ("),
    ],
)  # fmt: skip
def test_the_real_command_says_the_same(prepare, words, line, tmp_path, images):
    if prepare is not None:
        prepare(tmp_path, images)
    before = everything(tmp_path)
    done = command(*map(os.fsdecode, words), cwd=tmp_path)
    check_refused(Said(done.returncode, done.stdout, done.stderr), line)
    assert everything(tmp_path) == before


def drop_the_rights_of_root():
    """So that permissions hold for the super-user too: no CAP_DAC_OVERRIDE, no CAP_DAC_READ_SEARCH."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in (1, 2):
        if prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "prctl")


def without_rights(words, cwd):
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if is_root and not sys.platform.startswith("linux"):
        pytest.skip("root's rights can be dropped on Linux only; run the tests as a user")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "resdepth", *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=300,
            check=False, preexec_fn=drop_the_rights_of_root if is_root else None,
        )  # fmt: skip
    except subprocess.SubprocessError:
        pytest.skip("this system does not let root's rights be dropped; run the tests as a user")
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("prepare", "closed", "words", "line"),
    [
        (spoilt(), "mine.npz", NPZ, "data.path=mine.npz: is no .npz of plain arrays ([Errno 13] Permission denied"),
        (
            spoilt(),
            ".",
            "sweep data=npz data.path=sub/mine.npz",
            "data.path=sub/mine.npz: cannot be used (Permission denied); name another place",
        ),
        (tree(), "train", FOLDER, "data.path=train: Permission denied; needs train/<class>/*"),
        (tree(), "train/a", FOLDER, "data.path=train: Found no valid file for the classes a"),
        (tree(), "train/a/000.png", FOLDER, "data.path=train/a/000.png: is no readable image ([Errno 13] Permission"),
        (
            put("results/x"),
            "results",
            "sweep",
            "results=results: results/digits/plain-20-s0 cannot be used (Permission denied); say results=FOLDER",
        ),
        (run_of_ones_own(), "results", "plot results", "Invalid value for 'results': path 'results' is not readable; "),
        (
            run_of_ones_own(),
            "results",
            "summary results",
            "Invalid value for 'results': path 'results' is not readable; ",
        ),
        (run_of_ones_own(), f"{DIGITS}/metrics.csv", "summary results", CSV + "metrics.csv: cannot be read"),
        (run_of_ones_own(), f"{DIGITS}/config.yaml", "summary results", CSV + "config.yaml: cannot be read"),
        (
            run_of_ones_own(),
            f"{DIGITS}/config.yaml",
            "sweep depth=8 variant=plain",
            f"{DIGITS}/config.yaml: cannot be read",
        ),
        (
            yaml("recipe/x.yaml", "lr: 0.1\n"),
            "own/recipe/x.yaml",
            OWN + "recipe=x",
            "overrides=recipe=x: Hydra cannot use this ([Errno 13] Permission denied: ",
        ),
        (
            yaml("recipe/x.yaml", "lr: 0.1\n"),
            "own",
            OWN + "recipe=x",
            "Invalid value for '--config-dir': path 'own' is not readable; ",
        ),
        (
            put("out/x"),
            "out",
            "sweep results=out/x/y",
            "results=out/x/y: cannot be used (Permission denied); name another place",
        ),
    ],
)
def test_a_lack_of_permission_is_said(prepare, closed, words, line, tmp_path, images):
    work = tmp_path / "work"
    work.mkdir()
    prepare(work, images)
    before = everything(work)
    mode = (work / closed).stat().st_mode
    (work / closed).chmod(0)
    try:
        said = without_rights(words.split(), work)
    finally:
        (work / closed).chmod(mode)
    check_refused(said, line)
    assert everything(work) == before


# As where a user says it: what is written is flushed at the end.
BUFFERED = {**os.environ, "PYTHONUNBUFFERED": ""}


def test_a_fault_at_run_time_is_one_line_and_exit_code_1():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "resdepth", "summary", str(ROOT / "results" / "published" / "digits_1202")],
            cwd=ROOT, env=BUFFERED, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("resdepth: standard output cannot be written (No space left on device); ")


@pytest.mark.parametrize("words", [["--version"], ["summary", str(ROOT / "results" / "published" / "digits_1202")]])
def test_a_reader_that_goes_away_is_no_fault(words):
    with subprocess.Popen(
        [sys.executable, "-m", "resdepth", *words],
        cwd=ROOT,
        env=BUFFERED,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=300) == 0
