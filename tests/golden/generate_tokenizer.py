# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes tokenizer.safetensors, tokenizer_vocab.json and tokenizer_merges.txt: a small byte-level vocabulary, and what
GPT-2's algorithm makes of texts with it.

    python generate_tokenizer.py --text FILE [--out DIR]         needs tokenizers, regex, numpy and safetensors

FILE is a text to train the vocabulary on, such as the tiny Shakespeare. README.md documents the names.
"""

import argparse
import json
import pathlib
import random
import tempfile
import unicodedata

import numpy as np
import regex
import safetensors.numpy
import tokenizers

END = "<|endoftext|>"
MERGES = 1000
# From encoder.py of openai/gpt-2.
PATTERN = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")

# Learnt beside FILE, so that merges cross characters of several bytes.
FOREIGN = [
    "Größe, Mädchen, Übermut und Straße; naïve café, déjà vu, garçon, où, être. ",
    "Всё хорошо, что хорошо кончается. Привет, мир! ",
    "世界很大，世界很小。你好，世界！ 日本語のテキスト、こんにちは。 ",
    "안녕하세요 세계 ",
    "सभी मनुष्य जन्म से स्वतंत्र ",
    "مرحبا بالعالم ١٢٣ ",
    "😀😀🎉👍🏽👨‍👩‍👧 ❤️ ",
    "1984 2001 3.14159 ½ ² Ⅷ ",
    "    if (x == 0) {\n        return;\n    }\n\n\t\t",
]

PIECES = [
    *"abcXYZ019",
    *["the", " the", "Hello", "world", "king", "shall", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "''",
      "'x"],
    *[" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\v", "\f", "\u00a0", "\u2003", "\u3000", "\u2028", "\x85", "\x1c",
      "\u200b"],
    *["ß", "é", "e\u0301", "Ω", "Привет", "世界", "日本", "안녕", "सभी", "ि", "مرحبا", "ſ", "ǅ", "ª", "ʰ", "𝒜", "𠀀", "ꙮ"],
    *["²", "½", "Ⅷ", "١٢", "〇", "㉈", "𝟘", "①"],
    *["😀", "👍🏽", "👨‍👩‍👧", "❤️", "🇩🇪", "…", "—", "“", "”", "¿", "€", "\ufffd", "\ufeff", "\U0010ffff", "\ue000"],
    *[".", ",", "!", "?", "-", "--", "(", ")", "{", "#", "$", "_", "/", "\\", '"', "\0", "\x7f", "\x01"],
]

BAD = [b"\x80", b"\xff", b"\xc3", b"\xe4\xb8", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80",
       b"\xe0\x80\xaf", b"\xf8\x88\x80\x80\x80", b"\xbf\xbf", b"\xe2\x28\xa1", b"\xf0\x90", b"\xf1\x80\x80"]

TEXTS = [
    "", " ", "  ", "a", " a", "  a", "   a", "\n", "\n\n", " \n", "\n ", "a ", "a  ", "a\n", "a \n b", "a\t\tb",
    "\u3000\u3000a",
    "Hello, world!", "hello world", "HELLO WORLD", "I'm you're he's we've they'll she'd don't", "I'M YOU'RE DON'T",
    "'s", "''s",
    "'", "'l", "'lll", "'ve've", " 's", "  's", "a's b't", "1's", "can't've", "’s don’t", "'s's", "'re're'r",
    "1234567890", "3.14159 and 2,718", "a1b2c3", "1st 2nd", "² ½ Ⅷ ١٢٣ ①", "x²+y³", "0x1F", "  12", "- 12", "$12.50",
    "ROMEO:\nBut, soft! what light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n",
    "    if (x == 0) {\n        return x;\n    }\n", "def f(x):\n\treturn x ** 2  # square\n\n\n", "a,b;c:d.e!f?g",
    "https://example.org/a?b=c&d=%20", "naïve café", "nai\u0308ve cafe\u0301", "Größe Straße ÜBER", "Всё хорошо",
    "世界很大 世界",
    "こんにちは、世界", "안녕하세요 세계", "सभी मनुष्य", "مرحبا بالعالم", "😀", "😀 😀😀", "👍🏽👨‍👩‍👧❤️", "a😀b", " 😀", "1😀2",
    "a\u00a0b", "a\u00a0\u00a0b", "\u00a0 a", " \u00a0a", "a\u2003 b", "a\u200bb", "\ufeffa", "\x85\x85a", "\x1ca",
    "a\0b",
    END, f"a{END}b", f" {END} ", f"{END}{END}", f"a {END}\n{END}b", "<|endoftext|", "<|endoftext>", "<|endof" + END,
]

LONG = ["a" * 500, " " * 300, " " * 300 + "a", "ab" * 200, "the" * 150, "ha" * 24, "ha" * 25, "aab" * 17, "é" * 150,
        "-=" * 150,
        "世" * 100, "😀" * 80, "0" * 299, "\n" * 99 + "x", "thethe" * 9, "lllooollll" * 30, "ououououthth" * 30]


def alphabet():
    """bytes_to_unicode of encoder.py: the character that stands for each byte."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    codes = dict(zip(visible, visible))
    for byte in range(256):
        codes.setdefault(byte, 256 + sum(1 for b in range(byte) if b not in visible))
    return {byte: chr(code) for byte, code in codes.items()}


