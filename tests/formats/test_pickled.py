"""The classes that a pickle names, told without running any of it."""

from __future__ import annotations

import collections
import pickle

import pytest

from numba_lstm.formats.pickled import LEGACY_TORCH, what_is_pickled

MODULE = b"ctorch.nn.modules.rnn\nLSTM\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (pickle.dumps({"a": 1}), None),
        (pickle.dumps(collections.OrderedDict()), None),
        (b"\x80\x02c__main__\nNet\n.", None),  # a class, and no module of PyTorch
        (b"\x80\x02" + MODULE + b".", "torch.nn.modules.rnn.LSTM"),
        (b"\x80\x02c__main__\nNet\n" + MODULE + b".", "__main__.Net"),
        (b"\x80\x02" + MODULE + b"c__main__\nNet\n.", "__main__.Net"),
        (b"\x80\x02" + MODULE + b"ctorch\nx\nccollections\ny\ncbuiltins\nz\n.", "torch.nn.modules.rnn.LSTM"),
        (LEGACY_TORCH + b"\x80\x02K\x01.\x80\x02" + MODULE + b".", "torch.nn.modules.rnn.LSTM"),
        (b"\x80\x04\x8c\x08__main__\x8c\x03Net\x93\x8c\x10torch.nn.modules\x8c\x06Linear\x93.", "__main__.Net"),
        (b"\x80\x02" + MODULE + b"\xff and what follows is damaged", "torch.nn.modules.rnn.LSTM"),
        (b"", None),
    ],
)
def test_what_is_pickled(content: bytes, name: str | None) -> None:
    assert what_is_pickled(content) == name


def test_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.system", lambda _: pytest.fail("it was run"))
    assert what_is_pickled(b"cos\nsystem\n(S'true'\ntR.") is None
