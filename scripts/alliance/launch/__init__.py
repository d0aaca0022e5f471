"""Starting and ending a run: the lock, leftovers, progress, and what the user is told."""
