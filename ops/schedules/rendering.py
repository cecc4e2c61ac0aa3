"""Texts for schedulers, from the templates in ``templates/schedules``."""

from __future__ import annotations

from ops.packaged import templates


def rendered(name: str, **values: object) -> str:
    """The template ``name`` with these values; one that it lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(templates() / "schedules"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(**values)
