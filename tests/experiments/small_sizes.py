"""Widths at which a benchmark of stage 2 takes moments."""

from experiments.measuring.bare_loops import Sizes

# The mask generator comes out 32 wide, the narrowest that its norms allow.
SMALL_STAGE2 = Sizes(
    unet_channels=(40, 40, 80, 80),
    vae_channels=(8, 8, 16, 16),
    text_width=16,
    norm_groups=8,
    batch_size=2,
    image_size_px=64,
)
