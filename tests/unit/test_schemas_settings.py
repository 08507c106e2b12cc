from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reference import setting_meanings, settings_page
from schemas.refresh_settings import REFRESH_PREFIX, RefreshSettings, read_refresh_settings, refresh_environment
from schemas.settings import PREFIX, Settings, SettingsError, as_environment, read_settings

pytestmark = pytest.mark.unit

FIELDS = msgspec.structs.fields(Settings)
MOST = {
    "max_text_bytes": 1024 * 1024, "proba_top": 500, "model_memory_mib": 16384, "trending_slide_s": 24 * 3600,
    "trending_window_slides": 1440, "trending_top": 1000, "trending_lateness_ms": 3_600_000, "trending_idle_ms": 3_600_000,
    "review_labels_per_event": 5, "review_window": 200_000, "review_claim_s": 86_400,
}  # fmt: skip
COUNTS = [field.name for field in FIELDS if type(field.default) is int]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()


def test_what_has_not_our_prefix_is_not_ours() -> None:
    assert read_settings({"KAFKA": "elsewhere:1", "MILLRACER_KAFKA": "x"}) == Settings()


@pytest.mark.parametrize("name", COUNTS)
def test_every_count_can_be_set_and_refuses_words_fractions_and_zero(name: str) -> None:
    variable = PREFIX + name.upper()
    allowed = min(12345, MOST.get(name, 12345))
    assert getattr(read_settings({variable: str(allowed)}), name) == allowed
    for wrong in ("0", "-1", "many", "1.5", ""):
        with pytest.raises(SettingsError, match=variable):
            read_settings({variable: wrong})


def test_all_that_is_wrong_is_reported_at_once() -> None:
    wrong = {PREFIX + name.upper(): "x" for name in COUNTS} | {"MILLRACE_TASKS": "Upper", "MILLRACE_TOPIC_PREFIX": "a/b"}
    with pytest.raises(SettingsError) as caught:
        read_settings(wrong)
    reported = str(caught.value).splitlines()
    assert [line.partition("=")[0] for line in reported] == sorted(wrong)
    assert all("Expected" in line for line in reported)


@pytest.mark.parametrize("tasks", ["", "a,,b", ",".join("abcdefghi"), "ü"])
def test_a_wrong_list_of_tasks_is_refused(tasks: str) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_TASKS"):
        read_settings({"MILLRACE_TASKS": tasks})


def test_spaces_around_the_names_of_tasks_do_not_matter() -> None:
    assert read_settings({"MILLRACE_TASKS": " a , b"}).tasks == ("a", "b")


names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)


@given(
    st.fixed_dictionaries({name: st.integers(min(256, MOST.get(name, 256)), MOST.get(name, 10**9)) for name in COUNTS}),
    st.lists(names, min_size=1, max_size=8).map(tuple),
    st.from_regex(r"[A-Za-z0-9._-]{0,64}", fullmatch=True),
)
def test_settings_pass_through_the_environment_of_another_process(counts: dict[str, int], tasks: tuple[str, ...], prefix: str) -> None:
    settings = msgspec.structs.replace(Settings(tasks=tasks, topic_prefix=prefix), **counts)
    assert read_settings(as_environment(settings)) == settings


@pytest.mark.parametrize(("said", "meant"), [("true", True), ("1", True), ("True", True), ("false", False), ("0", False)])
def test_a_switch_is_read_as_it_is_written_and_passes_through_the_environment(said: str, *, meant: bool) -> None:
    settings = read_settings({"MILLRACE_ALLOW_PICKLE": said, "MILLRACE_MODEL": "river:a.B?c=[1,2]"})
    assert settings.allow_pickle is meant
    assert read_settings(as_environment(settings)) == settings
    with pytest.raises(SettingsError, match="MILLRACE_ALLOW_PICKLE"):
        read_settings({"MILLRACE_ALLOW_PICKLE": "yes please"})


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().kafka = "elsewhere:1"  # type: ignore[misc]  # that it cannot be done is the point


@pytest.mark.parametrize("field", msgspec.structs.fields(RefreshSettings), ids=lambda field: field.name)
def test_every_setting_of_the_refresh_is_documented(field: msgspec.structs.FieldInfo) -> None:
    assert setting_meanings(RefreshSettings)[field.name]
    assert f"`{REFRESH_PREFIX}{field.name.upper()}`" in settings_page()


def test_the_settings_of_the_refresh_are_read_apart_from_the_others_and_all_errors_at_once() -> None:
    assert read_refresh_settings({"MILLRACE_TASKS": "Upper"}) == RefreshSettings()
    assert read_settings({"MILLRACE_REFRESH_MODE": "nonsense"}) == Settings()
    with pytest.raises(SettingsError) as caught:
        read_refresh_settings({"MILLRACE_REFRESH_MODE": "nonsense", "MILLRACE_REFRESH_SHARE": "1"})
    assert [line.partition("=")[0] for line in str(caught.value).splitlines()] == ["MILLRACE_REFRESH_MODE", "MILLRACE_REFRESH_SHARE"]


def test_the_settings_of_the_refresh_pass_through_the_environment_of_another_process() -> None:
    settings = RefreshSettings(window_labels=5, cases="cases.jsonl", mode="split", share=0.25, gate_error=0.001)
    assert read_refresh_settings(refresh_environment(settings)) == settings


def test_every_setting_is_documented() -> None:
    meanings = setting_meanings()
    assert [field.name for field in FIELDS] == list(meanings)
    assert all(meanings.values())
    page = settings_page()
    assert all(f"`{PREFIX}{field.name.upper()}`" in page for field in FIELDS)


@pytest.mark.parametrize(("wait", "known", "kept"), [(10, 70, 70), (70, 10, 70)])
def test_an_event_is_kept_at_least_as_long_as_a_label_may_wait_for_it(wait: int, known: int, kept: int) -> None:
    assert Settings(label_wait_s=wait, event_known_s=known).kept_s == kept
