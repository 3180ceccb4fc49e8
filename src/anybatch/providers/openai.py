"""OpenAI: addresses and limits."""

from .provider import Provider

OPENAI = Provider(name="openai", base_url="https://api.openai.com/v1", key_env="OPENAI_API_KEY")
"""Base URL and key variable as in the official SDK 3.51, checked 2026-11-20."""
