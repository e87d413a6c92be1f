"""One thread for linear algebra: on matrices as small as these, more of them only wait."""

import os

for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
