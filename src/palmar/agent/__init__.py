"""Language that plans: a scene in words, typed skills, planners that answer with a checked plan, and who carries it out."""
