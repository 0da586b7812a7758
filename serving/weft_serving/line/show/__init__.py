"""The pages of the lines, live."""
