"""Published checkpoints and policy servers behind palmar's `Policy` protocol: one file a system, each with `load`."""
