"""Computes pseudonyms and encrypted values of records with the package cryptography, and writes privacy.json.

    pip install -r tests/golden/requirements-privacy.txt
    python tests/golden/privacy.py

The tests of `crates/event/src/privacy` compare Rust with this file. The definitions are those at the top of
`pseudonym.rs` and `values.rs` there; no code is shared with them.
"""

import base64
import json
import struct
import uuid
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

PINNED = {"cryptography": "48.0.0"}
HERE = Path(__file__).parent
SECRETS = {"a": bytes(range(32)), "b": bytes(range(255, 223, -1))}
IDS = ["C-1", "4111111111111111", "Zoë", "x" * 200]
VALUES = [
    {"floats": [1.5, -0.0], "ints": [-7, 2**62], "bools": [1, 0], "strings": ["married", "ß"]},
    {"floats": [], "ints": [0], "bools": [], "strings": []},
    {"floats": [], "ints": [], "bools": [], "strings": [""]},
]


def pseudonym(secret, customer):
    mac = hmac.HMAC(secret, hashes.SHA256())
    mac.update(b"proffer customer pseudonym 1\x00" + customer.encode())
    return mac.finalize()[:16].hex()


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def encoded(values):
    """The message FeatureValues: floats = 2, ints (sint64) = 3, bools = 4, strings = 5."""
    out = b""
    if values["floats"]:
        out += field(2, b"".join(struct.pack("<f", value) for value in values["floats"]))
    if values["ints"]:
        out += field(3, b"".join(varint((value << 1) ^ (value >> 63)) for value in values["ints"]))
    if values["bools"]:
        out += field(4, bytes(values["bools"]))
    return out + b"".join(field(5, text.encode()) for text in values["strings"])


def encrypted(secret, decision, entity, nonce, values):
    about = decision.bytes + entity.encode()
    key = HKDFExpand(hashes.SHA256(), 32, b"proffer record values 1\x00" + about).derive(secret)
    return AESGCM(key).encrypt(nonce, encoded(values), about)


def main():
    for name, wanted in PINNED.items():
        assert version(name) == wanted, f"{name} {version(name)} is installed, but privacy.json needs {wanted}"
    text = lambda data: base64.b64encode(data).decode()
    pseudonyms = [
        {"key": key, "customer": customer, "pseudonym": pseudonym(secret, customer)}
        for key, secret in SECRETS.items()
        for customer in IDS
    ]
    messages = []
    for number, values in enumerate(VALUES):
        for key, entity in [("a", "customer"), ("a", "context"), ("b", "customer")]:
            decision = uuid.UUID(int=0x0193_0000_0000_7000_8000_0000_0000_0000 + number)
            nonce = bytes([16 * number + at for at in range(12)])
            sealed = encrypted(SECRETS[key], decision, entity, nonce, values)
            messages.append({
                "key": key, "decision": str(decision), "entity": entity, "nonce": text(nonce), "values": values,
                "ciphertext": text(sealed),
            })
    secrets = {key: text(secret) for key, secret in SECRETS.items()}
    golden = {"secrets": secrets, "pseudonyms": pseudonyms, "encrypted": messages}
    (HERE / "privacy.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
