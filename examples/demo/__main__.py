"""Runs the demo on a copy of the sample data; exits 1 when any step does not come out as it says."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from examples.demo import steps
from examples.demo.stage import NotAsToldError, Stage

import partywall

SAMPLE = Path(__file__).parent.parent.parent / "orchestrator-data"


def tell(stage: Stage, root: Path) -> None:
    """The whole story, on one data folder."""
    tenancy = root / "system" / "tenancy"
    with partywall.open(root) as engine:
        cast = steps.Cast(engine)
        steps.introduce(stage, engine)
        steps.work_concurrently(stage, engine, cast)
        steps.meet_the_wall(stage, engine, cast)
        steps.knock_at_the_gate(stage, engine)
        steps.run_into_limits(stage, engine, cast)
        steps.edit_a_plan(stage, engine, cast, tenancy)
        steps.suspend_by_file(stage, engine, cast, tenancy)
        steps.move_to_a_database(stage, engine, cast)
        steps.delete_and_restore(stage, engine, cast)
    with partywall.open(root) as engine:
        steps.find_everything_again(stage, engine, cast)


def main() -> int:
    """Tell the story in a temporary folder."""
    stage = Stage()
    with tempfile.TemporaryDirectory(prefix="partywall-demo-") as folder:
        root = Path(folder) / "orchestrator-data"
        shutil.copytree(SAMPLE / "system", root / "system")
        try:
            with stage.story():
                tell(stage, root)
        except NotAsToldError as error:
            print(f"\nThis did not come out as told: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
