"""The doctor on this machine, and on machines that lack something."""

import types

import pytest
import torch
import torchvision

from repmet.experiments import doctor


def findings(check) -> dict:
    return {finding.what: finding for finding in check()}


def test_runs_here(start):
    process = start("-m", "experiments.doctor")
    output, _ = process.communicate(timeout=300)
    assert "Traceback" not in output
    lines = output.strip().split("\n")
    for name in ("Python", "torch", "torchvision", "numpy", "OpenCV", "mmengine", "mmcv", "mmdet", "C++ compiler"):
        assert any(name in line.split("  ")[0] or line[6:].startswith(name) for line in lines), name
    assert process.returncode == int(any(line.startswith("FAIL") for line in lines))


def test_every_failure_says_how_to_repair_it(monkeypatch, capsys):
    def broken(name, repair=doctor.REPAIR_TORCH):
        return doctor.Finding("FAIL", name, "cannot be imported: broken", repair)

    monkeypatch.setattr(doctor, "_import", broken)
    monkeypatch.setattr(doctor, "_installed", lambda distribution: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda *args, **kwargs: None)
    monkeypatch.delenv("CXX", raising=False)
    assert doctor.main([]) == 1
    lines = capsys.readouterr().out.split("\n")
    bad = [i for i, line in enumerate(lines) if line.startswith(("FAIL", "warn"))]
    assert len(bad) >= 6
    assert all(lines[i + 1].strip().startswith("-> ") for i in bad)


def test_opencv_that_needs_libgl(monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda name: "4.12" if name == "opencv-python" else None)
    finding = findings(doctor.check_opencv)["OpenCV"]
    assert finding.level == "FAIL"
    assert "pip uninstall -y opencv-python &&" in finding.repair


def test_torchvision_of_another_torch(monkeypatch):
    modules = {"torch": types.SimpleNamespace(__version__="2.12.0", get_num_threads=lambda: 1), "torchvision": torchvision}
    monkeypatch.setattr(doctor, "_import", lambda name, repair="": modules[name])
    monkeypatch.setattr(torchvision, "__version__", "0.26.0+cpu")
    finding = findings(doctor.check_torch)["torchvision"]
    assert finding.level == "FAIL"
    assert "belongs to torch 2.11" in finding.said
    assert '"torchvision==0.27.*"' in finding.repair


def test_cuda_toolkit_of_another_major_version(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(doctor.shutil, "which", lambda *args, **kwargs: "/opt/cuda/bin/nvcc")
    monkeypatch.setattr(doctor, "_output", lambda command: "Cuda compilation tools, release 11.8, V11.8.89")
    finding = findings(doctor.check_cuda)["CUDA toolkit"]
    assert finding.level == "FAIL"
    assert finding.said.startswith("11.8, but torch is built with 13.0")


def layers(**changed) -> types.SimpleNamespace:
    """Stands in for the compiled ops: torchvision's, which take the same arguments."""
    ops = torchvision.ops
    ops_of_csrc = {"backend": lambda device: "csrc", "roi_align": ops.roi_align, "roi_pool": ops.roi_pool, "nms": ops.nms}
    return types.SimpleNamespace(**(ops_of_csrc | changed))


def test_ops_are_run_and_timed(monkeypatch):
    monkeypatch.setattr(doctor, "_import", lambda name, repair="": layers())
    by_op = findings(doctor.check_ops)
    assert [by_op[f"{op} cpu"].level for op in ("roi_align", "roi_pool", "nms")] == ["ok"] * 3
    assert "ms (csrc)" in by_op["nms cpu"].said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(lambda *a: torch.tensor([0, 1, 2]), "gives [0, 1, 2], not [0, 2]"), (lambda *a: 1 / 0, "ZeroDivisionError")],
)
def test_an_op_that_is_wrong_fails(monkeypatch, wrong, said):
    monkeypatch.setattr(doctor, "_import", lambda name, repair="": layers(nms=wrong))
    finding = findings(doctor.check_ops)["nms cpu"]
    assert finding.level == "FAIL"
    assert said in finding.said
    assert finding.repair == doctor.REPAIR_OPS


def test_ops_from_torchvision_are_a_warning(monkeypatch):
    monkeypatch.setattr(doctor, "_import", lambda name, repair="": layers(backend=lambda device: "torchvision"))
    assert findings(doctor.check_ops)["ops cpu"].level == "warn"


def test_a_check_that_crashes_is_a_failure(monkeypatch, capsys):
    def check_nothing():
        raise RuntimeError("driver too old\nmore")

    monkeypatch.setattr(doctor, "CHECKS", [check_nothing])
    assert doctor.main([]) == 1
    assert "driver too old" in capsys.readouterr().out
