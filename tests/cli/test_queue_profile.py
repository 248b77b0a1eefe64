"""``cxgi queue-profile``: what it writes, and what it does not overwrite."""

from __future__ import annotations

import json

import pytest
import yaml

from cxgi_bluesky.cli.program import main
from tests.beamline_files import changed_file


def test_a_profile_is_written_once(tmp_path, capsys):
    words = ["queue-profile", str(tmp_path / "queue"), "--sim", "--data", "data", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told["files"]) == sorted(file.name for file in (tmp_path / "queue").iterdir())
    permissions = yaml.safe_load((tmp_path / "queue/user_group_permissions.yaml").read_text())
    assert set(permissions["user_groups"]) == {"root", "primary"}

    (tmp_path / "queue/startup.py").write_text("# mine")
    assert main(words) == 2
    assert "startup.py, user_group_permissions.yaml, README.md already" in capsys.readouterr().err
    assert (tmp_path / "queue/startup.py").read_text() == "# mine"


def test_a_profile_is_of_a_beamline_file_that_is_right(tmp_path, capsys):
    file = changed_file(tmp_path, {"board": "cu32"})
    assert main(["queue-profile", str(tmp_path / "queue"), "--beamline", str(file)]) == 0
    text = (tmp_path / "queue/startup.py").read_text()
    assert f"session.start(sim=False, beamline={str(file)!r}, progress=False)" in text
    plan = (tmp_path / "queue/README.md").read_text()
    assert '"size": 32' in plan
    assert '"object_stage": "object_stage"' in plan
    file = changed_file(tmp_path, {"object_stage": None})
    assert main(["queue-profile", str(tmp_path / "fixed"), "--beamline", str(file)]) == 0
    assert "object_stage" not in (tmp_path / "fixed/README.md").read_text()

    file = changed_file(tmp_path, {"board": "cu33"})
    capsys.readouterr()
    assert main(["queue-profile", str(tmp_path / "other"), "--beamline", str(file)]) == 2
    assert "cu33" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_devices_are_asked_for(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["queue-profile", str(tmp_path / "queue")])
    assert "--beamline --sim is required" in capsys.readouterr().err
