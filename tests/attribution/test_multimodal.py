"""Models of pictures and words, explained word by word and answer by answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from audit.attention import measure
from audit.attribution import explain, find_layer
from audit.data.scenes.tools import TOOLS
from tests.attribution import multimodal, nets
from tests.attribution.multimodal import ANSWERS, HAIR, NOUNS, REGIONS, TOOL, Asked, Told
from tests.oracles import attribution as oracle

EXACT = {"rtol": 0, "atol": 1e-12}
JOB = 0
WORDS = {"job": JOB, "tool": TOOL, "hair": HAIR}
# Of 240 pictures; guessing gives 1/2, 1/4 of a job's tools, 1/2.
GOOD = {"job": 0.8, "tool": 0.5, "hair": 0.9}


@dataclass(frozen=True)
class Taught:
    captioner: multimodal.Captioner
    answerer: multimodal.Answerer
    held_out: multimodal.Pictures

    @property
    def other_tools(self) -> list[str]:
        """For each picture another tool of the same job, so that the words before it fit."""
        nouns = {job: [NOUNS[tool] for tool in tools] for job, tools in TOOLS.items()}
        rows = self.held_out.truths.itertuples()
        return [nouns[row.job][(nouns[row.job].index(row.tool) + 1) % 4] for row in rows]

    def of_words(self, captions: Tensor) -> dict[str, Tensor]:
        """Grad-CAM of the log-likelihoods of three words, each given those before it."""
        places = list(WORDS.values())
        model = Told(self.captioner, captions)
        maps = explain(model, self.held_out.images, lambda y: y[:, places], method="grad-cam")
        return dict(zip(WORDS, maps.unbind(1), strict=True))

    def of_answers(self, topic: str, answers: Tensor | None = None) -> Tensor:
        """Grad-CAM of the logit of an answer, by default the true one."""
        question = f"which {topic}"
        answers = self.held_out.answers(question) if answers is None else answers
        model = Asked(self.answerer, question)
        return explain(model, self.held_out.images, answers, method="grad-cam")

    def rho(self, maps: Tensor, region: str, *, of_another: bool = False) -> Tensor:
        """Inside/outside ratio; NaN where the map is dead.

        ``of_another``: of the region where it is in another picture, of the same job, gender and
        skin (which take turns by twenty), so that what lies in the middle anyway is no evidence.
        """
        regions = self.held_out.regions[:, [REGIONS.index(region)]]
        return measure(maps, regions.roll(20, 0) if of_another else regions).rho[:, 0]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    folder = tmp_path_factory.mktemp("multimodal") / "scenes"
    pictures, held_out = multimodal.scenes(folder, train=1200, audit=240)
    captioner = multimodal.trained_captioner(pictures)
    return Taught(captioner, multimodal.trained_answerer(pictures), held_out)


def interval(values: Tensor) -> tuple[float, float]:
    """95 % of the means of 2000 draws of the pictures; at most one in twenty may be missing."""
    known = values[values.isfinite()].double().numpy()
    assert len(known) >= 0.95 * len(values)
    draws = np.random.default_rng(0).integers(0, len(known), (2000, len(known)))
    low, high = np.quantile(known[draws].mean(1), (0.025, 0.975))
    return float(low), float(high)


def correlation(some: Tensor, others: Tensor) -> Tensor:
    """Pearson's, of the raw maps, for each picture."""
    a, b = (maps.flatten(1) - maps.mean((1, 2))[:, None] for maps in (some, others))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def assert_on(taught: Taught, maps: Tensor, region: str) -> None:
    """A mean ratio can be due to few pictures, so its logarithm must do as well."""
    rho = taught.rho(maps, region)
    assert interval(rho)[0] > 1.5
    assert interval(rho.log())[0] > 0
    assert interval((rho / taught.rho(maps, region, of_another=True)).log())[0] > 0


@pytest.mark.slow
def test_captions_are_good_enough_to_be_explained(taught: Taught) -> None:
    said = taught.captioner.describe(taught.held_out.images)
    right = (said == taught.held_out.captions).float().mean(0)
    assert all(right[place] >= GOOD[word] for word, place in WORDS.items()), right
    assert (right[[1, 3, 5]] == 1).all()  # with, and, hair


