"""From raw counts and pictures to pieces: references, belt, pixels, outlines, colour."""
