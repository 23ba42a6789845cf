"""What holds for all tests."""

import gc
import os

from hypothesis import Phase, settings

# No test is timed: a slow machine is no fault of the code.
settings.register_profile("untimed", deadline=None)
settings.register_profile(
    "mutants", deadline=None, derandomize=True, max_examples=30, database=None, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("untimed")

# Tests run in one process a core: further threads of numeric libraries would only wait for one another, at full speed.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(variable, "1")

# Modules, once loaded, stay; a garbage collection that walks through all of them again costs more than most tests.
gc.disable()


def pytest_collection_finish():
    """From here on, only what the tests make is garbage."""
    gc.enable()
    gc.freeze()
