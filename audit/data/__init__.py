"""Samples and regions: reading, decoding, checking and batching a data set."""

from audit.data.batches import Batch, batches
from audit.data.dataset import Dataset, Example, check_dataset, open_dataset, quarantine_limit

__all__ = [
    "Batch",
    "Dataset",
    "Example",
    "batches",
    "check_dataset",
    "open_dataset",
    "quarantine_limit",
]
