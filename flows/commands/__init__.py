"""The commands of ``cuecheck``, by what they are for; the help lists them in this order."""

# isort: off
from flows.commands import running
from flows.commands import preparing
from flows.commands import gating
from flows.commands import operating
from flows.commands import upkeep
from flows.commands import pages
from flows.commands import records

__all__ = ["gating", "operating", "pages", "preparing", "records", "running", "upkeep"]
