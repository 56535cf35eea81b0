"""The built-in planner: an English instruction → typed skills by rules, or a question, or a refusal. No model, no network."""
