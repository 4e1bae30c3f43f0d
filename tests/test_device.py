"""Devices: what is set before CUDA starts."""

import os
import subprocess
import sys

import pytest
from support.commands import ROOT

NAMES = ("CUDA_DEVICE_MAX_CONNECTIONS", "CUBLAS_WORKSPACE_CONFIG")
CODE = f"import os, torch, resdepth.device; print(*map(os.environ.get, {NAMES}), torch.cuda.is_initialized())"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "32 :4096:8 False"),
        ({"CUDA_DEVICE_MAX_CONNECTIONS": "4", "CUBLAS_WORKSPACE_CONFIG": ":16:8"}, "4 :16:8 False"),
    ],
)
def test_what_cuda_reads_when_it_starts_is_set_before_unless_the_user_has(given, expected):
    environment = {key: value for key, value in os.environ.items() if key not in NAMES} | given
    words = [sys.executable, "-c", CODE]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == expected, done.stderr
