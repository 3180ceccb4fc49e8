"""The commands. What they do is imported when one runs, so that help is quick."""

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup

from . import options as option
from .leave import INTERRUPTED

T = TypeVar("T")


class _Commands(TyperGroup):
    """All of them. Typer itself would end an interrupted one without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as e:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it may come twice: see `work`
            print(f"anybatch: {str(e) or 'interrupted'}", file=sys.stderr)
            return INTERRUPTED


app = typer.Typer(
    name="anybatch",
    cls=_Commands,
    help="A table and a prompt in; every row back, validated and joined.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def root(debug: option.Debug = False, version: option.Version = False) -> None:
    """`--debug` may stand here and with each command. Its own callback passes it on."""


@app.command()
def run(
    data: option.Data = None,
    prompt: option.Prompt = None,
    system: option.System = None,
    model: option.Model = "local/smollm2",
    base_url: option.BaseUrl = None,
    api: option.ApiName = None,
    executor: option.Executor = None,
    tail: option.Tail = "online",
    cache: option.Cache = "auto",
    canary: option.Canary = None,
    no_canary: option.NoCanary = False,
    keep_remote: option.KeepRemote = False,
    no_dedupe: option.NoDedupe = False,
    reuse: option.ReuseAnswers = None,
    pack: option.Pack = 1,
    pack_agreement: option.PackAgreement = None,
    parameters: option.Parameters = None,
    sql: option.Sql = None,
    bad_rows: option.BadRows = "fail",
    schema: option.Schema = None,
    labels: option.Labels = None,
    fields: option.Fields = None,
    concurrency: option.Concurrency = None,
    rpm: option.Rpm = None,
    tpm: option.Tpm = None,
    out: option.Out = None,
    force: option.Force = False,
    raw: option.Raw = False,
    as_json: option.AsJson = False,
    store: option.Store = None,
    by: option.By = None,
    budget: option.Budget = None,
    prefer: option.Prefer = "cheap",
    preview: option.Preview = 0,
    overflow: option.Overflow = None,
    yes: option.Yes = False,
    again: option.Again = False,
    debug: option.Debug = False,
) -> None:
    """Put every row through the prompt. Typed again, it goes on where it was."""
    typed = locals()
    from .run import run_command, wishes_of
    from .work import Delivery, Pace

    pace = Pace(concurrency=concurrency, rpm=rpm, tpm=tpm)
    delivery = Delivery(out=out, force=force, raw=raw, as_json=as_json)
    raise typer.Exit(run_command(wishes_of(typed), store, pace=pace, delivery=delivery))


@app.command()
def plan(
    data: option.Data = None,
    prompt: option.Prompt = None,
    system: option.System = None,
    model: option.Model = "local/smollm2",
    base_url: option.BaseUrl = None,
    api: option.ApiName = None,
    executor: option.Executor = None,
    pack: option.Pack = 1,
    parameters: option.Parameters = None,
    sql: option.Sql = None,
    bad_rows: option.BadRows = "fail",
    schema: option.Schema = None,
    labels: option.Labels = None,
    fields: option.Fields = None,
    concurrency: option.Concurrency = None,
    rpm: option.Rpm = None,
    tpm: option.Tpm = None,
    by: option.By = None,
    budget: option.Budget = None,
    prefer: option.Prefer = "cheap",
    compare: option.Compare = None,
    every_row: option.EveryRow = False,
    requests: option.HowMany = None,
    input_tokens: option.TokensIn = None,
    output_tokens: option.TokensOut = None,
    shared_tokens: option.TokensShared = None,
    chart: option.Chart = None,
    force: option.Force = False,
    as_json: option.AsJson = False,
    store: option.Store = None,
    debug: option.Debug = False,
) -> None:
    """Say what a run would cost, every way there is. Nothing is sent, and no key is needed."""
    given = {**locals(), "parameters": parameters or [], "pack": (pack, None)}
    from .plan import Numbers, Planning, plan_command
    from .run import Wishes
    from .work import Pace

    parts = {"wishes": _filled(Wishes, given), "numbers": _filled(Numbers, given)}
    planning = _filled(Planning, {**given, **parts})
    raise typer.Exit(plan_command(planning, store, pace=_filled(Pace, given)))


def _filled(kind: Callable[..., T], given: Mapping[str, Any]) -> T:
    """A `kind` with what is `given` for its fields."""
    names = (field.name for field in fields(kind))  # type: ignore[arg-type]
    return kind(**{name: given[name] for name in names if name in given})


@app.command()
def runs(
    store: option.Store = None,
    as_json: option.AsJson = False,
    debug: option.Debug = False,
) -> None:
    """List the runs, the newest first."""
    from .look import runs_command

    runs_command(store, as_json=as_json)


@app.command()
def status(
    run: option.RunWord = "last",
    store: option.Store = None,
    as_json: option.AsJson = False,
    debug: option.Debug = False,
) -> None:
    """How far a run is, batch by batch."""
    from .look import status_command

    status_command(run, store, as_json=as_json)


@app.command()
def watch(
    run: option.RunWord = "last",
    store: option.Store = None,
    as_json: option.AsJsonLines = False,
    debug: option.Debug = False,
) -> None:
    """Follow a run that another process works on."""
    from .look import watch_command

    raise typer.Exit(watch_command(run, store, as_json=as_json))


@app.command()
def results(
    run: option.RunWord = "last",
    out: option.Out = "-",
    force: option.Force = False,
    raw: option.Raw = False,
    bodies: option.Bodies = False,
    as_json: option.AsJson = False,
    store: option.Store = None,
    debug: option.Debug = False,
) -> None:
    """Write the joined table of a run, finished or not."""
    if bodies:
        from .bodies import bodies_command

        raise typer.Exit(bodies_command(run, store, out or "-", force=force))
    from .look import results_command

    raise typer.Exit(results_command(run, store, out, force=force, raw=raw, as_json=as_json))


@app.command()
def compare(
    context: typer.Context,
    data: option.Compared = None,
    other: option.AgainstRun = None,
    prompt: option.Prompt = None,
    system: option.System = None,
    model: option.Model = "local/smollm2",
    base_url: option.BaseUrl = None,
    api: option.ApiName = None,
    executor: option.Executor = None,
    pack: option.Pack = 1,
    parameters: option.Parameters = None,
    sql: option.Sql = None,
    bad_rows: option.BadRows = "fail",
    schema: option.Schema = None,
    labels: option.Labels = None,
    fields: option.Fields = None,
    with_model: option.WithModel = None,
    with_prompt: option.WithPrompt = None,
    with_system: option.WithSystem = None,
    with_base_url: option.WithBaseUrl = None,
    with_api: option.WithApi = None,
    with_executor: option.WithExecutor = None,
    with_pack: option.WithPack = None,
    with_parameters: option.WithParameters = None,
    with_schema: option.WithSchema = None,
    with_labels: option.WithLabels = None,
    with_fields: option.WithFields = None,
    rows: option.Rows = 200,
    seed: option.Seed = 0,
    tolerance: option.Tolerance = 0.01,
    concurrency: option.Concurrency = None,
    rpm: option.Rpm = None,
    tpm: option.Tpm = None,
    html: option.Html = None,
    force: option.Force = False,
    as_json: option.AsJson = False,
    store: option.Store = None,
    yes: option.Yes = False,
    debug: option.Debug = False,
) -> None:
    """Put the same rows through two settings, or take two runs: how far they agree, and what each
    costs. What is given once holds on both sides. Typed again, it goes on where it was."""
    from .compare import compare_command

    raise typer.Exit(compare_command(context))


@app.command()
def check(
    file: option.Requests,
    provider: option.ForProvider,
    api_version: option.ApiVersion = None,
    as_json: option.AsJson = False,
    debug: option.Debug = False,
) -> None:
    """Hold a file of ready-made requests against a provider's rules, without sending anything."""
    from .check import check_command

    raise typer.Exit(check_command(file, provider, version=api_version, as_json=as_json))


