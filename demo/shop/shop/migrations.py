"""The schema, step by step.

Each statement commits by itself, as with many tools: a failing migration stays half done until `down` cleans it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Migration:
    """One step. `down` is idempotent and also cleans a half-done `up`; none = can't be taken back."""

    id: str
    up: tuple[str, ...]
    down: tuple[str, ...] | None


ALL = {
    migration.id: migration
    for migration in (
        Migration(
            "0001",
            up=(
                """CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, item text NOT NULL,
                   quantity int NOT NULL CHECK (quantity > 0), version text NOT NULL,
                   created_at timestamptz NOT NULL DEFAULT now())""",
                """CREATE TABLE IF NOT EXISTS tick (id bigserial PRIMARY KEY, version text NOT NULL, host text NOT NULL,
                   instance text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())""",
                """CREATE TABLE IF NOT EXISTS overlap (id bigserial PRIMARY KEY, instance text NOT NULL,
                   other text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())""",
            ),
            down=("DROP TABLE IF EXISTS overlap", "DROP TABLE IF EXISTS tick", "DROP TABLE IF EXISTS orders"),
        ),
        Migration(
            "0002",
            up=(
                "ALTER TABLE orders ADD COLUMN IF NOT EXISTS note text",
                """CREATE TABLE IF NOT EXISTS shipments (id bigserial PRIMARY KEY,
                   order_id bigint NOT NULL REFERENCES orders (id), sent_at timestamptz NOT NULL DEFAULT now())""",
            ),
            down=("DROP TABLE IF EXISTS shipments", "ALTER TABLE IF EXISTS orders DROP COLUMN IF EXISTS note"),
        ),
        Migration("0003", up=("ALTER TABLE orders RENAME COLUMN item TO product",), down=None),
        Migration(
            "0004",
            up=(
                "CREATE TABLE IF NOT EXISTS discounts (id bigserial PRIMARY KEY, percent int NOT NULL)",
                # The mistake v7 is made for: the table is called discounts.
                "ALTER TABLE orders ADD COLUMN IF NOT EXISTS discount_id bigint REFERENCES discount (id)",
            ),
            down=("ALTER TABLE IF EXISTS orders DROP COLUMN IF EXISTS discount_id", "DROP TABLE IF EXISTS discounts"),
        ),
    )
}
