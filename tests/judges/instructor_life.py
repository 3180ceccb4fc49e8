"""Batches as a program makes them that knows nothing of us: instructor, over both SDKs it calls."""

import os
import sys
from contextlib import redirect_stdout
from tempfile import TemporaryDirectory

import instructor
from instructor.batch import BatchProcessor, filter_errors, filter_successful
from pydantic import BaseModel
from reporting import address, raised, report

KEY = "sk-judge"


class Ticket(BaseModel):
    label: str
    urgent: bool


def asked(*prompts):
    return [[{"role": "user", "content": prompt}] for prompt in prompts]


def until_over(processor, batch_id):
    """Every status that was seen."""
    statuses = [processor.get_batch_status(batch_id)["status"]]
    while statuses[-1] not in ("completed", "failed", "expired", "cancelled", "ended"):
        statuses.append(processor.get_batch_status(batch_id)["status"])
    return statuses


def seen(processor):
    """A whole batch of three, and what became of it."""
    with TemporaryDirectory() as folder:
        prompts = asked("one", "two", "three")
        batch = processor.create_batch_from_messages(prompts, f"{folder}/batch.jsonl")
        batch_id = processor.submit_batch(batch, metadata={"of": "instructor"})
    statuses = until_over(processor, batch_id)
    results = processor.get_results(batch_id)
    listed = processor.list_batches(limit=5)
    return {
        "status": statuses[-1],
        "names": sorted(each.custom_id for each in filter_successful(results)),
        "errors": [each.error_message for each in filter_errors(results)],
        "kinds": sorted({type(each.result).__name__ for each in filter_successful(results)}),
        "listed": [each.id for each in listed][:1] == [batch_id],
        "told": listed[0].status.value,
        "counts": listed[0].request_counts.model_dump(exclude_none=True),
    }


def openai(client):
    return seen(BatchProcessor("openai/m", Ticket))


def anthropic(client):
    return seen(BatchProcessor("anthropic/claude-x", Ticket))


def cancel(client):
    processor = BatchProcessor("openai/m", Ticket)
    with TemporaryDirectory() as folder:
        batch = processor.create_batch_from_messages(asked("wait"), f"{folder}/batch.jsonl")
        return processor.cancel_batch(processor.submit_batch(batch))["status"]


def gone(client):
    return raised(BatchProcessor("openai/m", Ticket).get_batch_status, "batch_none")["message"]


def version(client):
    return instructor.__version__


STEPS = (version, openai, anthropic, cancel, gone)

if __name__ == "__main__":
    os.environ |= {"OPENAI_BASE_URL": f"{address()}/v1", "OPENAI_API_KEY": KEY}
    os.environ |= {"ANTHROPIC_BASE_URL": address(), "ANTHROPIC_API_KEY": KEY}
    with redirect_stdout(sys.stderr):  # it prints as it goes
        report(None, STEPS, out=sys.__stdout__)
