"""A small renderer in numpy: meshes, one z-buffer, soft shadow, a phone's sensor. mm, z up, ground at 0."""
