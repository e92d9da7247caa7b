"""Optional measures of a run: `instruments='[cosines, noise_scale, losses, norms]'` (docs/instruments.md).

Read `instruments.py` first: it is all that the training script calls. The instruments read weights and
gradients but change nothing, so a run gives the same bits with and without them.
"""
