"""The main job of partywall, told step by step: `python -m examples.demo`."""
