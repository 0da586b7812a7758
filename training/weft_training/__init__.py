"""Recipe -> data -> net -> fit -> evaluate -> calibrate -> export -> register.

Empty on purpose: torch takes seconds to load and `weft --help` must not wait for it. Whatever imports timm or
lightning imports `weft_training.torchvision_gate` before them.
"""
