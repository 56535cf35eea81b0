"""Messages: one line each at any width, no markup but that of the source, and nothing a terminal would obey."""

import ast
import io
import re
from pathlib import Path

import pytest
import rich

import palmar
from palmar.console import Screen, printable, say, styled, warn

SOURCE = Path(palmar.__file__).parent
LONG = "/a folder/" * 30 + "[/red][bold]x"


def shown(*messages: object, width: int = 20) -> str:
    screen = Screen(file=io.StringIO(), width=width)
    for message in messages:
        screen.print(message)
    return screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [1, 20, 200])
def test_a_message_is_one_line_at_any_width(width: int) -> None:
    assert shown(f"'{LONG}' is no folder", width=width) == f"'{LONG}' is no folder\n"
    assert shown(styled("[red]'{}'[/] is no [bold]folder", LONG), width=width) == f"'{LONG}' is no folder\n"


@pytest.mark.parametrize("columns", ["40", "200"])
def test_rooms_speak_to_the_console_of_the_process(columns: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(rich, "_console", None)
    say("'{}' is finished", LONG)
    warn("[yellow]no {}", LONG)
    assert capsys.readouterr() == (f"'{LONG}' is finished\n", f"no {LONG}\n")


def test_a_table_is_laid_out_to_the_width_and_reads_no_markup() -> None:
    from rich.table import Table

    table = Table("name")
    table.add_row("[/red] \x1b[31m \udcff")
    text = shown(table, width=30)
    assert r"[/red] \x1b[31m \udcff" in text and max(map(len, text.splitlines())) <= 30


@pytest.mark.parametrize("value", ["[/red]", "[bold]", "a\\", "a\\\\", "\\[/]", "{}", "", ":smile:", "[", "]", "été"])
def test_a_value_is_printed_as_it_is_in_the_style_of_its_place(value: str) -> None:
    text = styled("[bold]{}[/] and [red]{}[/].", value, value)
    assert text.plain == f"{value} and {value}."
    styles = {text.plain[s.start : s.end]: str(s.style) for s in text.spans if s.end > s.start}
    assert set(styles) <= {value} and set(styles.values()) <= {"bold", "red"}
    assert shown(value) == f"{value}\n"


def test_a_text_in_a_text_keeps_its_style() -> None:
    text = styled("[bold]{}", styled("[red]no"))
    assert text.plain == "no" and [str(s.style) for s in text.spans] == ["bold", "red"]
    for values in ((), (1, 2)):
        with pytest.raises(IndexError, match=r"values for the places of '\{\}'"):
            styled("{}", *values)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("été\n\t", "été\n\t"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\x07\r", r"a\x07\r"),
        ("\udcff.mp4", r"\udcff.mp4"),
        ("a\u202eb", r"a\u202eb"),
    ],
)
def test_control_characters_are_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


MARKUP = re.compile(r"\[(/|/?(bold|dim|italic|red|green|yellow|blue|cyan|magenta)[a-z ]*)\]")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_markup_stands_in_templates_alone(path: Path) -> None:
    """A colour in any other string would be printed as it stands; a value inside a template would be read as markup. Both
    are avoided by `styled("[bold]{}[/] …", value)`, whose template is one plain string."""
    tree = ast.parse(path.read_text("utf-8"))
    ours = {
        alias.name
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "palmar.console"
        for alias in node.names
    } & {"styled", "say", "warn"}  # fmt: skip
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ours:
            template = node.args[0]
            choices = [template.body, template.orelse] if isinstance(template, ast.IfExp) else [template]
            constant = isinstance(template, ast.Name) and template.id.isupper()  # of the module, checked below
            fixed = all(isinstance(c, ast.Constant) and isinstance(c.value, str) for c in choices)
            assert fixed or constant, (
                f"{path.name}:{node.lineno}: the template of {node.func.id}(…) is put together; expected one plain string "
                "with {} for each value"
            )
            inside |= {id(n) for n in ast.walk(template)}
        elif isinstance(node, ast.Assign) and any(isinstance(n, ast.Name) and n.id == "NEXT" for n in node.targets):
            inside |= (
                {id(n) for n in ast.walk(node.value) if isinstance(n, ast.Constant)}
                if path.name == "main.py"
                else set()
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            if path.name == "console.py" and "[/red]" in node.value:
                continue  # the docstring, which says what is no markup
            found = MARKUP.search(node.value)
            assert not found, (
                f"{path.name}:{node.lineno}: '{found and found[0]}' outside styled(…) is printed as it stands"
            )


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_console_is_a_screen(path: Path) -> None:
    if path.name == "console.py":
        return
    text = path.read_text("utf-8")
    for plain in ("rich.console import Console", "rich.print", "from rich import print"):
        assert plain not in text, f"{path.name} uses {plain}; expected palmar.console: Screen, styled, say or warn"
