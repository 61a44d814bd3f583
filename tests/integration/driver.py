"""The module's work in a process of its own, which a test can kill. Its argument is the parameters, as JSON."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def main() -> int:
    """Run, and print the result."""
    for package in ("module_utils", "modules"):
        importlib.import_module(f"ansible.{package}").__path__.append(str(PLUGINS / package))
    from ansible.module_utils.pg_optimization.errors import OptimizationError  # noqa: PLC0415 - found from here on
    from ansible.module_utils.pg_optimization.run import Report, run  # noqa: PLC0415
    from ansible.modules import postgresql_optimization  # noqa: PLC0415

    report = Report()
    try:
        run(postgresql_optimization.request(json.loads(sys.argv[1]), check=False), report)
    except OptimizationError as error:
        print(json.dumps({"failed": True, "msg": error.message, **report.result(error)}, default=str))  # noqa: T201
        return 1
    print(json.dumps({"failed": False, "msg": "", **report.result()}, default=str))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
