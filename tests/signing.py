"""Google's credentials as tests have them: a key of our own, for which a fake gives tokens."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ACCOUNT = "runner@fake-project.iam.gserviceaccount.com"
VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
NOWHERE = {"GCE_METADATA_HOST": "127.0.0.1:9"}
"""The environment of no machine of Google's."""


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def account_file(folder: Path, token_uri: str, **changed: Any) -> Path:
    """The key file of a service account, whose tokens are had at `token_uri`."""
    said = {
        "type": "service_account",
        "project_id": "fake-project",
        "private_key_id": "1",
        "private_key": private_key(),
        "client_email": ACCOUNT,
        "client_id": "1",
        "token_uri": token_uri,
        **changed,
    }
    path = folder / "key.json"
    path.write_text(json.dumps(said))
    return path


def user_file(path: Path) -> Path:
    """What gcloud writes for somebody who has logged in."""
    said = {
        "type": "authorized_user",
        "client_id": "gcloud",
        "client_secret": "s",
        "refresh_token": "r",
        "quota_project_id": "their-project",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said))
    return path
