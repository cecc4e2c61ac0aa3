"""What the tool does itself for backups while their plans run: the companion of dumps and restores, and the store's
operations."""
