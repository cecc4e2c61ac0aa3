"""The shop: the demo application that Opsbook deploys. One program, a role per service."""
