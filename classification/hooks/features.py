"""A frozen encoder runs over the training set once, before the first step."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from repmet.classification.protocols.embedding import unwrapped


@HOOKS.register_module()
class FeatureHook(Hook):
    """Computes the features of the training set when the training starts, whatever weights it starts from."""

    priority = "VERY_HIGH"

    def before_train(self, runner: Runner) -> None:
        method = unwrapped(runner.model)
        runner.train_dataloader.dataset.compute(method.encoder, method.data_preprocessor)
