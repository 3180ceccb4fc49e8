"""What requests would cost that are known by their numbers alone."""

from dataclasses import dataclass

from ..core.model import Spec, Terms
from ..core.terms import NO_TERMS
from ..core.traffic import Traffic
from ..errors import BadSettings
from .measure import Measured, Out
from .quotes import OWN_PACE, Quoted, open_to, quoted
from .tariffs import tariff_of
from .workspace import Pace, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What every request is, in tokens."""

    tokens_in: int
    tokens_out: int
    shared: int = 0
    """The part of `tokens_in` that stands at the head of all of them."""

    def __post_init__(self) -> None:
        """Raises BadSettings."""
        if self.shared > self.tokens_in:
            raise BadSettings(
                f"--shared-tokens {self.shared} are a part of --input-tokens, which are "
                f"{self.tokens_in}: name no more"
            )


def reckon(
    workspace: Workspace,
    spec: Spec,
    traffic: Traffic,
    shape: Shape,
    *,
    terms: Terms = NO_TERMS,
    pace: Pace = OWN_PACE,
) -> Quoted:
    """What the requests of one time cost, every way there is: those of a day, an hour, …

    They are reckoned to go together. Raises UnknownPrice, or what planning a run would raise.
    """
    model = spec.model
    if model is None:
        raise BadSettings("a price is of a model: name it as --model PROVIDER/MODEL")
    provider = workspace.provider_of(spec, pace)
    only, spec = open_to(spec, provider, workspace)
    now = workspace.clock.now()
    measured = Measured(
        api=spec.api,
        rows=traffic.requests,
        skipped=0,
        distinct=1.0,
        counted=0,
        prompt=float(shape.tokens_in),
        shared=float(shape.shared),
        heads=1,
        longest=shape.tokens_in,
        band=0.0,
        how="as you say",
    )
    return quoted(
        measured,
        Out(shape.tokens_out, shape.tokens_out, "as you say"),
        tariff_of(workspace.settings, provider, model, now=now),
        spec=spec,
        provider=provider,
        usual=workspace.usual_at(spec),
        quotas=workspace.quotas_at(spec),
        terms=terms,
        now=now,
        only=only,
    )