@app.command()
def cost(
    run: option.RunWord = "last",
    store: option.Store = None,
    as_json: option.AsJson = False,
    debug: option.Debug = False,
) -> None:
    """What a run did cost, by class of tokens, held against its estimate."""
    from .cost import cost_command

    cost_command(run, store, as_json=as_json)


@app.command()
def prices(
    names: option.Priced = None,
    changed_since: option.ChangedSince = None,
    as_json: option.AsJson = False,
    store: option.Store = None,
    debug: option.Debug = False,
) -> None:
    """What models cost, and since when; `anybatch prices update` fetches the newest table."""
    from .prices import prices_command

    prices_command(names or [], store, since=changed_since, as_json=as_json)


@app.command()
def show(
    run: option.RunWord = "last",
    as_manifest: option.Manifest = False,
    store: option.Store = None,
    debug: option.Debug = False,
) -> None:
    """What made a run what it is: what was asked, of what, by which version, at which prices."""
    from .show import show_command

    show_command(run, store, as_json=as_manifest)


@app.command()
def diff(
    run: option.RunWord,
    other: option.OtherRun,
    store: option.Store = None,
    as_json: option.AsJson = False,
    debug: option.Debug = False,
) -> None:
    """In what two runs differ, part by part, and what came of each."""
    from .show import diff_command

    diff_command(run, other, store, as_json=as_json)


