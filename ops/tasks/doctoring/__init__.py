"""What `inv doctor` looks at: this machine, the environment's inventory, its hosts."""
