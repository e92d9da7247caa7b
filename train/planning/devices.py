"""The GPUs that a plan can be made for."""

from typing import NamedTuple

from train.model.flops import PEAK_FLOP_PER_S

GIB = 2**30


class Device(NamedTuple):
    """One GPU. Watts and dollars are defaults that the command line can replace."""

    name: str  # as the driver gives it; a key of PEAK_FLOP_PER_S
    memory_bytes: float  # as the driver reports it: less than the label says
    watts: float  # board power limit of the data sheet
    dollars_per_hour: float  # our guess at a price for renting it, not a quotation

    @property
    def flop_per_s(self) -> float:
        """Dense bf16 FLOP/s of the data sheet."""
        return PEAK_FLOP_PER_S[self.name]


DEVICES = {
    "a100-40gb": Device("NVIDIA A100-SXM4-40GB", 39.4 * GIB, 400, 1.3),
    "a100-80gb": Device("NVIDIA A100-SXM4-80GB", 79.15 * GIB, 400, 1.8),
    "h100-80gb": Device("NVIDIA H100 80GB HBM3", 79.1 * GIB, 700, 3.0),
    "h200-141gb": Device("NVIDIA H200", 139.7 * GIB, 700, 3.8),
}
