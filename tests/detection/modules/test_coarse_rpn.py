import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from repmet.detection.modules import CoarseRPNHead

from mmdet.models.dense_heads import RPNHead  # isort: skip

ANCHORS = {"type": "AnchorGenerator", "scales": [3], "ratios": [1.0], "strides": [8, 16]}
ASSIGN = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.7, "neg_iou_thr": 0.3, "min_pos_iou": 0.3}
SAMPLE = {"type": "RandomSampler", "num": 64, "pos_fraction": 0.5, "add_gt_as_proposals": False}
TRAIN = ConfigDict(assigner=ASSIGN, sampler=SAMPLE, allowed_border=-1, pos_weight=-1, debug=False)
PROPOSALS = ConfigDict(nms_pre=50, max_per_img=10, nms={"type": "nms", "iou_threshold": 0.7}, min_bbox_size=0)
META = [{"img_shape": (64, 96), "pad_shape": (64, 96)}]


def heads() -> tuple[CoarseRPNHead, RPNHead]:
    settings = {"in_channels": 4, "feat_channels": 6, "anchor_generator": ANCHORS, "train_cfg": TRAIN, "test_cfg": PROPOSALS}
    coarse, plain = CoarseRPNHead(**settings), RPNHead(**settings)
    plain.load_state_dict(coarse.state_dict())
    return coarse, plain


def pyramid() -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(1, 4, 64 // stride, 96 // stride) for stride in (4, 8, 16))


def test_it_is_the_proposal_network_of_the_other_levels():
    coarse, plain = heads()
    levels = pyramid()
    for ours, theirs in zip(coarse(levels), plain(levels[1:]), strict=True):
        assert len(ours) == 2
        torch.testing.assert_close(ours, theirs)


def test_it_learns_and_proposes():
    coarse, plain = heads()
    levels = pyramid()
    objects = [InstanceData(bboxes=torch.tensor([[8.0, 8.0, 34.0, 30.0]]), labels=torch.tensor([0]))]
    losses = []
    for head, seen in ((coarse, levels), (plain, levels[1:])):
        torch.manual_seed(0)  # of the sampling
        losses.append(head.loss_by_feat(*head(seen), objects, META))
    for name, values in losses[0].items():
        torch.testing.assert_close(values, losses[1][name])
    proposals = coarse.predict_by_feat(*coarse(levels), batch_img_metas=META, rescale=False)[0]
    assert 1 <= len(proposals) <= 10 and proposals.bboxes.shape[1] == 4
