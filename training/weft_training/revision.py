"""Which code made a run or a bundle. No torch: a shell verb asks it too."""

import subprocess
from pathlib import Path


def code_revision() -> str:
    """The commit of the code in use, with "+changes" where it was edited since; "unknown" outside git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # else it is the revision of who installed us
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
