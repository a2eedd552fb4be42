"""The text of a file: strict YAML to data with places, to a model, and back by surgical edits."""
