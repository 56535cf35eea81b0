"""Neural policies: encoders, fusion, heads, the assembled model, presets and checkpoints."""
