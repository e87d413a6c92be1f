"""`python -m tinyreg` is `tinyreg`."""

import sys

from tinyreg.cli import main

sys.exit(main())
