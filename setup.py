"""What pyproject.toml cannot say: the wheel also holds README.md and the text of docs/, for `palmar chat`."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithDocs(build_py):
    """README.md and docs/*.md beside the package, as palmar/assets/docs."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            into = Path(self.build_lib, "palmar", "assets", "docs")
            into.mkdir(parents=True, exist_ok=True)
            for page in (Path("README.md"), *sorted(Path("docs").glob("*.md"))):
                self.copy_file(str(page), str(into / page.name))


setup(cmdclass={"build_py": WithDocs})
