"""`python -m tinyreg` is `tinyreg`."""

import sys

from tinyreg.cli.main import main

sys.exit(main())
