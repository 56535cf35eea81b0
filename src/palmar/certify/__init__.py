"""The release checklist: each item is run on the real machinery, and refused where its evidence is missing."""