@pytest.mark.slow
@pytest.mark.parametrize("topic", WORDS)
def test_answers_are_good_enough_to_be_explained(taught: Taught, topic: str) -> None:
    question = f"which {topic}"
    with torch.no_grad():
        given = taught.answerer(taught.held_out.images, question).argmax(1)
    right = (given == taught.held_out.answers(question)).float().mean()
    assert right >= GOOD[topic], right


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["true", "said"])
@pytest.mark.parametrize(("word", "region"), [("tool", "tools"), ("hair", "hair")])
def test_a_word_lies_on_what_it_names(taught: Taught, word: str, region: str, whose: str) -> None:
    said = taught.captioner.describe(taught.held_out.images)
    maps = taught.of_words(said if whose == "said" else taught.held_out.captions)[word]
    assert_on(taught, maps, region)


@pytest.mark.slow
@pytest.mark.parametrize(("topic", "region"), [("tool", "tools"), ("hair", "hair")])
def test_an_answer_lies_on_what_it_names(taught: Taught, topic: str, region: str) -> None:
    maps = taught.of_answers(topic)
    assert_on(taught, maps, region)


@pytest.mark.slow
def test_another_word_in_the_same_place_has_another_map(taught: Taught) -> None:
    """The likelihoods of one place sum to 1, so what speaks for one word speaks against another."""
    captions = taught.held_out.captions
    others = captions.clone()
    others[:, TOOL] = torch.tensor([multimodal.WORDS.index(tool) for tool in taught.other_tools])
    true, other = taught.of_words(captions), taught.of_words(others)
    assert interval(correlation(true["tool"], other["tool"]))[1] < 0
    assert_close(true["job"], other["job"])  # said before it


@pytest.mark.slow
def test_another_answer_to_the_same_question_has_another_map(taught: Taught) -> None:
    """Logits are free to rise together, and the tools of a job lie in the same hands."""
    others = torch.tensor([ANSWERS.index(tool) for tool in taught.other_tools])
    alike = correlation(taught.of_answers("tool"), taught.of_answers("tool", others))
    assert interval(alike)[1] < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["words", "answers"])
def test_the_map_goes_where_the_question_asks(taught: Taught, kind: str) -> None:
    if kind == "words":
        words = taught.of_words(taught.held_out.captions)
        tool, hair = words["tool"], words["hair"]
    else:
        tool, hair = taught.of_answers("tool"), taught.of_answers("hair")
    assert interval(correlation(tool, hair))[1] < 0.7
    for region, asked, not_asked in (("tools", tool, hair), ("hair", hair, tool)):
        gain = taught.rho(asked, region) / taught.rho(not_asked, region)
        assert interval(gain.log())[0] > 0, region


def test_words_are_explained_on_the_pictures_grid() -> None:
    """Six words have the shape of 2 x 2 patches and two more tokens."""
    with nets.fixed_seed():
        captioner = multimodal.Captioner().double().eval()
    captions = torch.stack([multimodal.caption("nurse", "syringe", "long")] * 2)
    images = nets.pictures(2, (112, 112), dtype=torch.float64)
    model = Told(captioner, captions)
    found = explain(model, images, lambda words: words[:, [TOOL, HAIR]], method="grad-cam")
    assert found.shape == (2, 2, *multimodal.GRID)
    assert_close(
        found[0], by_jacobian(Told(captioner, captions[:1]), FEATURES, images[:1]), **EXACT
    )


FEATURES = "captioner.features"


def by_jacobian(model: nn.Module, layer: str, image: Tensor) -> Tensor:
    activations = oracle.activations_of(model, layer, image)
    gradients = oracle.jacobian(model, layer, image)[[TOOL, HAIR]]
    return torch.stack([oracle.grad_cam(activations, gradient) for gradient in gradients])


SMALL = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
SIGHT = {"image_size": 32, "patch_size": 8, **SMALL}
TEXTS = torch.tensor([[0, 5, 6, 2], [0, 7, 8, 2], [0, 9, 5, 2]])


@pytest.fixture(scope="module")
def hugging_face() -> Any:
    return pytest.importorskip("transformers", reason="transformers comes with the extra 'test'")


