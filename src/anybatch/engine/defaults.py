"""What is asked, completed: by what a provider has, and by what its user wants of every call."""

from msgspec import structs

from ..core.model import WORDLESS, ExecutorName, Spec
from ..errors import UsageError
from ..providers.provider import Provider


def with_defaults(spec: Spec, provider: Provider) -> Spec:
    """`spec` with its executor, and with the provider's own parameters under the caller's."""
    spec = structs.replace(spec, executor=executor_of(spec, provider))
    if not provider.parameters or spec.api in WORDLESS:
        return spec
    return structs.replace(spec, parameters={**provider.parameters, **spec.parameters})


def executor_of(spec: Spec, provider: Provider) -> ExecutorName:
    """How `spec` is answered: as was asked, else by the batch API where there is one.

    An address that the caller gave is taken to answer in real time: it may have no batch API.
    """
    if provider.base_url is None:
        return "embedded"
    has_batches = provider.batch is not None and spec.api in provider.batch.apis
    if spec.executor == "batch" and not has_batches:
        raise UsageError(
            f"provider {provider.name!r} has no batch API for {spec.api} that we know of; "
            "leave out --executor batch"
        )
    if spec.executor is not None:
        return spec.executor
    return "batch" if has_batches and spec.base_url is None else "online"
