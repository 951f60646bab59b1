"""Masked autoencoding: what is seen, what is guessed, and what the encoder makes of a whole picture."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import models

from modelmill.models.architecture import ImageNetwork
from modelmill.models.image import ImageModel
from modelmill.models.image_config import ImageConfig
from modelmill.pictures.shape import PixelShape
from modelmill.training.augment_settings import Augment
from modelmill.training.data import Batch
from modelmill.training.masked_pictures import MaskedAutoencoder, cut, filling_in, joined, masking, reconstructed
from modelmill.training.pretext_settings import PictureDecoder
from modelmill.training.unlabelled import UnlabelledBatches


def encoder(labels: tuple[str, ...] = (), pool: str = "class") -> ImageModel:
    torch.manual_seed(0)
    network = ImageNetwork.model_validate(
        {"family": "vit", "layers": 2, "width": 24, "heads": 2, "patch": 4, "pool": pool}
    )
    pixels = PixelShape(size=16, channels=3, resize="crop", gray=False)
    config = ImageConfig(network=network, pixels=pixels, mean=(0.5,) * 3, deviation=(0.25,) * 3, labels=labels)
    return ImageModel(config)


def autoencoder() -> MaskedAutoencoder:
    return MaskedAutoencoder(encoder(), PictureDecoder(layers=1, width=16, heads=2))


def batch(count: int = 5, seed: int = 0) -> Batch:
    chance = np.random.default_rng(seed)
    return masking(16, None)(chance.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8), chance)


def test_the_network_computes_what_torchvisions_does() -> None:
    ours = encoder(("a", "b")).network.eval()
    theirs = models.VisionTransformer(
        image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=96, num_classes=2
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(ours(pixels), theirs(pixels))
    means = encoder(("a", "b"), "mean").network.eval()
    means.load_state_dict(ours.state_dict())
    assert not torch.allclose(means(pixels), ours(pixels))


def test_with_every_patch_seen_the_autoencoders_encoder_gives_the_classifiers_features() -> None:
    model = encoder(pool="mean").eval()
    vit = model.network
    pixels = model.normalised(torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8))
    order = torch.stack([torch.randperm(16) for _ in range(3)])
    seen = vit.encoded(vit.patches(pixels), order)  # type: ignore[operator]
    torch.testing.assert_close(seen[:, 1:].mean(dim=1), vit(pixels), atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(patch=st.sampled_from([1, 2, 4, 8]), count=st.integers(1, 4), channels=st.sampled_from([1, 3]))
def test_patches_put_together_again_are_the_picture(patch: int, count: int, channels: int) -> None:
    side = patch * count
    pixels = torch.arange(2 * side * side * channels).view(2, side, side, channels)
    patches = cut(pixels, patch)
    assert torch.equal(patches[0, -1].view(patch, patch, channels), pixels[0, -patch:, -patch:])
    assert torch.equal(joined(patches, patch), pixels)


def test_what_is_hidden_is_never_seen_and_each_guess_stands_at_its_own_place() -> None:
    model, asked = autoencoder().eval(), batch()
    pixels, order = asked.tensors["pixels"], asked.tensors["order"]
    changed = pixels.clone()
    for row in range(len(pixels)):
        for hidden in order[row, 4:].tolist():
            down, right = divmod(hidden, 4)
            changed[row, 4 * down : 4 * down + 4, 4 * right : 4 * right + 4] = 7
    assert torch.equal(model(pixels, order, 4), model(changed, order, 4))
    # The order of what is hidden says nothing; which is seen does.
    turned = torch.cat([order[:, :4], order[:, 4:].flip(1)], dim=1)
    torch.testing.assert_close(model(pixels, turned, 4), model(pixels, order, 4))
    assert not torch.allclose(model(pixels, order.flip(1), 4), model(pixels, order, 4))


@pytest.mark.parametrize("normalise", [False, True])
def test_a_true_guess_costs_nothing_and_what_is_seen_does_not_count(normalise: bool) -> None:
    asked = batch()
    own = autoencoder()

    class Guesses(torch.nn.Module):
        def __init__(self, wrong: slice) -> None:
            super().__init__()
            self.wrong = wrong

        def forward(self, pixels: torch.Tensor, order: torch.Tensor, _seen: int) -> torch.Tensor:
            answer = own.wanted(pixels)
            if normalise:
                deviation = (answer.var(dim=2, keepdim=True) + 1e-6).sqrt()
                answer = (answer - answer.mean(dim=2, keepdim=True)) / deviation
            answer = answer.clone()
            for row, places in enumerate(order):
                answer[row, places[self.wrong]] += 2
            return answer

        def wanted(self, pixels: torch.Tensor) -> torch.Tensor:
            return own.wanted(pixels)

    objective = filling_in(4, normalise=normalise)
    assert float(objective(Guesses(slice(0, 4)), asked).loss) == pytest.approx(0, abs=1e-6)
    missed = objective(Guesses(slice(4, 6)), asked)
    assert missed.count == 5 * 12
    assert float(missed.loss) == pytest.approx(5 * 2 * 4.0, rel=1e-4)


def test_the_drawing_shows_pictures_as_they_are_where_they_are_seen() -> None:
    model, asked = autoencoder(), batch(3)
    drawn = reconstructed(model, asked, 4, normalise=True)
    assert drawn.shape == (48, 48, 3)
    assert np.array_equal(drawn[:16, :16], asked.tensors["pixels"][0].numpy())
    down, right = divmod(int(asked.tensors["order"][0, 0]), 4)
    seen = np.s_[4 * down : 4 * down + 4, 4 * right : 4 * right + 4]
    for strip in (drawn[16:32], drawn[32:]):
        assert np.array_equal(strip[seen], drawn[:16][seen])
    assert (drawn[16:32, :16] == 128).all(axis=2).sum() >= 12 * 16
    assert model.training


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(2, 40), batch_rows=st.integers(1, 12), seed=st.integers(0, 5))
def test_every_picture_comes_once_an_epoch_and_every_order_holds_every_patch(
    rows: int, batch_rows: int, seed: int
) -> None:
    pixels = np.arange(rows, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), dtype=np.uint8)
    make = masking(4, Augment(crop=0, flip=True))
    made = UnlabelledBatches(pixels_NHWC=pixels, batch_rows=batch_rows, seed=seed, make=make)
    steps = made.order.steps_per_epoch
    batches = [made.batch(steps + step) for step in range(steps)]
    assert sorted(int(row[0, 0, 0]) for each in batches for row in each.tensors["pixels"]) == list(range(rows))
    for each in batches:
        assert torch.equal(each.tensors["order"].sort(dim=1).values, torch.arange(4).expand(each.rows, 4))
    again = UnlabelledBatches(pixels_NHWC=pixels, batch_rows=batch_rows, seed=seed, make=make).batch(steps)
    assert all(torch.equal(again.tensors[name], batches[0].tensors[name]) for name in again.tensors)
