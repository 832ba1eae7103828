"""Carbon intensity from the services that publish it, behind one port, with retries and a cache on disk."""

from apps.providers.config import open_provider
from apps.providers.feed import Feed, Update
from apps.providers.port import Provider, ProviderError

__all__ = ["Feed", "Provider", "ProviderError", "Update", "open_provider"]
