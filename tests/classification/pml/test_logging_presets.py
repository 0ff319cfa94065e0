"""The package's logging presets over our networks: records, the best model, and a training that stops where it stalls."""

import record_keeper
import torch
from pytorch_metric_learning import testers, trainers
from pytorch_metric_learning.utils import common_functions as c_f
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.logging_presets import HookContainer

from repmet.classification.pml.losses import RepMetLoss
from repmet.classification.pml.neighbours import Neighbours, clusters
from tests.classification.pml.test_package_tools import C, D, images, network, sgd


def test_records_best_models_and_early_stopping(tmp_path):
    trunk, loss, dataset = network(), RepMetLoss(C, D, num_modes=2), images()
    still = torch.optim.SGD(trunk.parameters(), lr=0.0)  # the accuracy cannot improve
    keeper = record_keeper.RecordKeeper(
        record_writer=record_keeper.RecordWriter(str(tmp_path / "records")),
        attributes_to_search_for=c_f.list_of_recordable_attributes_list_names(),
    )
    hooks = HookContainer(keeper, primary_metric="mean_average_precision_at_r", log_freq=1)
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"),
        knn_func=Neighbours(),
        kmeans_func=clusters,
        device=torch.device("cpu"),
    )
    tester = testers.GlobalEmbeddingSpaceTester(
        end_of_testing_hook=hooks.end_of_testing_hook,
        accuracy_calculator=calculator,
        dataloader_num_workers=0,
        data_device="cpu",
        normalize_embeddings=False,
    )
    trainer = trainers.MetricLossOnly(
        models={"trunk": trunk},
        optimizers={"trunk_optimizer": still, "metric_loss_optimizer": sgd(loss)},
        batch_size=10,
        loss_funcs={"metric_loss": loss},
        dataset=dataset,
        mining_funcs={},
        iterations_per_epoch=1,
        data_device="cpu",
        dataloader_num_workers=0,
        end_of_iteration_hook=hooks.end_of_iteration_hook,
        end_of_epoch_hook=hooks.end_of_epoch_hook(tester, {"val": dataset}, str(tmp_path / "models"), patience=1),
    )
    trainer.train(num_epochs=8)
    assert trainer.epoch < 8
    history = hooks.get_accuracy_history(tester, "val")
    assert len(set(history["mean_average_precision_at_r_level0"])) == 1
    best = next((tmp_path / "models").glob("trunk_best*.pth"))
    state = torch.load(best, weights_only=True)
    assert all(torch.equal(state[key], value) for key, value in trunk.state_dict().items())
    assert len(hooks.get_loss_history()["metric_loss"]) >= 2
