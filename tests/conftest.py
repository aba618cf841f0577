"""What all unit tests share: a garbage collector that looks less often."""

import gc


def pytest_collection_finish(session):
    """TensorFlow's half a million objects stay out of the collector's rounds.

    Tracing makes many objects, so the default threshold of 700 starts thousands of
    rounds: 8 to 14% of the processor time of the rooms measured. The hook runs after
    the imports, which coverage has to see.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
