"""The files on disk: reading whole or not at all, noticing edits, and writing beside people who edit."""
