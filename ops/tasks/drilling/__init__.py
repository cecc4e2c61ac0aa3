"""A drill's way: a canary, a backup, the blow, the restore, what was measured."""
