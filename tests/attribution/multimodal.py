"""Small models of pictures and words, trained on the demo's scenes: a captioner, and one for VQA.

As in Grad-CAM's sections 8.1 and 8.2 (arXiv 1610.02391): a convolutional network whose last map is
pooled and handed to a recurrent one, without attention over places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from audit.config import Scenes
from audit.data.scenes import CLASSES, REGION_CODES, generate
from audit.data.scenes.hair import SHORT
from audit.data.scenes.tools import TOOLS
from audit.geometry import coverage_to_grid
from audit.models.small_cnn import SmallCNN

REGIONS = ("tools", "face", "hair", "clothing")
GRID = (14, 14)
BATCH, RATE, EPOCHS = 32, 6e-3, 18
Model = TypeVar("Model", bound=nn.Module)

# One word a tool, and no article: after 'reflex' or 'an' the tool would be known without looking.
NOUNS = {tool: tool.split()[-1] for tools in TOOLS.values() for tool in tools}
LENGTHS = ("short", "long")
WORDS = (*CLASSES, "with", *NOUNS.values(), "and", *LENGTHS, "hair")
TOOL, HAIR = 2, 4  # places of these words in 'nurse with syringe and long hair'

ASKED = ("which", "tool", "hair", "job")
QUESTIONS = ("which tool", "which hair", "which job")
ANSWERS = (*NOUNS.values(), *LENGTHS, *CLASSES)


@dataclass(frozen=True)
class Pictures:
    """Pictures ``[N, 3, H, W]``, the part of each cell in each region ``[N, R, 14, 14]``, rows."""

    images: Tensor
    regions: Tensor
    rows: pd.DataFrame

    @property
    def truths(self) -> pd.DataFrame:
        """The words for job, tool and hair."""
        return pd.DataFrame(
            {
                "job": self.rows.label,
                "tool": self.rows.tool.map(NOUNS),
                "hair": ["short" if style in SHORT else "long" for style in self.rows.hair_style],
            }
        )

    @property
    def captions(self) -> Tensor:
        """``[N, 6]`` places in :data:`WORDS`."""
        rows = self.truths.itertuples()
        return torch.stack([caption(row.job, row.tool, row.hair) for row in rows])

    def answers(self, question: str) -> Tensor:
        """``[N]`` places in :data:`ANSWERS`."""
        words = self.truths[question.rsplit(maxsplit=1)[-1]]
        return torch.tensor([ANSWERS.index(word) for word in words])


def caption(job: str, tool: str, hair: str) -> Tensor:
    sentence = f"{job} with {tool} and {hair} hair"
    return torch.tensor([WORDS.index(word) for word in sentence.split()])


def scenes(folder: Path, *, train: int, audit: int, seed: int = 5) -> tuple[Pictures, Pictures]:
    """Pictures to learn from and others to test on, job and gender independent in both."""
    even = {"men_among_doctors": 0.5, "women_among_nurses": 0.5}
    generate(folder, Scenes(seed=seed, train=train, audit=audit, **even), workers=1)
    table = pd.read_csv(folder / "manifest.csv")
    pixels, codes = (
        torch.from_numpy(np.stack([np.asarray(Image.open(folder / path)) for path in paths]))
        for paths in (table.path, table["mask"])
    )
    images = pixels.permute(0, 3, 1, 2).float() / 255
    images = (images - images.mean((0, 2, 3), True)) / images.std((0, 2, 3), keepdim=True)
    images = images.contiguous(memory_format=torch.channels_last)
    masks = torch.stack([codes == REGION_CODES[region] for region in REGIONS], 1)
    regions = coverage_to_grid(masks.float(), GRID)
    train_rows, test_rows = (np.flatnonzero(table["split"] == split) for split in ("train", "test"))
    return tuple(  # type: ignore[return-value]
        Pictures(images[at], regions[at], table.iloc[at].reset_index(drop=True))
        for at in (train_rows, test_rows)
    )


def encoder() -> nn.Sequential:
    """Pictures of 112 pixels to 64 channels on a 14 x 14 grid."""
    return SmallCNN(num_classes=1, width=16).features


class Captioner(nn.Module):
    """Picture and the words so far meet before each word (as in m-RNN, arXiv 1412.6632)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.features = encoder()
        self.picture = nn.Linear(64, width)
        self.words = nn.Embedding(len(WORDS), width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.meet = nn.Linear(width, width)
        self.next = nn.Linear(width, len(WORDS))

    def forward(self, images: Tensor, captions: Tensor) -> Tensor:
        """Log-likelihoods ``[B, L, words]`` of each word, given the picture and those before."""
        return self.spoken(self.look(images), captions)

    def look(self, images: Tensor) -> Tensor:
        return self.picture(self.features(images).mean((2, 3)))

    def spoken(self, looks: Tensor, captions: Tensor) -> Tensor:
        before = F.pad(self.words(captions[:, :-1]), (0, 0, 1, 0))
        met = looks[:, None] + self.meet(self.lstm(before)[0])
        return self.next(met.relu()).log_softmax(-1)

    @torch.no_grad()
    def describe(self, images: Tensor) -> Tensor:
        """The likeliest word after the likeliest words, ``[B, 6]``."""
        looks = self.look(images)
        captions = torch.zeros(len(images), 6, dtype=torch.long)
        for place in range(6):
            captions[:, place] = self.spoken(looks, captions)[:, place].argmax(-1)
        return captions


class Told(nn.Module):
    """A captioner that is told its captions: a function of the pictures alone."""

    def __init__(self, captioner: Captioner, captions: Tensor) -> None:
        super().__init__()
        self.captioner = captioner
        self.captions = captions

    def forward(self, images: Tensor) -> Tensor:
        """Log-likelihoods ``[B, L]`` of the caption's words."""
        found = self.captioner(images, self.captions)
        return found.gather(-1, self.captions[..., None])[..., 0]


class Answerer(nn.Module):
    """Picture and question meet in a product (as in arXiv 1505.00468)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.features = encoder()
        self.picture = nn.Linear(64, width)
        self.words = nn.Embedding(len(ASKED), width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.gate = nn.Linear(width, width)
        self.answer = nn.Linear(width, len(ANSWERS))

    def forward(self, images: Tensor, question: str) -> Tensor:
        """Logits ``[B, answers]``."""
        return self.answered(self.look(images), question)

    def look(self, images: Tensor) -> Tensor:
        return self.picture(self.features(images).mean((2, 3)))

    def answered(self, looks: Tensor, question: str) -> Tensor:
        words = torch.tensor([[ASKED.index(word) for word in question.split()]])
        asked = self.lstm(self.words(words))[0][:, -1]
        return self.answer(looks * self.gate(asked))


class Asked(nn.Module):
    """An answerer with its question: an image classifier."""

    def __init__(self, answerer: Answerer, question: str) -> None:
        super().__init__()
        self.answerer = answerer
        self.question = question

    def forward(self, images: Tensor) -> Tensor:
        return self.answerer(images, self.question)


def trained_captioner(pictures: Pictures, epochs: int = EPOCHS) -> Captioner:
    captions = pictures.captions

    def loss(model: Captioner, images: Tensor, at: Tensor) -> Tensor:
        # Summed over a sentence's words, of which three are to be seen.
        found = model(images, captions[at])
        return 6 * F.nll_loss(found.flatten(0, 1), captions[at].flatten())

    return _trained(Captioner, loss, pictures.images, epochs)


def trained_answerer(pictures: Pictures, epochs: int = EPOCHS) -> Answerer:
    answers = {question: pictures.answers(question) for question in QUESTIONS}

    def loss(model: Answerer, images: Tensor, at: Tensor) -> Tensor:
        looks = model.look(images)
        losses = [F.cross_entropy(model.answered(looks, q), a[at]) for q, a in answers.items()]
        return torch.stack(losses).sum()

    return _trained(Answerer, loss, pictures.images, epochs)


def _trained(
    build: Callable[[], Model],
    loss: Callable[[Model, Tensor, Tensor], Tensor],
    images: Tensor,
    epochs: int,
) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build()
        optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
        steps = epochs * (len(images) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        for _ in range(epochs):
            order = torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]
            for at in order:
                batch = images[at].flip(3) if torch.rand(()) < 0.5 else images[at]
                optimiser.zero_grad()
                loss(model, batch, at).backward()
                optimiser.step()
                schedule.step()
    return model.eval()
