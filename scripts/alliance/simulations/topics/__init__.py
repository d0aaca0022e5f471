"""One module a topic, found by its name: ``conditions()`` and ``simulate(condition, random, runs)``."""
