"""The settings of the API alone: where it listens, who may ask it and how often. Frozen, read once, all errors reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from schemas.settings import PREFIX, read_prefixed, to_environment

API_PREFIX = f"{PREFIX}API_"

Rate = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Host = Annotated[str, msgspec.Meta(pattern="^([A-Za-z0-9._-]{1,253}|\\[[0-9A-Fa-f:.]{2,45}\\])\\Z")]
Origin = Annotated[str, msgspec.Meta(pattern="^https?://[A-Za-z0-9._\\[\\]:-]{1,260}\\Z")]


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the API needs to know beside `Settings`. Every field is the environment variable MILLRACE_API_<NAME IN CAPITALS>.

    Attributes:
        host: address to listen on; beyond loopback keys are required.
        keys: file of the API keys (`millrace keys` writes it); empty for none: then whoever reaches the loopback may do everything.
        hosts: names by which browsers and clients may address the API, beside those of the loopback. With keys, and none given, any.
        origins: origins whose pages may call the API from a browser (CORS), such as `https://tools.example`; by default only its own.
        proxies: addresses of reverse proxies whose `X-Forwarded-For` is believed.
        requests_per_s: requests of one key, or of one address without a key, over ten seconds; 0 for no limit. A key may have its own.
        items_per_s: the same for records that are written.
        tls_certificate: PEM file of the certificate and those that lead to its authority; with it the API speaks TLS (1.2 or newer) only.
        tls_key: PEM file of the certificate's private key.
    """

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "127.0.0.1"
    keys: str = ""
    hosts: tuple[Host, ...] = ()
    origins: tuple[Origin, ...] = ()
    proxies: tuple[str, ...] = ()
    requests_per_s: Rate = 1000
    items_per_s: Rate = 20_000
    tls_certificate: str = ""
    tls_key: str = ""


def read_api_settings(environment: Mapping[str, str]) -> ApiSettings:
    """Return the settings of the API in `environment` (keys with the prefix MILLRACE_API_).

    Raises:
        SettingsError: naming every variable that is wrong, and why.

    >>> read_api_settings({"MILLRACE_API_HOSTS": "api.example, millrace.example"}).hosts
    ('api.example', 'millrace.example')
    """
    return read_prefixed(environment, ApiSettings, API_PREFIX)


def api_environment(settings: ApiSettings) -> dict[str, str]:
    """Return the settings as environment variables; `read_api_settings` gives them back.

    >>> read_api_settings(api_environment(ApiSettings(items_per_s=5))) == ApiSettings(items_per_s=5)
    True
    """
    return to_environment(settings, API_PREFIX)
