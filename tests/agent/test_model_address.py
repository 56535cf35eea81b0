"""Addresses and keys of language models: what is refused, and what a person is warned of."""

from __future__ import annotations

import pytest
from model_stand_ins import SECRET

from palmar.agent.anthropic_model import AnthropicModel
from palmar.agent.language_model import find_model
from palmar.agent.openai_model import OpenAIModel
from palmar.errors import BadValue


@pytest.mark.parametrize("name", ["anthropic", "anthropic:some-model", "openai:gpt"])
def test_without_a_key_the_planner_that_needs_none_is_named(name: str) -> None:
    with pytest.raises(BadValue, match=r"no key .*_API_KEY.* Next: --planner rules"):
        find_model(name)


@pytest.mark.parametrize("key", ["sk-a b", "sk-\x00", "sk-ü", "sk-a\nInjected: yes"])
def test_a_key_that_no_header_holds_is_refused_and_not_repeated(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, name in (("ANTHROPIC_API_KEY", "anthropic"), ("OPENAI_API_KEY", "openai:m")):
        if "\x00" in key:
            continue
        monkeypatch.setenv(variable, key)
        with pytest.raises(BadValue, match=f"the key in {variable}") as error:
            find_model(name)
        assert key not in str(error.value)


@pytest.mark.parametrize("name", ["anthropic", "openai:gpt"])
def test_a_command_without_a_planner_names_no_option_of_planners(name: str) -> None:
    with pytest.raises(BadValue, match=r"Next: another --model, or ") as error:
        find_model(name, instead="another --model")
    assert "--planner" not in str(error.value)
    with pytest.raises(BadValue, match=r"Next: (a key from|openai:MODEL@URL)"):
        find_model(name, instead="")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host", "no address"), ("https://", "no address"), ("host:80", "no address"), ("http://a b/", "no address"),
        ("https://host:99999", "no address"), ("https://host/?key=1", "no address"), ("http://[::1", "no address"),
        ("https://user:word@host", "name or a password"), ("https://hößt", "no address"),
    ],
)  # fmt: skip
def test_an_address_that_is_none(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    for made in (lambda: AnthropicModel("m", url), lambda: OpenAIModel("m", url)):
        with pytest.raises(BadValue, match=said) as error:
            made()
        assert "Next: " in str(error.value) and "word" not in str(error.value).replace("password", "")


def test_plain_http_to_another_computer_only_where_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, base, made in (
        ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", AnthropicModel), ("OPENAI_API_KEY", "OPENAI_BASE_URL", OpenAIModel),
    ):  # fmt: skip
        monkeypatch.setenv(key, SECRET)
        monkeypatch.setenv(base, "http://192.168.0.9:8000/v1")
        with pytest.raises(BadValue, match="anybody on the way"):
            made("m")
        assert made("m", "http://192.168.0.9:8000/v1/").base_url == "http://192.168.0.9:8000/v1"
        monkeypatch.setenv(base, "http://localhost:8000")
        assert made("m").base_url == "http://localhost:8000"
        monkeypatch.setenv(base, "https://host.example/v1")
        assert made("m").base_url == "https://host.example/v1"


@pytest.mark.parametrize("address", ["http://192.168.0.9:8000/v1", "http://box.local/v1"])
def test_a_key_that_goes_to_another_computer_in_the_clear_is_warned_of(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_model(f"openai:m@{address}")
    assert capsys.readouterr().err == ""  # there is no key to read
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    find_model(f"openai:m@{address}")
    warned = capsys.readouterr().err
    assert "OPENAI_API_KEY" in warned and "plain HTTP" in warned and "Next: " in warned and SECRET not in warned
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    AnthropicModel("m", address)
    assert "ANTHROPIC_API_KEY" in capsys.readouterr().err
    for safe in ("https://192.168.0.9/v1", "http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:80/v1"):
        find_model(f"openai:m@{safe}")
    assert capsys.readouterr().err == ""