@app.command()
def show_request(
    run: option.RunWord,
    n: option.Number,
    store: option.Store = None,
    as_json: option.AsJson = False,
    debug: option.Debug = False,
) -> None:
    """Print request N of a run, byte for byte as it goes out."""
    from .look import show_request_command

    show_request_command(run, n, store, as_json=as_json)


@app.command()
def retry(
    run: option.RunWord,
    only: option.Only,
    concurrency: option.Concurrency = None,
    rpm: option.Rpm = None,
    tpm: option.Tpm = None,
    out: option.Out = None,
    force: option.Force = False,
    raw: option.Raw = False,
    as_json: option.AsJson = False,
    store: option.Store = None,
    yes: option.Yes = False,
    debug: option.Debug = False,
) -> None:
    """Ask again for the rows of a finished run that have these outcomes."""
    from .change import retry_command
    from .work import Delivery, Pace

    pace = Pace(concurrency=concurrency, rpm=rpm, tpm=tpm)
    delivery = Delivery(out=out, force=force, raw=raw, as_json=as_json)
    raise typer.Exit(retry_command(run, only, store, pace=pace, delivery=delivery, yes=yes))


@app.command()
def cancel(
    run: option.RunWord,
    store: option.Store = None,
    as_json: option.AsJson = False,
    debug: option.Debug = False,
) -> None:
    """Send nothing more of a run; what is answered is kept."""
    from .change import cancel_command

    raise typer.Exit(cancel_command(run, store, as_json=as_json))


@app.command()
def rm(
    run: option.RunWord,
    store: option.Store = None,
    as_json: option.AsJson = False,
    yes: option.Forget = False,
    debug: option.Debug = False,
) -> None:
    """Forget a run: its requests, its answers and its rows."""
    from .change import rm_command

    rm_command(run, store, yes=yes, as_json=as_json)


@app.command()
def gc(
    remote: option.AtProvider,
    base_url: option.ItsUrl = None,
    store: option.Store = None,
    as_json: option.AsJson = False,
    yes: option.Delete = False,
    debug: option.Debug = False,
) -> None:
    """List uploads of ours at a provider that no run here waits for; with --yes, delete them."""
    from .gc import gc_command

    raise typer.Exit(gc_command(remote, store, base_url=base_url, yes=yes, as_json=as_json))


