import pytest
import torch
from torch import nn

from repmet.classification.inputs.affine import AffineJitter
from repmet.classification.inputs.dataset import ImageSet
from repmet.classification.methods import ProtoNet
from repmet.classification.protocols.embedding import VIEW_SEED, embed_split, embed_views
from repmet.data.readers.labelled_images import LabelledImages


def images(n: int) -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (n, 1, 16, 16), dtype=torch.uint8, generator=generator)
    return ImageSet(LabelledImages(torch.arange(n) % 3, ("a", "b", "c"), pixels), transform=[{"type": "ToFloat"}])


def method(**encoder) -> ProtoNet:
    return ProtoNet({"type": "Conv4", "width": 4, "image_size": 16, **encoder}, way=2, shot=1)


def test_every_image_once_in_order_whatever_the_batch_size():
    net, dataset = method(), images(11)
    whole = embed_split(net, dataset, batch_size=100)
    assert whole.shape == (11, 4) and not whole.requires_grad
    net.eval()
    one_by_one = torch.cat([net(dataset[i]["inputs"][None]) for i in range(11)])
    torch.testing.assert_close(whole, one_by_one)
    torch.testing.assert_close(embed_split(net, dataset, batch_size=4), whole)


def test_mode_and_statistics_are_as_before():
    for net in (method(), method(frozen=True), method().eval()):
        before = [m.training for m in net.modules()]
        statistics = [b.clone() for b in net.buffers()]
        embed_split(net, images(5))
        assert [m.training for m in net.modules()] == before
        assert all(torch.equal(a, b) for a, b in zip(statistics, net.buffers(), strict=True))


def test_views_are_the_image_and_jittered_ones_and_their_embeddings_are_averaged():
    net, dataset = method().eval(), images(6)
    views = {"number": 3, "degrees": 20, "translate": 0.1}
    state = torch.get_rng_state()
    mean = embed_views(net, dataset, views)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(embed_views(net, dataset, views), mean)
    pixels = dataset.images.float() / 255
    jitter = AffineJitter(degrees=20, translate=0.1)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(VIEW_SEED)
        expected = torch.stack([net(pixels), net(jitter(pixels)), net(jitter(pixels))]).mean(0)
    torch.testing.assert_close(mean, expected)
    assert torch.equal(embed_views(net, dataset, None), embed_split(net, dataset))
    with pytest.raises(ValueError, match="two views or more, of images and not of kept features, not 1"):
        embed_views(net, dataset, {"number": 1, "degrees": 3})


def test_the_mode_comes_back_after_an_error():
    net = method().train()
    net.encoder = nn.Linear(3, 2)
    with pytest.raises(RuntimeError):
        embed_split(net, images(5))
    assert net.training and net.encoder.training
