"""Every exception of anybatch.

A failed request is data (`core.model.Failure`); only a broken program or a wrong call raises.

    AnybatchError
    ├── UsageError               what was asked for cannot be done; says where and the way out
    │   ├── BadInput             a file, row or column is not what it must be
    │   ├── BadTemplate          a prompt template does not compile or does not fit the columns
    │   ├── BadSchema            an output schema is not a JSON Schema we can use
    │   ├── BadSettings          anybatch.toml, an option or a key is wrong
    │   ├── MissingExtra         an optional dependency is not installed
    │   ├── OverBudget           nothing that is offered costs as little as was said
    │   ├── OutputExists         a file is in the way and `--force` was not given
    │   └── UnknownRun           no run has that id
    ├── StoreError               the durable record cannot be used
    │   ├── StoreUnwritable      disk full, read-only, an fsync error: what is there is kept
    │   ├── SchemaTooNew         the store was written by a newer anybatch
    │   ├── StoreCorrupt         what is on disk contradicts what was committed
    │   └── LeaseLost            another process owns the batch now; our write was refused
    ├── TransportError           a call got no whole answer; `sent` says whether it may have run
    └── Ambiguous                a submission may have been accepted: it must be looked for
"""

from typing import ClassVar


class AnybatchError(Exception):
    """The root: catch this to catch everything anybatch raises."""

    exit_code: ClassVar[int] = 4


class UsageError(AnybatchError):
    """What was asked for cannot be done; nothing was started."""

    exit_code = 1


class BadInput(UsageError):
    """A file, row or column is not what it must be."""


class BadTemplate(UsageError):
    """A prompt template does not compile, or names a column that is not there."""


class BadSchema(UsageError):
    """An output schema is not one we can use."""


class BadSettings(UsageError):
    """`anybatch.toml`, an option or a key is wrong or missing."""


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'anybatch[{extra}]'")


class OverBudget(UsageError):
    """Nothing that is offered costs as little as was said."""

    exit_code = 5


class OutputExists(UsageError):
    """A file is in the way and overwriting was not asked for."""


class UnknownRun(UsageError):
    """No run in this store has that id."""


class StoreError(AnybatchError):
    """The durable record cannot be used."""


class StoreUnwritable(StoreError):
    """The disk refused a write or an fsync. What was committed is safe; nothing is retried."""


class SchemaTooNew(StoreError):
    """The store was written by a newer anybatch than this one."""


class StoreCorrupt(StoreError):
    """What is on disk contradicts what was committed."""


class LeaseLost(StoreError):
    """Another process owns the batch now; our write was refused and changed nothing."""


class TransportError(AnybatchError):
    """A call got no whole answer.

    `sent` is False only when we know that no byte of the request left: everything else may have
    been executed.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class AnswerTooLong(TransportError):
    """An answer that is longer than anything we take: what came of it is thrown away."""


class Ambiguous(AnybatchError):
    """A submission was sent and its answer is lost or unclear: the provider may have the batch.

    It must be looked for by its intent before anything is sent again.
    """
