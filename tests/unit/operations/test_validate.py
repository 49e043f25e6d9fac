# SPDX-License-Identifier: Apache-2.0
"""What `rayctl validate` prints."""

from rayctl.operations.validate import render, validate

GOOD = "cluster_name: c\nprovider: {type: embedded}\n"


def report_of(folder, text):
    path = folder / "c.yaml"
    path.write_text(text)
    report = validate(path)
    return report, render(report).replace(str(folder), "DIR")


def test_good_file_is_valid(tmp_path):
    report, text = report_of(tmp_path, GOOD)
    assert report.valid
    assert text == "DIR/c.yaml: valid"


def test_every_problem_has_its_place_and_its_fix(tmp_path):
    report, text = report_of(tmp_path, GOOD + "max_worker: 1\nauth: {ssh_port: x}\n")
    assert not report.valid
    assert text == (
        "DIR/c.yaml:3:1: error: unknown key `max_worker`\n"
        "  fix: did you mean `max_workers`?\n"
        "DIR/c.yaml:4:18: error: `auth.ssh_port` must be a whole number, not the text 'x'\n"
        "DIR/c.yaml: 2 errors, 0 warnings"
    )


def test_old_keys_and_missing_files_are_warnings(tmp_path):
    report, text = report_of(tmp_path, GOOD + "file_mounts: {~/x: gone}\ninitial_workers: 0\n")
    assert report.valid
    assert text == (
        "DIR/c.yaml:3:20: warning: the mount source `gone` (DIR/gone) does not exist\n"
        "  fix: create it, or correct the path\n"
        "DIR/c.yaml:4:1: warning: `initial_workers` is an old spelling: it belongs to `scaler:`\n"
        "  fix: write `scaler: {initial_workers: 0}`\n"
        "DIR/c.yaml: valid, 2 warnings"
    )


def test_file_that_is_not_there_is_a_report_too(tmp_path):
    report = validate(tmp_path / "gone.yaml")
    assert render(report).replace(str(tmp_path), "DIR") == (
        "DIR/gone.yaml: error: cannot be read: No such file or directory\n"
        "  fix: give the path of a cluster file\n"
        "DIR/gone.yaml: 1 error, 0 warnings"
    )


def test_nothing_is_written(tmp_path):
    report_of(tmp_path, GOOD + "max_worker: 1\n")
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]
