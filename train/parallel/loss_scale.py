"""Dynamic loss scaling for fp16 (Micikevicius et al. 2018, section 3.2).

fp16 has no numbers between 0 and 6e-8. The loss is multiplied by the scale, so that small gradients do not
vanish, and the gradients are divided by it before they are clipped and judged. A step whose gradients
overflow updates nothing and halves the scale.
"""

from configs.loader import Config

# As in torch.amp.GradScaler. All values are powers of two, so scaling rounds nothing.
INITIAL_SCALE, GROWTH_STEPS = 2.0**16, 2000
SMALLEST, LARGEST = 1.0, 2.0**24


class LossScale(Config):
    """The scale and its history; part of a checkpoint. Without fp16 it stays at 1."""

    scale: float = 1.0
    good_steps: int = 0  # since the last change of the scale
    overflows: int = 0  # steps skipped since the run began

    @property
    def may_shrink(self) -> bool:
        """Whether gradients that are not finite can be due to the scale."""
        return self.scale > SMALLEST

    def after_overflow(self) -> "LossScale":
        """The state after a step whose gradients overflowed."""
        return LossScale(scale=self.scale / 2, good_steps=0, overflows=self.overflows + 1)

    def after_update(self) -> "LossScale":
        """The state after a step that updated the weights: it grows once in GROWTH_STEPS of them."""
        good = self.good_steps + 1
        if good < GROWTH_STEPS or self.scale >= LARGEST:
            return self.model_copy(update={"good_steps": good})
        return self.model_copy(update={"scale": self.scale * 2, "good_steps": 0})