class Encoder:
    """encoder.py of openai/gpt-2. Bytes that are no UTF-8 come as lone surrogates, neither letters nor such."""

    def __init__(self, vocabulary, merges):
        self.vocabulary = vocabulary
        self.ranks = {tuple(pair.split()): rank for rank, pair in enumerate(merges)}
        self.alphabet = alphabet()

    def bpe(self, word):
        word = tuple(word)
        while len(word) > 1:
            bigram = min(zip(word, word[1:]), key=lambda pair: self.ranks.get(pair, float("inf")))
            if bigram not in self.ranks:
                break
            merged, i = [], 0
            while i < len(word):
                if word[i:i + 2] == bigram:
                    merged.append(word[i] + word[i + 1])
                    i += 2
                else:
                    merged.append(word[i])
                    i += 1
            word = tuple(merged)
        return word

    def encode(self, data):
        tokens, ends, text = [], [], data.decode("utf-8", "surrogateescape")
        for match in PATTERN.findall(text):
            word = match.encode("utf-8", "surrogateescape")
            ends.append((ends[-1] if ends else 0) + len(word))
            tokens.extend(self.vocabulary[token] for token in self.bpe(self.alphabet[b] for b in word))
        return tokens, ends


def train(text):
    model = tokenizers.ByteLevelBPETokenizer()
    model.train_from_iterator([text, *(" ".join([line] * 40) for line in FOREIGN)], vocab_size=256 + MERGES + 1,
                              min_frequency=2, special_tokens=[], show_progress=False)
    with tempfile.TemporaryDirectory() as folder:
        model.save_model(folder)
        vocabulary = json.loads(pathlib.Path(folder, "vocab.json").read_text(encoding="utf-8"))
        merges = pathlib.Path(folder, "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    merges = merges[:MERGES]
    vocabulary = {token: number for token, number in vocabulary.items() if number < 256 + MERGES}
    vocabulary[END] = len(vocabulary)
    return vocabulary, merges


def texts():
    draws = random.Random(2024)
    yield from (text.encode() for text in TEXTS)
    yield from (text.encode() for text in LONG)
    for _ in range(160):
        yield "".join(draws.choices(PIECES, k=draws.randint(1, 24))).encode()
    yield from BAD
    for _ in range(80):
        pieces = [piece.encode() for piece in PIECES] + 5 * BAD
        yield b"".join(draws.choices(pieces, k=draws.randint(1, 16)))
    yield bytes(range(256))
    yield draws.randbytes(600)


def is_text(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def packed(name, rows, kind):
    """All rows in one tensor, and where each ends."""
    return {name: np.array([x for row in rows for x in row], kind),
            f"{name}/ends": np.cumsum([len(row) for row in rows], dtype=np.int32)}


def categories():
    """Of the assigned letters, numbers and spaces: how many, the sum of their code points, and of the squares."""
    assigned = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    rows = []
    for name in (r"\p{L}", r"\p{N}", r"\s"):
        codes = [c for c in assigned if regex.match(name, chr(c))]
        rows.append([len(codes), sum(codes), sum(c * c for c in codes)])
    return np.array(rows, np.int64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    args = parser.parse_args()
    vocabulary, merges = train(args.text.read_text(encoding="utf-8"))
    vocabulary_path, merges_path = args.out / "tokenizer_vocab.json", args.out / "tokenizer_merges.txt"
    vocabulary_path.write_text(json.dumps(vocabulary) + "\n")
    merges_path.write_text("#version: 0.2\n" + "".join(f"{pair}\n" for pair in merges), encoding="utf-8")

    library = tokenizers.ByteLevelBPETokenizer(str(vocabulary_path), str(merges_path))
    special = tokenizers.ByteLevelBPETokenizer(str(vocabulary_path), str(merges_path))
    special.add_special_tokens([END])
    encoder, backwards = Encoder(vocabulary, merges), Encoder(vocabulary, merges[::-1])
    all_texts = list(texts())
    encoded = [encoder.encode(text) for text in all_texts]
    for text, (tokens, _) in zip(all_texts, encoded):
        if is_text(text):
            assert tokens == library.encode(text.decode()).ids, text
    tensors = {
        **packed("text", all_texts, np.uint8),
        **packed("words", [ends for _, ends in encoded], np.int32),
        **packed("tokens", [tokens for tokens, _ in encoded], np.int32),
        **packed("backwards", [backwards.encode(text)[0] for text in all_texts], np.int32),
        **packed("replaced", [text.decode("utf-8", "replace").encode() for text in all_texts], np.uint8),
        **packed("special", [special.encode(text.decode()).ids if END.encode() in text else [] for text in all_texts],
                 np.int32),
        "categories": categories(),
    }
    golden = {"tokenizers": tokenizers.__version__, "regex": regex.__version__, "unicode": unicodedata.unidata_version}
    (args.out / "tokenizer.safetensors").write_bytes(safetensors.numpy.save(tensors, {"golden": json.dumps(golden)}))


if __name__ == "__main__":
    main()
