"""Pictures and regions to altered pictures: fills, placebo, swap."""

from audit.interventions.fills import FILLS, check_fills, fill
from audit.interventions.margins import margin_of
from audit.interventions.placebos import PLACEBOS, placebo_mask
from audit.interventions.swap import Donors, choose_donors, paste

__all__ = [
    "FILLS",
    "PLACEBOS",
    "Donors",
    "check_fills",
    "choose_donors",
    "fill",
    "margin_of",
    "paste",
    "placebo_mask",
]
