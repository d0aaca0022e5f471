"""The simulated demo study: named effects, a simulator, and one writer per export format."""
