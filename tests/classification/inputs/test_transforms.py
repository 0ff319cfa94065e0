"""Batch transforms by name: values, a draw for each image, repeatable draws, and names that are not known."""

import pytest
import torch
from torchvision.transforms import v2

from repmet.classification.inputs.transforms import BATCH_TRANSFORMS, DETERMINISTIC, RANDOM, build_transform

IMAGES = torch.randint(0, 128, (16, 3, 40, 44), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_an_empty_list_changes_nothing():
    assert build_transform([])(IMAGES) is IMAGES


def test_values():
    floats = build_transform([{"type": "ToFloat"}])(IMAGES)
    assert floats.dtype == torch.float32 and torch.equal(floats, IMAGES.double().div(255).float())
    assert torch.equal(build_transform([{"type": "InkIsOne"}])(IMAGES), 1 - floats)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.1, 0.3]
    normalised = build_transform([{"type": "ToFloat"}, {"type": "Normalize", "mean": mean, "std": std}])(IMAGES)
    expected = (floats - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(normalised, expected)
    small = build_transform([{"type": "Resize", "size": [6, 5]}])(IMAGES)
    assert torch.equal(small, torch.stack([v2.functional.resize(image, [6, 5], antialias=True) for image in IMAGES]))


def test_a_flip_is_drawn_for_each_image():
    flip = build_transform([{"type": "RandomHorizontalFlip"}])
    many = IMAGES[:1].expand(1000, -1, -1, -1)
    flipped = flip(many)
    kept, turned = ((flipped == image).flatten(1).all(1) for image in (many, many.flip(-1)))
    assert (kept ^ turned).all() and abs(int(turned.sum()) - 500) < 5 * 250**0.5
    assert torch.equal(build_transform([{"type": "RandomHorizontalFlip", "p": 1.0}])(IMAGES), IMAGES.flip(-1))
    assert torch.equal(build_transform([{"type": "RandomHorizontalFlip", "p": 0.0}])(IMAGES), IMAGES)


def test_a_crop_is_a_piece_of_each_padded_image_at_a_place_of_its_own():
    crop = build_transform([{"type": "RandomCrop", "size": [6, 9], "padding": 2}])
    torch.manual_seed(0)
    pieces = crop(IMAGES)
    padded = torch.nn.functional.pad(IMAGES, [2] * 4)
    places = padded.unfold(2, 6, 1).unfold(3, 9, 1)  # (B, C, rows, columns, 6, 9)
    places = places.permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)  # (B, places, C * 54)
    assert (places == pieces.flatten(1)[:, None]).all(2).any(1).all() and pieces.dtype == torch.uint8
    same = crop(IMAGES[:1].expand(500, -1, -1, -1)).flatten(1)
    assert len(same.unique(dim=0)) > 250  # of 39 x 40 places
    whole = build_transform([{"type": "RandomCrop", "size": [40, 44]}])
    assert torch.equal(whole(IMAGES), IMAGES)
    with pytest.raises(ValueError, match=r"images of \(40, 44\) hold no piece of \(41, 41\)"):
        build_transform([{"type": "RandomCrop", "size": 41}])(IMAGES)


ARGUMENTS = {
    "ElasticTransform": {"alpha": 200.0, "sigma": 2.0},
    "GaussianBlur": {"kernel_size": 3, "sigma": [0.5, 3.0]},
    "RandomAdjustSharpness": {"sharpness_factor": 3},
    "RandomAffine": {"degrees": 40},
    "RandomPosterize": {"bits": 2},
    "RandomResizedCrop": {"size": 8},
    "RandomRotation": {"degrees": 60},
    "RandomSolarize": {"threshold": 100},
    "ColorJitter": {"brightness": 0.5},
    "GaussianNoise": {"sigma": 0.2},
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_transforms_differ_between_images_and_repeat_with_the_seed(name):
    steps = [{"type": "ToFloat"}] if name in ("GaussianNoise",) else []
    transform = build_transform([*steps, {"type": name, **ARGUMENTS.get(name, {})}])
    same = IMAGES[:1].expand(24, -1, -1, -1)
    torch.manual_seed(4)
    first = transform(same)
    assert len(first.flatten(1).unique(dim=0)) > 1
    torch.manual_seed(4)
    assert torch.equal(transform(same), first)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_transforms_of_whole_batches_draw_nothing(name):
    arguments = {
        "CenterCrop": {"size": 6},
        "Normalize": {"mean": [0.5] * 3, "std": [0.5] * 3},
        "Pad": {"padding": 2},
        "Resize": {"size": 6},
    }
    transform = build_transform([{"type": name, **arguments.get(name, {})}])
    images = IMAGES.float() if name == "Normalize" else IMAGES
    state = torch.get_rng_state()
    transformed = transform(images)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(transformed, torch.stack([transform(image[None])[0] for image in images]))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"type": "RandomHorizontalFlop"},
            "no batch transform of type 'RandomHorizontalFlop'; did you mean 'RandomHorizontalFlip'",
        ),
        ({"type": "zzz"}, "no batch transform of type 'zzz'; there are: AffineJitter, AugMix"),
        ({"size": 3}, "no batch transform of type None"),
        ({"type": "Resize", "sise": 3}, "transform Resize: .*sise"),
        ({"type": "RandomHorizontalFlip", "p": 3}, "p is a probability, got 3"),
        ({"type": "RandomCrop", "size": 8, "padding": -1}, "padding -1 at least 0"),
        ({"type": "RandomResizedCrop", "size": [1, 2, 3]}, "transform RandomResizedCrop: "),
    ],
)
def test_a_step_that_is_not_known(step, message):
    with pytest.raises(ValueError, match=message):
        build_transform([step])


def test_the_names_do_not_enter_the_registry_that_other_packages_use():
    from mmengine.registry import TRANSFORMS

    assert "InkIsOne" not in TRANSFORMS.module_dict and TRANSFORMS.children["classification"] is BATCH_TRANSFORMS
