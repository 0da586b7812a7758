"""The page's sentences are those of the ground floor: one meaning a word, wherever it is read."""

import re
from pathlib import Path

import weft_serving.pages
from weft.quality import WHAT_TO_DO


def test_the_page_says_what_the_command_line_says() -> None:
    script = (Path(weft_serving.pages.__file__).parent / "static" / "weigh.js").read_text()
    table = script[script.index("const ADVICE = {") :]
    said = dict(re.findall(r'^  (\w+): "(.+)",$', table[: table.index("};")], re.MULTILINE))

    assert said == WHAT_TO_DO
