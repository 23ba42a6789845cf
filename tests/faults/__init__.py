"""Everything that can go wrong, in memory and in virtual time. Long runs look further: MODELWARD_FAULTS=long."""

import os

LONG = os.environ.get("MODELWARD_FAULTS") == "long"
