"""A sorting line in service: frames in, decisions out, everything kept."""
