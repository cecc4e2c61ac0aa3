"""`python3 -m shop ROLE`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run a role; each imports what it needs, so that `migrate head` starts fast."""
    role, *rest = sys.argv[1:] or ["serve"]
    if role == "serve":
        role = os.environ.get("SHOP_SERVICE", "api")
    match role:
        case "api" | "web":
            from shop import http

            return http.main(role)
        case "worker":
            from shop import worker

            return worker.main()
        case "scheduler":
            from shop import scheduler

            return scheduler.main()
        case "migrate":
            from shop import migrate

            return migrate.main(rest)
        case "version":
            from shop.settings import release

            print(release().version)
            return 0
        case _:
            print(f"shop: unknown role {role!r}: api, web, worker, scheduler, migrate, version", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
