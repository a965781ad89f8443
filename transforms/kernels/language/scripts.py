"""The script of a text by its letters, as ISO 15924 names it, and labels of languages in the form ``deu_Latn``."""

from __future__ import annotations

import functools
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from transforms.kernels.language.identification import UNDETERMINED, buffers_of, iso_639_3
from transforms.kernels.text.utf8 import code_point_at, sequence_length

# The first word of a letter's Unicode name says its script; these are the scripts that people write in today.
_NAMES = """
ADLAM:Adlm ARABIC:Arab ARMENIAN:Armn BALINESE:Bali BENGALI:Beng BOPOMOFO:Bopo CANADIAN:Cans CHAKMA:Cakm CHEROKEE:Cher
CJK:Hani COPTIC:Copt CYRILLIC:Cyrl DEVANAGARI:Deva ETHIOPIC:Ethi GEORGIAN:Geor GREEK:Grek GUJARATI:Gujr GURMUKHI:Guru
HANGUL:Hang HEBREW:Hebr HIRAGANA:Kana JAVANESE:Java KANNADA:Knda KATAKANA:Kana KHMER:Khmr LAO:Laoo LATIN:Latn LIMBU:Limb
LISU:Lisu MALAYALAM:Mlym MEETEI:Mtei MONGOLIAN:Mong MYANMAR:Mymr NKO:Nkoo OL:Olck ORIYA:Orya SINHALA:Sinh SUNDANESE:Sund
SYRIAC:Syrc TAMIL:Taml TELUGU:Telu THAANA:Thaa THAI:Thai TIBETAN:Tibt TIFINAGH:Tfng VAI:Vaii YI:Yiii
"""
_CODES = dict(pair.split(":") for pair in _NAMES.split())
SCRIPTS = ["", *sorted({*_CODES.values(), "Jpan"})]
"""Codes of scripts; the first stands for letters of none of them."""
_HANI, _KANA, _JPAN = SCRIPTS.index("Hani"), SCRIPTS.index("Kana"), SCRIPTS.index("Jpan")
JAPANESE_FROM = 0.05
"""Share of kana in kana and Han characters from which they are Japanese."""
_SCRIPT_OF_LABEL = re.compile(r"[-_]([A-Z][a-z]{3})$")


@functools.cache
def _script_of_letters() -> np.ndarray:
    """uint8, by code point: the number of a letter's script, 0 of what is no letter; no letter is past its end."""
    found = np.zeros(0x40000, np.uint8)
    numbers = {name: SCRIPTS.index(code) for name, code in _CODES.items()}
    for code_point in range(len(found)):
        character = chr(code_point)
        if unicodedata.category(character)[0] == "L":
            found[code_point] = numbers.get(re.split("[ -]", unicodedata.name(character, "?"))[0], 0)
    return found


@njit(cache=True)
def _count(data: np.ndarray, offsets: np.ndarray, scripts: np.ndarray, counts: np.ndarray) -> None:
    """Adds the letters of each text to ``counts``: int32 (texts, scripts)."""
    for k in range(len(counts)):
        position, stop = np.int64(offsets[k]), np.int64(offsets[k + 1])
        while position < stop:
            code_point = code_point_at(data, position)
            if code_point < scripts.size:
                counts[k, scripts[code_point]] += 1
            position += sequence_length(data[position])


def scripts_of(text: pa.StringArray) -> pa.DictionaryArray:
    """The script in which most letters of each text are written, as ISO 15924 names it: ``Latn``, ``Cyrl``.

    Japanese texts are ``Jpan``. Of equally many letters, the code that is first in the alphabet counts.

    Args:
      text: nulls allowed.

    Returns:
      dictionary<int32, string>; null where the text is, or has no letter of a script that is known here.
    """
    counts = np.zeros((len(text), len(SCRIPTS)), np.int32)
    if len(text):
        data, offsets, _ = buffers_of(text)
        _count(data, offsets, _script_of_letters(), counts)
    counts[:, 0] = 0
    both = counts[:, _HANI] + counts[:, _KANA]
    japanese = counts[:, _KANA] >= JAPANESE_FROM * np.maximum(both, 1)
    counts[japanese, _JPAN] = both[japanese]
    counts[japanese, _HANI] = counts[japanese, _KANA] = 0
    most = counts.argmax(axis=1).astype(np.int32)
    unknown = (most == 0) | text.is_null().to_numpy(zero_copy_only=False)
    return pa.DictionaryArray.from_arrays(pa.array(most, mask=unknown), pa.array(SCRIPTS))


def language_and_script(label: str, script: str | None) -> str:
    """A model's label in the form ``deu_Latn``.

    Args:
      label: as any model has it: ``de``, ``deu_Latn``, ``zh-Hant``.
      script: of the text, for labels that name none; None leaves it out.
    """
    language = iso_639_3(label)
    named = _SCRIPT_OF_LABEL.search(label)
    script = named[1] if named else script
    return UNDETERMINED if language == UNDETERMINED else f"{language}_{script}" if script else language


def languages_and_scripts(labels: pa.Array, scripts: pa.DictionaryArray) -> pa.StringArray:
    """``language_and_script`` of each document; null where the label is."""
    labels = labels if pa.types.is_dictionary(labels.type) else labels.dictionary_encode()
    number = len(SCRIPTS)
    known = labels.is_valid()
    pairs = labels.indices.fill_null(0).to_numpy().astype(np.int64) * number + scripts.indices.fill_null(0).to_numpy()
    found, which = np.unique(pairs, return_inverse=True)
    names = labels.dictionary.to_pylist() or [UNDETERMINED]
    values = [language_and_script(names[pair // number], SCRIPTS[pair % number] or None) for pair in found.tolist()]
    return pc.if_else(known, pa.array(values, pa.string()).take(pa.array(which)), pa.scalar(None, pa.string()))
