"""Checkpoints and data sets to and from a hub that speaks the protocol of huggingface.co (`palmar push`, `palmar pull`)."""
