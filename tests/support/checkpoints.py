"""What is in the file that `fit(..., checkpoint=PATH)` writes."""

import json

from tinyreg.checkpoint import KIND, VERSION
from tinyreg.files import read_arrays


def epochs_in(path):
    """How many epochs have been run."""
    run = json.loads(read_arrays(path, KIND, ["run"], VERSION)["run"].tobytes())
    return len(run["parts"]["dict"]["history"]["History"]["total"])
