"""What must be remembered of the files: last good versions, edits not yet on record, and what was in force before."""
