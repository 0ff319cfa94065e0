import pytest
import torch

from repmet.classification.methods import ProtoNet
from repmet.classification.methods.prototypical import episode_loss


def method(way: int, shot: int, **kwargs) -> ProtoNet:
    return ProtoNet({"type": "Conv4", "width": 4, "image_size": 16}, way=way, shot=shot, **kwargs)


def test_loss_of_a_batch_against_a_loop():
    net = method(3, 2)
    embeddings = torch.randn(3 * 2 + 3 * 4, 5, dtype=torch.float64)
    outputs = net.loss(embeddings, None, None)
    support, query = embeddings[:6], embeddings[6:]
    total, right = 0.0, 0
    for i, q in enumerate(query):
        d2 = torch.stack([(q - support[2 * k : 2 * k + 2].mean(0)).square().sum() for k in range(3)])
        total += -torch.log_softmax(-d2, 0)[i // 4]
        right += int(d2.argmin() == i // 4)
    torch.testing.assert_close(outputs["loss"], total / 12)
    assert outputs["accuracy"].item() == pytest.approx(right / 12)


def test_one_query_a_class_counts_like_the_same_query_twice():
    support, query = torch.randn(4, 3), torch.randn(4, 3)
    once = episode_loss(support, query, 4, "squared_euclidean")
    twice = episode_loss(support, query.repeat_interleave(2, 0), 4, "squared_euclidean")
    torch.testing.assert_close(once, twice)


def test_it_takes_way_and_shot_from_its_batches():
    model = {"type": "ProtoNet"}
    sampler = {"type": "EpisodeBatchSampler", "way": 7, "shot": 2, "query": 3}
    ProtoNet.size(model, torch.zeros(3), ("a",), sampler)
    assert model == {"type": "ProtoNet", "way": 7, "shot": 2}
    with pytest.raises(ValueError, match="learns by episodes"):
        ProtoNet.size(model, torch.zeros(3), ("a",), {"type": "ClassBatchSampler"})


def test_it_has_no_classes_of_its_own():
    with pytest.raises(ValueError, match="by given examples"):
        method(2, 1)(torch.zeros(2, 1, 16, 16), mode="predict")