class Compared(nn.Module):
    """CLIP with its texts: a function of the pictures alone."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, images: Tensor) -> Any:
        return self.clip(input_ids=TEXTS, pixel_values=images)


def similarities(result: Any) -> Tensor:
    return result.logits_per_image


@pytest.fixture
def clip(hugging_face: Any) -> nn.Module:
    tokens = {"vocab_size": 20, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    config = hugging_face.CLIPConfig(
        text_config={**SMALL, **tokens, "max_position_embeddings": 8},
        vision_config=SIGHT,
        projection_dim=12,
    )
    with nets.fixed_seed():
        return Compared(hugging_face.CLIPModel(config)).double().eval()


def expected(model: nn.Module, layer: str, images: Tensor, output: Any) -> Tensor:
    """Equations 1 and 2 for every score, by Jacobians, of a class token and 4 x 4 patches."""
    maps = []
    for image in images:
        activations = oracle.activations_of(model, layer, image[None])
        head = nets.Wrapped(model, output)
        gradients = oracle.jacobian(head, f"net.{layer}", image[None])
        grid, *slopes = (
            tokens[:, 1:].mT.unflatten(2, (4, 4)) for tokens in (activations, *gradients)
        )
        maps.append(torch.stack([oracle.grad_cam(grid, slope) for slope in slopes]))
    return torch.stack(maps)


@pytest.mark.parametrize(
    "layer", ["embeddings", "encoder.layers.0", "encoder.layers.1.self_attn.v_proj", None]
)
def test_similarity_of_picture_and_text(clip: nn.Module, layer: str | None) -> None:
    images = nets.pictures(2, (32, 32), dtype=torch.float64)
    if layer is None:
        layer = find_layer(clip, images, output=similarities)
        assert layer == "clip.vision_model.encoder.layers.1.layer_norm1"
    else:
        layer = f"clip.vision_model.{layer}"
    found = explain(clip, images, similarities, method="grad-cam", layer=layer)
    assert found.shape == (2, len(TEXTS), 4, 4) and found.isfinite().all()
    assert (found.flatten(2).norm(dim=2) > 1e-6).all()
    assert_close(found, expected(clip, layer, images, similarities), **EXACT)
    one = explain(clip, images, lambda y: similarities(y)[:, 1], method="grad-cam", layer=layer)
    assert_close(one, found[:, 1], **EXACT)


def test_attention_that_returns_a_tuple(clip: nn.Module) -> None:
    images = nets.pictures(2, (32, 32), dtype=torch.float64)
    attention = "clip.vision_model.encoder.layers.0.self_attn"
    found, inside = (
        explain(clip, images, similarities, method="grad-cam", layer=layer)
        for layer in (attention, f"{attention}.out_proj")
    )
    assert torch.equal(found, inside) and found.abs().sum() > 0


class Captioned(nn.Module):
    """A transformer that tells pictures from their patches, with its words so far."""

    def __init__(self, teller: nn.Module) -> None:
        super().__init__()
        self.teller = teller

    def forward(self, images: Tensor) -> Any:
        return self.teller(
            pixel_values=images, decoder_input_ids=torch.arange(6).expand(len(images), -1)
        )


def test_word_of_a_hugging_face_captioner(hugging_face: Any) -> None:
    sizes = {"n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}
    words = {"vocab_size": 30, "bos_token_id": 0, "eos_token_id": 1}
    config = hugging_face.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        hugging_face.ViTConfig(**SIGHT), hugging_face.GPT2Config(**sizes, **words)
    )
    with nets.fixed_seed():
        model = Captioned(hugging_face.VisionEncoderDecoderModel(config)).double().eval()
    images = nets.pictures(2, (32, 32), dtype=torch.float64)

    def likelihood(result: Any) -> Tensor:
        return result.logits.log_softmax(-1)[:, 3, [7, 9]]

    layer = find_layer(model, images, output=likelihood)
    assert layer == "teller.encoder.layernorm"  # which the words of both layers look at
    found = explain(model, images, likelihood, method="grad-cam")
    assert found.shape == (2, 2, 4, 4) and (found.flatten(2).norm(dim=2) > 1e-6).all()
    assert_close(found, expected(model, layer, images, likelihood), **EXACT)


def test_class_ids_of_a_hugging_face_classifier(hugging_face: Any) -> None:
    with nets.fixed_seed():
        config = hugging_face.ViTConfig(num_labels=5, **SIGHT)
        model = hugging_face.ViTForImageClassification(config).double().eval()
    images = nets.pictures(3, (32, 32), dtype=torch.float64)

    def logits(result: Any) -> Tensor:
        return result.logits

    layer = find_layer(model, images, output=logits)
    targets = torch.tensor([3, 0, 1])
    found = explain(model, images, targets, method="grad-cam", output=logits)
    every = expected(model, layer, images, logits)
    assert_close(found, every[torch.arange(3), targets], **EXACT)
    assert (found != 0).any((1, 2)).all()
