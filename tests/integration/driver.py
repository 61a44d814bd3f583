"""The module's work in a process of its own, which a test can kill. Its argument is the parameters, as JSON."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> int:
    """Run, and print the result."""
    modules = importlib.import_module("ansible.module_utils")
    modules.__path__.append(str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))
    from ansible.module_utils.pg_optimization.errors import OptimizationError  # noqa: PLC0415 - found from here on
    from ansible.module_utils.pg_optimization.run import Report, run  # noqa: PLC0415
    from conftest import MODULE  # noqa: PLC0415

    report = Report()
    try:
        run(MODULE.request(json.loads(sys.argv[1]), check=False), report)
    except OptimizationError as error:
        print(json.dumps({"failed": True, "msg": error.message, **report.result(error)}, default=str))  # noqa: T201
        return 1
    print(json.dumps({"failed": False, "msg": "", **report.result()}, default=str))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
