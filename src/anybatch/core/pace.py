"""How long work takes in real time, by the limits that are known."""

from .price import Workload


def seconds_by(
    work: Workload, *, concurrency: int, rpm: int | None, tpm: int | None
) -> dict[str, float]:
    """How long `work` takes by each limit, in words; all but the last answer, see `latency_s`."""
    each = latency_s(work.out)
    seconds = {f"{concurrency} at once": work.requests * each / concurrency}
    if rpm is not None:
        seconds[f"{rpm:,} requests a minute"] = work.requests / rpm * 60
    if tpm is not None:
        tokens = work.tokens_in + work.tokens_out
        seconds[f"{tpm:,} tokens a minute"] = tokens / tpm * 60
    return seconds


def latency_s(out: float) -> float:
    """About how long one answer takes: a second until it begins, then 60 tokens a second."""
    return 1 + out / 60
