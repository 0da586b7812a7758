"""`weft explain`: slips are said before the work, in one line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.explain_verb import explain


@pytest.mark.parametrize(
    ("asked", "out", "message"),
    [
        ("photo.jpg", "absent/x.png", "there is no folder"),
        ("photo.jpg", "x.txt", "is PNG; name a .png file"),
        ("scan.csv", "x.png", "is SVG; name a .svg file"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_at_once(
    asked: str, out: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / asked
    file.write_text("never read")

    refused = CliRunner().invoke(explain, [str(file), "--out", str(tmp_path / out)], terminal_width=500)

    assert refused.exit_code == 2
    assert message in refused.output
    assert [path.name for path in tmp_path.iterdir()] == [asked]


def test_an_option_about_the_other_kind_of_file_is_refused_not_passed_over() -> None:
    scan = "serving/weft_serving/pages/static/example-scan.csv"

    reply = CliRunner().invoke(explain, [scan, "--mark", "qr", "--mark-mm", "60"])

    assert reply.exit_code == 2
    assert "--mark, --mark-mm says nothing about a scan; leave it out" in reply.output
