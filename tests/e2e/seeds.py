"""seeds.py -- where random tests begin: the same at every run, so that a red one is red by what was changed; $SEED says another one.
With $RANDOM_SEEDS (`make test-long`) it is a new one each time."""
import os
import random

FIXED = 20261122


def seed():
    if os.environ.get("SEED"):
        return int(os.environ["SEED"])
    return random.SystemRandom().randrange(1 << 30) if os.environ.get("RANDOM_SEEDS") else FIXED
