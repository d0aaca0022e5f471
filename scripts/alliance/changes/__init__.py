"""What changed since the run before: headline numbers, and what they rest on."""
