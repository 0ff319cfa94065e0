"""Suites: what a composition is, how one is addressed, and what is said where a name is wrong."""

from pathlib import Path

import pytest

from repmet.experiments.config.loading import load_experiment
from repmet.experiments.config.suites import experiment_name, experiments_below, experiments_in, split_address
from repmet.experiments.running.checkpoints import load_checkpoint
from repmet.experiments.running.launcher import train_command

ROOT = Path(__file__).parents[3]
SUITE = """
parts:
  short: {train_cfg: {max_epochs: 1}}
  long: {with: [short], train_cfg: {max_epochs: 9}}
  quick: {optim_wrapper: {optimizer: {lr: 0.05, momentum: 0.5}}}
experiments:
  plain: {_base_: own.yaml}
  longer: {_base_: own.yaml, with: [short, quick, long]}
  mine: {_base_: own.yaml, with: [quick, long], train_cfg: {max_epochs: 3}}
"""


@pytest.fixture
def suite(write_yaml, tmp_path) -> Path:
    write_yaml("train_cfg: {max_epochs: 5}\n")
    return write_yaml(SUITE, name="suite.yaml", base=False)


def test_addresses():
    assert split_address("a/b.yaml:c") == (Path("a/b.yaml"), "c") and split_address("a/b.yaml") == (Path("a/b.yaml"), None)
    assert split_address("C:/b.yaml") == (Path("C:/b.yaml"), None)
    assert experiment_name("a/b.yaml:c") == "c" and experiment_name(Path("a/b.yaml")) == "b"


def test_parts_stand_over_base_and_the_experiment_over_its_parts(suite):
    epochs = {name: load_experiment(f"{suite}:{name}").train_cfg.max_epochs for name in ("plain", "longer", "mine")}
    assert epochs == {"plain": 5, "longer": 9, "mine": 3}
    mine = load_experiment(f"{suite}:mine")
    assert mine.optim_wrapper.optimizer.lr == 0.05 and mine.filename == f"{suite}:mine"
    assert load_experiment(f"{suite}:mine", ["train_cfg.max_epochs=4"]).train_cfg.max_epochs == 4


def test_a_composition_is_what_the_files_would_be(suite, write_yaml):
    write_yaml("train_cfg: {max_epochs: 1}\n", name="short.yaml", base=False)
    write_yaml("_base_: short.yaml\ntrain_cfg: {max_epochs: 9}\n", name="long.yaml", base=False)
    write_yaml("optim_wrapper: {optimizer: {lr: 0.05, momentum: 0.5}}\n", name="quick.yaml", base=False)
    path = write_yaml("_base_: [own.yaml, quick.yaml, long.yaml]\ntrain_cfg: {max_epochs: 3}\n", name="m.yaml", base=False)
    assert load_experiment(path).to_dict() == load_experiment(f"{suite}:mine").to_dict()


def test_a_suite_is_inherited_from_by_address_parts_too(suite, write_yaml):
    path = write_yaml("_base_: ['suite.yaml:plain', 'suite.yaml:long']\n", name="other.yaml", base=False)
    assert load_experiment(path).train_cfg.max_epochs == 9


def test_what_a_folder_holds(suite):
    (suite.parent / "_base_").mkdir()
    (suite.parent / "_base_" / "part.yaml").write_text("train_cfg: {}\n")
    names = [experiment_name(address) for address in experiments_below(suite.parent)]
    assert names == ["own", "plain", "longer", "mine"] and len(experiments_in(suite)) == 3


@pytest.mark.parametrize(
    ("change", "address", "message"),
    [
        (("", ""), ":mien", r"suite.yaml: no experiment mien; did you mean 'mine'\?"),
        (("", ""), ":xyz", "suite.yaml: no experiment xyz; there are: plain, longer, mine"),
        (("", ""), ":long", r"suite.yaml: long is a part, not an experiment; did you mean 'longer'\?"),
        (("", ""), "", "suite.yaml: a suite; name one of its experiments, as .*suite.yaml:plain"),
        (("[quick, long]", "[quik, long]"), ":mine", r"suite.yaml:mine: no part quik; did you mean 'quick'\?"),
        (("[quick, long]", "quick"), ":mine", "suite.yaml:mine: `with` is a list of parts, got 'quick'"),
        (
            ("parts:", "part:"),
            ":plain",
            r"suite.yaml: a suite holds parts and experiments, not part; did you mean 'parts'\?",
        ),
        (("  quick:", "  mine:"), ":plain", "suite.yaml: mine: a part and an experiment of one name"),
        (("{_base_: own.yaml}", "5"), ":plain", "suite.yaml:plain: an experiment is a mapping of sections, got int"),
        (("[short], train", "[long], train"), ":mine", "suite.yaml:long: _base_ leads back to it"),
        (
            ("momentum", "momentun"),
            ":mine",
            r"yaml:quick: unknown key optim_wrapper.optimizer.momentun .*did you mean 'momentum'\?",
        ),
    ],
)
def test_what_is_wrong_is_named(suite, change, address, message):
    suite.write_text(suite.read_text().replace(*change) if change[0] else suite.read_text())
    with pytest.raises(ValueError, match=message):
        load_experiment(f"{suite}{address}")


def test_one_experiment_is_no_suite(suite):
    with pytest.raises(ValueError, match=r"own.yaml is one experiment and no suite; leave out :mine"):
        load_experiment(f"{suite.with_name('own.yaml')}:mine")


def test_an_experiment_that_moved_is_found_by_its_name():
    for old, new in (
        ("classification/protonets_1_5.yaml", "published/classification/protonets_1_5.yaml"),
        (
            "classification/comparison/flowers17_frozen_softmax.yaml",
            "classification/comparison.yaml:flowers17_frozen_softmax",
        ),
    ):
        with pytest.raises(FileNotFoundError, match=rf"no such experiment file; did you mean .*experiments/{new}\?"):
            load_experiment(ROOT / "experiments" / old)
    with pytest.raises(FileNotFoundError, match=r"no such experiment file$"):
        load_experiment(ROOT / "experiments" / "nothing_of_the_kind.yaml")


def test_the_training_command_takes_an_address_and_names_the_run_by_it(suite, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train_command("toy", "doc", argv=[f"{suite}:mine"]) == 0
    checkpoint = tmp_path / "work_dirs" / "mine" / "epoch_3.pth"
    assert f"checkpoint: {checkpoint}" in capsys.readouterr().out
    assert load_checkpoint(checkpoint)["meta"]["experiment"]["name"] == "mine"
