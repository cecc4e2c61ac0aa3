"""What a user types: Invoke tasks, one module per noun. A repository's ``tasks.py`` needs two lines::

    from ops.tasks import namespace

    ns = namespace()

Only Invoke and the standard library are imported here and at the top of the task modules: `inv --list` must be quick.
"""

from __future__ import annotations

from ops.tasks.own import procedure
from ops.tasks.root import namespace

__all__ = ["namespace", "procedure"]