@app.command()
def doctor(
    provider: option.ProviderName,
    model: option.OneModel = None,
    base_url: option.ItsUrl = None,
    wait: option.Wait = 60,
    as_json: option.AsJson = False,
    yes: option.Yes = False,
    debug: option.Debug = False,
) -> None:
    """Try a provider's batch API step by step: with --model, by a batch of one row."""
    from .doctor import doctor_command

    code = doctor_command(
        provider,
        model=model,
        base_url=base_url,
        wait=timedelta(seconds=wait),
        yes=yes,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def fake(
    provider: option.FakeName,
    port: option.Port = 0,
    key: option.AskedKey = None,
    validating: option.Validating = 0.0,
    in_progress: option.InProgress = 0.0,
    finalizing: option.Finalizing = 0.0,
    cancelling: option.Cancelling = 0.0,
    latency: option.Latency = 0.0,
    fault: option.FirstFaults = None,
    faults: option.Faults = 0.0,
    row_faults: option.RowFaults = 0.0,
    end: option.Ends = None,
    limit: option.Limit = None,
    seed: option.Seed = 0,
    as_json: option.AsJson = False,
    debug: option.Debug = False,
) -> None:
    """Be a provider on this machine, whose batches cost nothing and fail as you like."""
    from ..testing.batches.life import Phases
    from .fake import Manner, fake_command

    manner = Manner(
        port=port,
        key=key,
        phases=Phases(
            validating=validating,
            in_progress=in_progress,
            finalizing=finalizing,
            cancelling=cancelling,
        ),
        latency=latency,
        limits=limit or [],
        faults=fault or [],
        share=faults,
        row_share=row_faults,
        ends=end or [],
        seed=seed,
    )
    raise typer.Exit(fake_command(provider, manner, as_json=as_json))


@app.command()
def serve(
    host: option.Host = None,
    port: option.ServerPort = None,
    config: option.Config = None,
    store: option.Store = None,
    reload_routes: option.ReloadRoutes = False,
    debug: option.Debug = False,
) -> None:
    """Be a batch API as OpenAI, Anthropic and Gemini have one, for any model: with no settings, for
    the one in here."""
    from .serve import reload_command, serve_command

    if reload_routes:
        reload_command(config, store)
        return
    raise typer.Exit(serve_command(host=host, port=port, config=config, store=store))


keys = typer.Typer(cls=_Commands, help="Who may call `anybatch serve`.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("add")
def add_key(
    name: option.KeyName,
    weight: option.Weight = None,
    rpm: option.CallsAMinute = None,
    max_batches: option.MaxBatches = None,
    tokens_a_day: option.TokensADay = None,
    as_json: option.AsJson = False,
    store: option.Store = None,
    debug: option.Debug = False,
) -> None:
    """Make a key. It is shown this once; its limits are those of its name from now on."""
    from .keys import add_command

    add_command(
        name,
        store,
        as_json=as_json,
        weight=weight,
        rpm=rpm,
        max_batches=max_batches,
        tokens_a_day=tokens_a_day,
    )


@keys.command("list")
def list_keys(
    as_json: option.AsJson = False,
    store: option.Store = None,
    debug: option.Debug = False,
) -> None:
    """List the keys there were, without the keys themselves."""
    from .keys import list_command

    list_command(store, as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key: option.KeyWord,
    as_json: option.AsJson = False,
    store: option.Store = None,
    debug: option.Debug = False,
) -> None:
    """Take a key back. A server that runs knows within a second."""
    from .keys import revoke_command

    revoke_command(key, store, as_json=as_json)


webhooks = typer.Typer(cls=_Commands, help="Who hears of the end of batches.", no_args_is_help=True)
app.add_typer(webhooks, name="webhooks")


@webhooks.command("list")
def list_webhooks(
    as_json: option.AsJson = False,
    store: option.Store = None,
    debug: option.Debug = False,
) -> None:
    """List the endpoints, and how many events wait for each, reached it, or were given up."""
    from .webhooks import list_command

    list_command(store, as_json=as_json)


@webhooks.command("replay")
def replay_webhooks(
    events: option.Events = None,
    endpoint: option.Endpoint = None,
    since: option.Since = None,
    as_json: option.AsJson = False,
    store: option.Store = None,
    debug: option.Debug = False,
) -> None:
    """Send events again: these, or all since a time; else those that were given up."""
    from .webhooks import replay_command

    replay_command(events or [], store, endpoint=endpoint, since=since, as_json=as_json)
